"""Muted copy: a result file with the recording's sound, silenced where the transcript is redacted."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils import timezone

from batches.models import ResultFile, StoredTranscript, Task, object_names
from batches.models.task_settings import TaskSettings
from batches.recognition.media import muting
from batches.recognition.transcript import Transcript
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.errors import NotFound

FORMAT = "muted"  # format of the result file; not one that members can choose


def spans(transcript: Transcript) -> list[tuple[int, int]]:
    """Time spans to silence in the copy, in ms."""
    changes = [change for segment in transcript.segments for change in segment.changes]
    return [(change.start, change.end) for change in changes if change.is_redaction]


def is_wanted(task: Task, transcript: Transcript) -> bool:
    redaction = (task.settings or TaskSettings()).redaction
    return bool(redaction) and redaction.muted_copy and bool(spans(transcript))


def of(task: Task) -> ResultFile | None:
    """Muted copy of a task; ``None`` if it has not been written."""
    return ResultFile.unscoped.filter(task=task, format=FORMAT, written_at__isnull=False).first()


def write(task: Task, store: ObjectStore, transcript: Transcript, media: Path) -> None:
    """Write the muted copy of the recording ``media``, unless an earlier attempt wrote it."""
    file = _reserved(task, store)
    if file.written_at is None:
        _write(file, store, transcript, media)


def _write(file: ResultFile, store: ObjectStore, transcript: Transcript, media: Path) -> None:
    target = media.parent / f"muted{muting.EXTENSION}"
    try:
        muting.mute(media, target, spans(transcript))
        stored = store.put(file.key, target, content_type=muting.CONTENT_TYPE)
    finally:
        target.unlink(missing_ok=True)
    ResultFile.unscoped.filter(pk=file.pk).update(
        written_at=timezone.now(), size=stored.size, version=stored.version
    )


def renew(task: Task) -> None:
    """Rewrite the muted copy after the redaction changed. Raises ``StorageError`` and ``MediaError``."""
    transcript = StoredTranscript.unscoped.get(task=task).published()
    if task.connection is None or not is_wanted(task, transcript):
        return
    store = task.connection.store()
    key = task.moved_key if task.moved_at else task.input_key
    if store.stat(key) is None:
        raise NotFound(key)
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.WORK_DIR, prefix="muted-") as folder:
        media = Path(folder) / f"input{PurePosixPath(key).suffix.lower()}"
        store.download(key, media, if_version=task.moved_version if task.moved_at else task.input_version)
        _write(_reserved(task, store), store, transcript, media)


def _reserved(task: Task, store: ObjectStore) -> ResultFile:
    file = ResultFile.unscoped.filter(task=task, format=FORMAT).first()
    if file is not None:
        return file

    def save(key: str) -> None:
        ResultFile.unscoped.create(task=task, format=FORMAT, connection=task.connection, key=key)

    result_path = (task.settings or TaskSettings()).result_path
    object_names.reserve(
        object_names.candidates(result_path, task.name, muting.EXTENSION, part_bytes=store.part_bytes),
        lambda key: store.stat(key) is not None,
        save,
    )
    return ResultFile.unscoped.get(task=task, format=FORMAT)
