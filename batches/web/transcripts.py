"""Pages of a task's transcript: lines, speakers, corrections, recording and downloads."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from batches import formats
from batches.models import Correction, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts import corrections, originals, recordings, reprocessing, transcript_page
from batches.transcripts.drafts import Conflict
from batches.web.batches import any_batch
from batches.web.transcript_texts import TEXTS
from batches.worker.result_files import result_context
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.members.views import owner_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.http import download
from speechportal.storage.errors import StorageError

PRESIGN_SECONDS = 12 * 3600  # longer than a listening session; each page view signs a new URL
UNSAVED = "unsaved_line"  # session key of a correction that met a conflict


def any_task(request: PortalRequest, uid: str, task_uid: str) -> Task:
    """One of the account's tasks, which may belong to a deleted batch."""
    batch = any_batch(request, uid)
    tasks = Task.objects.for_account(request.account).filter(batch=batch)
    related = tasks.select_related("connection", "execution_result", "client_request")
    task = get_object_or_404(related, uid=task_uid)
    task.batch = batch
    return task


def transcript_of(task: Task) -> Transcript | None:
    checkpoint = StoredTranscript.objects.for_account(task.batch.account).filter(task=task).first()
    return checkpoint.published() if checkpoint else None


def reading_context(request: PortalRequest, task: Task) -> dict[str, Any]:
    """Template context of the transcript on a task's page.

    The page's script loads the lines. Without JavaScript, ``?plain`` includes them in the page and
    ``?edit=<place>`` opens one of them for correction.
    """
    transcript = transcript_of(task)
    if transcript is None:
        return {"transcript": None}
    correction = Correction.objects.for_account(request.account).filter(task=task).first()
    draft = corrections.draft_of(task, transcript, correction)
    edit = request.GET.get("edit", "")
    return {
        "transcript": transcript,
        "language": transcript_page.LANGUAGES.get(transcript.language, transcript.language),
        "has_lines": bool(transcript.segments),
        "lines": transcript_page.lines_of(draft) if "plain" in request.GET else None,
        "speakers": transcript_page.speakers_of(draft),
        "correction": correction,
        "formats": formats.FORMATS.values(),
        "video": transcript_page.is_video(task) and not originals.is_redacted(task),
        "notices": transcript_page.notices_of(transcript),
        "has_original": originals.may_see(task, request.membership) and originals.is_kept(task),
        "texts": {key: str(text) for key, text in TEXTS.items()},
        "edit": int(edit) if edit.isascii() and edit.isdigit() and len(edit) < 7 else None,
        "edit_text": request.session.pop(UNSAVED, {}).get(f"{task.uid}:{edit}") if edit else None,
    }


@manager_required
@require_POST
def correct_line(request: PortalRequest, uid: str, task_uid: str, index: int) -> HttpResponse:
    """Correct a line without JavaScript; redirects to the page, and on a conflict shows both texts there."""
    task = any_task(request, uid, task_uid)
    text, tag = request.POST.get("text", ""), request.POST.get("tag")
    page = f"{reverse('batches:task', args=[uid, task_uid])}?plain=1"
    try:
        corrections.correct_text(task=task, index=index, text=text, by=request.user, tag=tag)
    except Conflict as conflict:
        request.session[UNSAVED] = {f"{task.uid}:{index}": text}
        return redirect(f"{page}&edit={index}#line-{conflict.uid}")
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect(page)


@manager_required
@require_POST
def name_speakers(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Name speakers by the fields ``speaker-<label>``; speakers without a field keep their names."""
    task = any_task(request, uid, task_uid)
    names = {
        key.removeprefix("speaker-"): value
        for key, value in request.POST.items()
        if key.startswith("speaker-") and isinstance(value, str)
    }
    try:
        corrections.name_speakers(task=task, names=names, by=request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        messages.success(request, _("The speakers were named, in every format."))
    return redirect("batches:task", uid, task_uid)


@manager_required
@require_POST
def publish(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    task = any_task(request, uid, task_uid)
    try:
        written = corrections.publish(task=task)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        text = ngettext(
            "%d result file was written again, as corrected.",
            "%d result files were written again, as corrected.",
            written,
        )
        messages.success(request, text % written)
    return redirect("batches:task", uid, task_uid)


@member_required
def task_download(request: PortalRequest, uid: str, task_uid: str, name: str) -> HttpResponse:
    """Download the corrected transcript in one format, made from the database."""
    task = any_task(request, uid, task_uid)
    transcript = transcript_of(task)
    if name not in formats.FORMATS or transcript is None:
        raise Http404
    chosen = formats.FORMATS[name]
    data = formats.render(name, transcript, result_context(task))
    stem = PurePosixPath(task.name).stem or task.uid
    return download(data, f"{stem}{chosen.extension}", chosen.content_type)


@member_required
def task_media(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Redirect to a presigned URL of the recording in the account's storage.

    If something was redacted, it is that of the muted copy. If there is no such copy, only owners may play
    the recording, and the audit trail records it.
    """
    task = any_task(request, uid, task_uid)
    if task.connection is None:
        raise Http404
    key = recordings.key_for_members(task)
    if key is None:
        if not originals.may_see(task, request.membership):
            raise Http404(recordings.NOT_MUTED)
        key = recordings.key_for_owner(task)
    try:
        return redirect(task.connection.store().presign(key, expires=PRESIGN_SECONDS))
    except StorageError as error:
        return render(request, "404.html", {"exception": str(error)}, status=404)


@owner_required
@require_POST
def task_original(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """The unredacted transcript, for owners; the audit trail records each view."""
    task = any_task(request, uid, task_uid)
    original = originals.read(task=task)
    lines = None if original is None else original.segments
    return render(request, "batches/original.html", {"task": task, "batch": task.batch, "lines": lines})


@owner_required
@require_POST
def task_original_delete(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    if reprocessing.delete_original(task=any_task(request, uid, task_uid)):
        messages.success(request, _("The original was deleted."))
    return redirect("batches:task", uid, task_uid)


@member_required
@require_safe
def task_media_there(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Report whether the storage has the recording, so that the player can explain a failure."""
    task = any_task(request, uid, task_uid)
    if task.connection is None:
        raise Http404
    key = task.moved_key if task.moved_at else task.input_key
    try:
        found = task.connection.store().stat(key)
    except StorageError:
        return JsonResponse({"there": None})  # Unknown: the storage is not available.
    return JsonResponse({"there": found is not None})
