"""Reading and correcting a task's transcript: its lines, its speakers, its recording, and its downloads."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from batches import formats
from batches.models import Correction, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts import corrections, originals, recordings, reprocessing, transcript_page
from batches.web.batches import any_batch
from batches.worker.result_files import result_context
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.members.views import owner_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.http import download
from speechportal.storage.errors import StorageError

PRESIGN_SECONDS = 12 * 3600  # Longer than anybody listens; each opening of the page makes a new one.
FRAGMENT = "HX-Request"


def any_task(request: PortalRequest, uid: str, task_uid: str) -> Task:
    """One of the account's tasks, of a deleted batch too."""
    batch = any_batch(request, uid)
    tasks = Task.objects.for_account(request.account).filter(batch=batch)
    task = get_object_or_404(tasks.select_related("connection", "execution_result"), uid=task_uid)
    task.batch = batch
    return task


def transcript_of(task: Task) -> Transcript | None:
    checkpoint = StoredTranscript.objects.for_account(task.batch.account).filter(task=task).first()
    return checkpoint.published() if checkpoint else None


def reading_context(request: PortalRequest, task: Task) -> dict[str, Any]:
    """What templates/batches/_transcript.html shows; ``?edit=<line>`` opens a line without JavaScript."""
    transcript = transcript_of(task)
    if transcript is None:
        return {"transcript": None}
    context = result_context(task)
    correction = Correction.objects.for_account(request.account).filter(task=task).first()
    edit = request.GET.get("edit", "")
    return {
        "transcript": transcript,
        "language": transcript_page.LANGUAGES.get(transcript.language, transcript.language),
        "notices": transcript_page.notices_of(transcript),
        "lines": transcript_page.lines_of(transcript, context),
        "speakers": transcript_page.speakers_of(transcript, context),
        "correction": correction,
        "formats": formats.FORMATS.values(),
        "video": transcript_page.is_video(task) and not originals.is_redacted(task),
        "has_original": originals.may_see(task, request.membership) and originals.is_kept(task),
        "edit": int(edit) if edit.isascii() and edit.isdigit() and len(edit) < 7 else None,
    }


@manager_required
@require_POST
def correct_line(request: PortalRequest, uid: str, task_uid: str, index: int) -> HttpResponse:
    """Answers with the line as it now is, or, without JavaScript, with the page at that line."""
    task = any_task(request, uid, task_uid)
    try:
        corrections.correct_text(task=task, index=index, text=request.POST.get("text", ""), by=request.user)
    except ValidationError as error:
        if request.headers.get(FRAGMENT):
            return HttpResponse(error.messages[0], status=422, content_type="text/plain; charset=utf-8")
        messages.error(request, error.messages[0])
    if not request.headers.get(FRAGMENT):
        return redirect(f"{reverse('batches:task', args=[uid, task_uid])}#line-{index}")
    transcript = transcript_of(task)
    if transcript is None or index >= len(transcript.segments):
        raise Http404
    line = transcript_page.line_of(transcript, index, result_context(task))
    context = {"task": task, "batch": task.batch, "line": line, "transcript": transcript, "editable": True}
    return render(request, "batches/_line.html", context)


@manager_required
@require_POST
def name_speakers(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """``speaker-<label>`` is the name of each; those that are not sent stay."""
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
    """The transcript in one format, as corrected, made from what is in the database."""
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
    """Sends the browser to the recording in the account's own storage, by a link that expires.

    Where something was redacted, to the muted copy. Without one, owners alone hear the recording, and that
    is written down.
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
