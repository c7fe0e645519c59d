"""Result archive: a ZIP file of many transcripts in the chosen file formats, with a manifest."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from django.db.models import QuerySet

from batches import formats
from batches.models import StoredTranscript, Task
from batches.worker.result_files import result_context

LIMIT = 1000  # results in one archive
CHUNK = 50
MANIFEST = "manifest.json"


class _Sink(io.RawIOBase):
    """Buffer of the bytes that the ZIP writer has written and that are not sent yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def stream(tasks: QuerySet[Task], names: Sequence[str]) -> Iterator[bytes]:
    """Stream the ZIP file, building it on the fly. ``names`` are file formats.

    The manifest is the last entry: a list of the results with their tasks' IDs, states and failure reasons.
    """
    sink, manifest = _Sink(), []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        taken: set[str] = set()
        for task, checkpoint in _with_transcripts(tasks):
            entries = _add(archive, task, checkpoint, names, taken) if checkpoint else []
            manifest.append(_described(task, entries))
            if data := sink.take():
                yield data
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        archive.writestr(MANIFEST, text)
    yield sink.take()


def _with_transcripts(tasks: QuerySet[Task]) -> Iterator[tuple[Task, StoredTranscript | None]]:
    ids = list(tasks.order_by("pk").values_list("pk", flat=True)[:LIMIT])
    for start in range(0, len(ids), CHUNK):
        chunk = tasks.filter(pk__in=ids[start : start + CHUNK]).order_by("pk")
        for task in chunk.select_related("transcript", "batch"):
            yield task, getattr(task, "transcript", None)


def _add(
    archive: zipfile.ZipFile, task: Task, checkpoint: StoredTranscript, names: Iterable[str], taken: set[str]
) -> list[str]:
    transcript, context = checkpoint.published(), result_context(task)
    entries = []
    for name in names:
        entry = _entry_name(task, formats.FORMATS[name].extension, taken)
        archive.writestr(entry, formats.render(name, transcript, context))
        entries.append(entry)
    return entries


def _entry_name(task: Task, extension: str, taken: set[str]) -> str:
    """Unique entry name: the input's name with the format's extension, safe against path traversal."""
    parts = [part for part in PurePosixPath(task.name).parts if part not in {"/", "..", "."}]
    wanted = "/".join(parts) or task.uid
    entry = f"{wanted}{extension}"
    if entry in taken:
        entry = f"{wanted}.{task.uid}{extension}"
    taken.add(entry)
    return entry


def _described(task: Task, entries: list[str]) -> dict[str, Any]:
    return {
        "task": task.uid,
        "name": task.name,
        "state": task.state,
        "cause": task.error_code or None,
        "finished_at": task.finished_at.isoformat() if task.finished_at else None,
        "media_duration": task.media_duration,
        "files": entries,
    }
