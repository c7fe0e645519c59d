"""Payload: the body of a webhook message, JSON in UTF-8, at most a few megabytes, ``version`` 1.

::

    {"type": "task.completed",
     "version": 1,
     "timestamp": "2026-11-23T07:00:00.123Z",     when it happened
     "data": {"account": {"id": "acc_…"},
              "batch": {"id": "bat_…", "name": "calls"},
              …}}

What ``data`` holds beside ``account`` and ``batch`` depends on ``type``: see ``contents`` of each class in
:mod:`batches.webhooks.events`.

``task`` has ``id``, ``order`` (its task order), ``name`` (the input file below the input path), ``state``,
``input`` (``path``, ``size``, ``modified_at``), ``result_files`` (``format``, ``path``, ``size``),
``media_duration`` in ms, ``attempts``, ``repeat_of`` (the ID of the task that recognised the file first, or
null), ``started_at`` and ``finished_at``. Paths begin at the connection's root, times are ISO 8601 in UTC.

The *version* rises when a key changes its meaning or is removed; keys may be added at any time. A message is
byte-identical at each attempt and redelivery: the result is that of the published transcript, without later
corrections, until it is redacted again. Once the transcript is deleted, ``result`` is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from batches.formats import Context, clova_json
from batches.models import Batch, ExecutionResult, ResultFile, StoredTranscript, Task
from batches.models.task_settings import TaskSettings

VERSION = 1


def envelope(event: str, happened_at: datetime, data: dict[str, Any]) -> str:
    """Message as it is stored, and as it is sent unless it contains a result."""
    return _json({"type": event, "version": VERSION, "timestamp": moment(happened_at), "data": data})


def with_result(envelope: str, checkpoint: StoredTranscript | None) -> bytes:
    """Message of a completed task as it is sent, with its result: the same bytes each time."""
    message = json.loads(envelope)
    message["data"]["result"] = _result(checkpoint)
    return _json(message).encode()


def _result(checkpoint: StoredTranscript | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    return clova_json.document(checkpoint.published(), _as_recognised(checkpoint.task))


def _as_recognised(task: Task) -> Context:
    """Context without members' corrections, which must not change the message between two attempts."""
    return (task.settings or TaskSettings()).context(task.uid, task.overrides.forbidden)


def of_batch(batch: Batch) -> dict[str, Any]:
    return {"account": {"id": batch.account.uid}, "batch": {"id": batch.uid, "name": batch.name}}


def of_task(task: Task, files: Iterable[ResultFile]) -> dict[str, Any]:
    """``data`` of a completed or failed task, without the result."""
    data: dict[str, Any] = {
        "task": {
            "id": task.uid,
            "order": task.task_order,
            "name": task.name,
            "state": task.state,
            "input": {
                "path": task.input_key,
                "size": task.input_size,
                "modified_at": moment(task.input_modified_at),
            },
            "result_files": [{"format": file.format, "path": file.key, "size": file.size} for file in files],
            "media_duration": task.media_duration,
            "attempts": task.attempts,
            "repeat_of": task.original.uid if task.original else None,
            "started_at": moment(task.started_at),
            "finished_at": moment(task.finished_at),
        }
    }
    if task.state == Task.State.FAILED:
        data["cause"] = {"code": task.error_code, "message": task.error_message}
        data["result"] = {"result": "FAILED", "message": task.error_message, "token": task.uid}
    return data


def of_execution_result(result: ExecutionResult) -> dict[str, Any]:
    tasks = result.tasks.order_by("task_order").values("uid", "task_order", "name", "state")
    return {
        "execution_result": {
            "id": result.uid,
            "number": result.number,
            "path": result.key,
            "created_at": moment(result.created_at),
            "written_at": moment(result.written_at),
            "tasks": [
                {"id": task["uid"], "order": task["task_order"], "name": task["name"], "state": task["state"]}
                for task in tasks
            ],
        }
    }


def moment(when: datetime | None) -> str | None:
    """Format a time as ``2026-11-23T07:00:00.123Z``."""
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
