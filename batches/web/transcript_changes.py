"""JSON endpoints for the transcript editor: the lines of a transcript, and changes to them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST, require_safe

from batches.models import Correction, ResultFile, Task
from batches.transcripts import changes, corrections, history, transcript_page
from batches.transcripts.drafts import Conflict
from batches.web.transcripts import any_task
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.requests import PortalRequest


@member_required
@require_safe
@gzip_page
def task_lines(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Return all lines, or with ``?since=<version>`` the lines that changed after that version."""
    task = any_task(request, uid, task_uid)
    correction = Correction.objects.for_account(request.account).filter(task=task).first()
    correction = correction or Correction(task=task)
    since = request.GET.get("since", "")
    try:
        return _answer(request, task, correction, int(since) if _is_number(since) else None)
    except ValidationError as error:
        return JsonResponse({"message": error.messages[0]}, status=404)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


@manager_required
@require_POST
def change(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Apply changes: ``{"version": 3, "changes": [...]}``, or ``"undo"`` or ``"redo"`` in place of the list.

    Responds with the differences since ``version``; with 409 and the present line if somebody else has
    changed it; with 422 and a sentence if a change is not possible.
    """
    task = any_task(request, uid, task_uid)
    try:
        version, wanted = _body(request)
        if wanted == "undo":
            correction = corrections.undo(task=task, by=request.user)
        elif wanted == "redo":
            correction = corrections.redo(task=task, by=request.user)
        else:
            correction = changes.apply(task=task, changes=wanted, by=request.user)
    except Conflict as conflict:
        lines = _lines(task, None, [conflict.uid])
        data = {"message": conflict.messages[0], "line": lines[0] if lines else None, "id": conflict.uid}
        return JsonResponse(data, status=409)
    except ValidationError as error:
        return JsonResponse({"message": error.messages[0]}, status=422)
    return _answer(request, task, correction, version)


def _body(request: HttpRequest) -> tuple[int | None, str | list[object]]:
    """Parse the request body: the sender's version and the changes. Raises ``ValidationError``."""
    try:
        body = json.loads(request.body)
        version, wanted = body.get("version"), body["changes"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValidationError(_("Send a list of changes."), code="invalid_changes") from error
    if not isinstance(wanted, list) and wanted not in {"undo", "redo"}:
        raise ValidationError(_("Send a list of changes."), code="invalid_changes")
    return (version if type(version) is int else None), wanted


def _answer(request: PortalRequest, task: Task, correction: Correction, since: int | None) -> JsonResponse:
    only = None if since is None else history.changed_since(correction.history, since, correction.version)
    draft = corrections.draft_of(task, corrections.transcript_of(task), correction)
    lines = transcript_page.lines_of(draft, only)
    there = {line.uid for line in lines}
    files = ResultFile.objects.for_account(request.account).filter(task=task, written_at__isnull=False)
    data: dict[str, Any] = {
        "version": correction.version,
        "whole": only is None,
        "lines": [line.to_json() for line in lines],
        "gone": sorted(only - there) if only is not None else [],
        "speakers": [speaker.to_json() for speaker in transcript_page.speakers_of(draft)],
        "duration": draft.transcript.duration,
        "unrecognised": transcript_page.unrecognised(draft),
        "loudness": draft.transcript.loudness if only is None else [],
        "undo": history.undoable(correction.history, request.user.pk) is not None,
        "redo": history.redoable(correction.history, request.user.pk) is not None,
        "publish": not correction.is_published and task.state == Task.State.COMPLETED and files.exists(),
    }
    response = JsonResponse(data, json_dumps_params={"ensure_ascii": False, "separators": (",", ":")})
    response["Cache-Control"] = "private, no-store"
    return response


def _lines(task: Task, correction: Correction | None, only: Collection[str]) -> list[dict[str, Any]]:
    draft = corrections.draft_of(task, corrections.transcript_of(task), correction)
    return [line.to_json() for line in transcript_page.lines_of(draft, only)]
