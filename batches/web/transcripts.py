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

PRESIGN_SECONDS = 12 * 3600  # Longer than a listening session; each page view makes a new one.
UNSAVED = "unsaved_line"  # Session key of a text that somebody else was quicker than.


def any_task(request: PortalRequest, uid: str, task_uid: str) -> Task:
    """One of the account's tasks, of a deleted batch too."""
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
    """The transcript beside a task. The script loads the lines; ``?plain`` has them in the page, without
    JavaScript, and ``?edit=<place>`` opens one of those to be corrected."""
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
    """Without JavaScript: back to the page at that line, or to both texts where somebody else was first."""
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
    """Name speakers: the field ``speaker-<label>`` has the name; speakers that are not sent keep theirs."""
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
    """Redirect to the recording in the account's storage, by a link that expires.

    Where something was redacted, to the muted copy. Without one, only owners hear the recording, and that is
    recorded in the audit trail.
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
    """The transcript as recognised, for owners; each look is in the audit trail."""
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
    """Say whether the recording is in the storage, for the player to tell why it cannot play it."""
    task = any_task(request, uid, task_uid)
    if task.connection is None:
        raise Http404
    key = task.moved_key if task.moved_at else task.input_key
    try:
        found = task.connection.store().stat(key)
    except StorageError:
        return JsonResponse({"there": None})  # Unknown: the storage cannot be asked.
    return JsonResponse({"there": found is not None})
