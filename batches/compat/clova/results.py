"""What a CLOVA client is told: the shape of CLOVA Speech's answers, whatever state the task is in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batches import formats
from batches.formats import Context, clova_json
from batches.models import ClovaRequest, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.status.failures import failure_of_task
from batches.worker.result_files import result_context

State = Task.State
# CLOVA's clients know WAITING, PROCESSING, FAILED, COMPLETED and TIMEOUT, and ask again at any other word.
WITHOUT_RESULT: dict[str, tuple[str, str]] = {
    State.WAITING: ("WAITING", "Waiting"),
    State.IN_PROGRESS: ("PROCESSING", "Processing"),
    State.CANCELLING: ("PROCESSING", "Canceling"),
    State.CANCELLED: ("FAILED", "Canceled"),
}


def accepted(task: Task) -> dict[str, Any]:
    """The answer to an asynchronous request."""
    return {"token": task.uid, "result": "SUCCEEDED", "message": "Succeeded"}


def document(task: Task, request: ClovaRequest | None) -> dict[str, Any]:
    """The result as far as there is one; ``request`` is what was asked for, if the task came by this way."""
    if task.state == State.FAILED:
        failure = failure_of_task(task)
        message = failure.sentence if failure else task.error_message
        told = {"result": "FAILED", "message": message, "token": task.uid, "code": task.error_code}
        return {**told, "params": {"userdata": _answer(request).get("userdata", {})}}
    found = _transcript(task) if task.state == State.COMPLETED else None
    if found is None:
        result, message = WITHOUT_RESULT.get(task.state, ("FAILED", "The transcript was deleted"))
        return {"result": result, "message": message, "token": task.uid, "progress": task.progress}
    return clova_json.document(found, context(task, request))


def rendered(task: Task, request: ClovaRequest | None) -> tuple[bytes, str] | None:
    """Body and content type of a finished result that was asked for in another format than JSON."""
    name = _answer(request).get("format", "json")
    found = _transcript(task) if task.state == State.COMPLETED and name != "json" else None
    if found is None:
        return None
    return formats.render(name, found, context(task, request)), formats.FORMATS[name].content_type


def context(task: Task, request: ClovaRequest | None) -> Context:
    answer = _answer(request)
    names = ("completion", "userdata", "word_alignment", "full_text")
    return replace(result_context(task), **{name: answer[name] for name in names if name in answer})


def request_of(task: Task) -> ClovaRequest | None:
    return ClovaRequest.unscoped.filter(task=task).first()


def _answer(request: ClovaRequest | None) -> dict[str, Any]:
    return dict(request.answer) if request else {}


def _transcript(task: Task) -> Transcript | None:
    kept = StoredTranscript.unscoped.filter(task=task).first()
    return kept.published() if kept else None
