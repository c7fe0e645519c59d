"""One task: what happened, what was heard, and the files that came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from batches import formats, lifecycle
from batches.causes import cause_of_task
from batches.models import Charge, ResultFile, Task
from batches.models import Transcript as Checkpoint
from batches.processing import result_context
from batches.recognition.transcript import Transcript
from batches.views.batches import any_batch
from batches.views.fragments import render_live
from speechportal.accounts.access import MemberRequest, manager_required, member_required
from speechportal.http import download
from speechportal.storage.errors import StorageError

PRESIGN_SECONDS = 3600
SPEAKER_COLOURS = 6


@dataclass(frozen=True)
class Line:
    """A segment as the page shows it."""

    start: int  # ms
    end: int  # ms
    text: str
    speaker: str  # the name; empty where speakers were not asked for
    colour: int


@dataclass(frozen=True)
class Event:
    what: str | Promise
    when: datetime
    kind: str = ""  # a state, for the colour of its dot


def _task(request: MemberRequest, uid: str, task_uid: str) -> Task:
    batch = any_batch(request, uid)
    tasks = Task.objects.for_account(request.account).filter(batch=batch)
    task = get_object_or_404(tasks.select_related("connection", "execution_result"), uid=task_uid)
    task.batch = batch
    return task


def _transcript(task: Task) -> Transcript | None:
    checkpoint = Checkpoint.objects.for_account(task.batch.account).filter(task=task).first()
    return Transcript.from_dict(checkpoint.document) if checkpoint else None


@member_required
def task_detail(request: MemberRequest, uid: str, task_uid: str) -> HttpResponse:
    task = _task(request, uid, task_uid)
    transcript = _transcript(task)
    account = request.account
    context: dict[str, Any] = {
        "task": task,
        "batch": task.batch,
        "cause": cause_of_task(task),
        "events": _events(task),
        "charge": Charge.objects.for_account(account).filter(task=task).first(),
        "result_files": ResultFile.objects.for_account(account).filter(task=task, written_at__isnull=False),
        "transcript": transcript,
        "lines": _lines(transcript, task) if transcript else [],
        "formats": formats.FORMATS.values(),
        "can_play": task.connection_id is not None,
    }
    return render_live(request, "batches/task.html", "batches/_task.html", context)


def _lines(transcript: Transcript, task: Task) -> list[Line]:
    context = result_context(task)
    colours = {label: number % SPEAKER_COLOURS for number, label in enumerate(transcript.speakers)}
    return [
        Line(
            start=segment.start,
            end=segment.end,
            text=segment.text.strip(),
            speaker=context.speaker_name(segment.speaker) if segment.speaker else "",
            colour=colours.get(segment.speaker, 0),
        )
        for segment in transcript.segments
    ]


def _events(task: Task) -> list[Event]:
    """What happened, in order. Only what is over is told; the state says what goes on."""
    ends: dict[str, str | Promise] = {
        Task.State.COMPLETED: gettext_lazy("Completed"),
        Task.State.FAILED: gettext_lazy("Failed"),
        Task.State.CANCELED: gettext_lazy("Canceled"),
    }
    result = task.execution_result
    moments: list[tuple[str | Promise, datetime | None, str]] = [
        (gettext_lazy("File last written"), task.input_modified_at, ""),
        (gettext_lazy("Discovered"), task.created_at, ""),
        (gettext_lazy("Started"), task.started_at, "in_progress"),
        (ends.get(task.state, ""), task.finished_at, task.state),
        (gettext_lazy("Input file moved"), task.moved_at, ""),
        (gettext_lazy("Reported in an execution result"), result.written_at if result else None, ""),
    ]
    return [Event(what, when, kind) for what, when, kind in moments if when is not None]


@member_required
def task_download(request: MemberRequest, uid: str, task_uid: str, name: str) -> HttpResponse:
    """The transcript in one format, made from what is in the database."""
    task = _task(request, uid, task_uid)
    transcript = _transcript(task)
    if name not in formats.FORMATS or transcript is None:
        raise Http404
    chosen = formats.FORMATS[name]
    data = formats.render(name, transcript, result_context(task))
    stem = PurePosixPath(task.name).stem or task.uid
    return download(data, f"{stem}{chosen.extension}", chosen.content_type)


@member_required
def task_media(request: MemberRequest, uid: str, task_uid: str) -> HttpResponse:
    """Sends the browser to the recording in the account's own storage, by a link that expires."""
    task = _task(request, uid, task_uid)
    if task.connection is None:
        raise Http404
    key = task.moved_key if task.moved_at else task.input_key
    try:
        return redirect(task.connection.store().presign(key, expires=PRESIGN_SECONDS))
    except StorageError as error:
        return render(request, "404.html", {"exception": str(error)}, status=404)


@manager_required
@require_POST
def task_retry(request: MemberRequest, uid: str, task_uid: str) -> HttpResponse:
    task = _task(request, uid, task_uid)
    if lifecycle.retry(Task.objects.for_account(request.account).filter(pk=task.pk)):
        messages.success(request, _("The task waits for its turn again. It will not be charged twice."))
    else:
        messages.warning(
            request, _("The task cannot be retried now: it has not failed, or its failure is being reported.")
        )
    return redirect("batches:task", uid, task_uid)


@manager_required
@require_POST
def task_cancel(request: MemberRequest, uid: str, task_uid: str) -> HttpResponse:
    task = _task(request, uid, task_uid)
    if lifecycle.cancel(Task.objects.for_account(request.account).filter(pk=task.pk)):
        messages.success(request, _("The task is canceled. Its input file stays where it is."))
    else:
        messages.warning(request, _("The task has ended already."))
    return redirect("batches:task", uid, task_uid)
