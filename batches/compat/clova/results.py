"""Result documents in CLOVA Speech's format, for a task in any state.

Typed clients fail on unknown keys, so a document contains only CLOVA's keys unless the request set
``extras``. Speaker labels are numbers even without diarization.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from batches import formats
from batches.formats import Context, clova_json
from batches.models import ClientRequest, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.status.failures import failure_of_task
from batches.worker.result_files import result_context
from domains.models import Domain

State = Task.State
# CLOVA's clients know WAITING, PROCESSING, FAILED, COMPLETED and TIMEOUT; they keep polling on any other.
WITHOUT_RESULT: dict[str, tuple[str, str]] = {
    State.WAITING: ("WAITING", "Waiting"),
    State.IN_PROGRESS: ("PROCESSING", "Processing"),
    State.CANCELLING: ("PROCESSING", "Canceling"),
    State.CANCELLED: ("FAILED", "Canceled"),
}
# Keys of CLOVA's own result documents.
KEYS = (
    *("result", "message", "token", "version", "params", "progress", "keywords", "segments", "text"),
    *("confidence", "speakers", "events", "eventTypes"),
)
SEGMENT_KEYS = (*("start", "end", "text", "confidence", "diarization", "speaker", "words", "textEdited"),)
ONE_SPEAKER = {"label": "1", "name": "A", "edited": False}


def accepted(task: Task) -> dict[str, Any]:
    """Response to an asynchronous request: the token to poll with."""
    return {"token": task.uid, "result": "SUCCEEDED", "message": "Succeeded"}


def document(task: Task, request: ClientRequest | None) -> dict[str, Any]:
    """Result document of a task: the transcript, its progress, or its failure.

    ``request`` is the request that created the task; ``None`` for a task that has another origin.
    """
    if task.state == State.FAILED:
        failure = failure_of_task(task)
        message = failure.sentence if failure else task.error_message
        document = {"result": "FAILED", "message": message, "token": task.uid, "code": task.error_code}
        return {**document, "params": {"userdata": _answer(request).get("userdata", {})}}
    found = _transcript(task) if task.state == State.COMPLETED else None
    if found is None:
        result, message = WITHOUT_RESULT.get(task.state, ("FAILED", "The transcript was deleted"))
        return {"result": result, "message": message, "token": task.uid, "progress": task.progress}
    return as_clova(clova_json.document(found, context(task, request)), task, _answer(request))


def as_clova(found: dict[str, Any], task: Task, answer: dict[str, Any]) -> dict[str, Any]:
    """Convert a document of the format ``clova-json`` to what CLOVA's clients expect."""
    domain = task.batch.domain
    result = {**found, "params": _params(found["params"], task, domain, answer)}
    if domain is not None and domain.clova_result == Domain.ClovaResult.SUCCEEDED:
        result["result"] = Domain.ClovaResult.SUCCEEDED.value
    result["segments"] = [_with_speaker(segment) for segment in found["segments"]]
    result["speakers"] = found["speakers"] or ([ONE_SPEAKER] if found["segments"] else [])
    if answer.get("extras"):
        return result
    result["segments"] = [{key: segment[key] for key in SEGMENT_KEYS} for segment in result["segments"]]
    return {key: result[key] for key in KEYS}


def _with_speaker(segment: dict[str, Any]) -> dict[str, Any]:
    if segment["speaker"]["label"].isdigit():
        return segment
    return {**segment, "speaker": ONE_SPEAKER, "diarization": {"label": "1"}}


def _params(
    params: dict[str, Any], task: Task, domain: Domain | None, answer: dict[str, Any]
) -> dict[str, Any]:
    """``params`` of the result: every key that typed clients expect, with the values of the request."""
    own = {
        "_ncp_DomainCode": domain.code if domain else "",
        "_ncp_DomainId": _number(domain.uid if domain else ""),
        "_ncp_TaskId": _number(task.uid),
        "_ncp_TraceId": task.uid,
    }
    return {
        **params,
        "callback": answer.get("callback", ""),
        "sed": {"enable": bool(answer.get("sed"))},
        "noiseFiltering": bool(answer.get("noise_filtering", True)),
        "resultToObs": bool(answer.get("result_to_obs")),
        "priority": task.batch.priority,
        "userdata": {**own, **(params.get("userdata") or {})},
    }


def _number(uid: str) -> int:
    """Numeric stand-in for an ID, for typed clients: a 31-bit CRC, the same for the same ID."""
    return zlib.crc32(uid.encode()) & 0x7FFF_FFFF


def rendered(task: Task, request: ClientRequest | None) -> tuple[bytes, str] | None:
    """Body and content type of a result requested in a format other than JSON; ``None`` otherwise."""
    name = _answer(request).get("format", "json")
    found = _transcript(task) if task.state == State.COMPLETED and name != "json" else None
    if found is None:
        return None
    return formats.render(name, found, context(task, request)), formats.FORMATS[name].content_type


def context(task: Task, request: ClientRequest | None) -> Context:
    answer = _answer(request)
    names = ("completion", "userdata", "word_alignment", "full_text")
    return replace(result_context(task), **{name: answer[name] for name in names if name in answer})


def request_of(task: Task) -> ClientRequest | None:
    return ClientRequest.unscoped.filter(task=task).first()


def _answer(request: ClientRequest | None) -> dict[str, Any]:
    return dict(request.answer) if request else {}


def _transcript(task: Task) -> Transcript | None:
    kept = StoredTranscript.unscoped.filter(task=task).first()
    return kept.published() if kept else None
