"""Result files of a task: written under unused names, verified after writing, removed if the task fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from django.utils import timezone

from batches.formats import FORMATS, Context, render
from batches.models import Correction, ResultFile, StoredTranscript, Task, object_names
from batches.models.task_settings import TaskSettings
from batches.recognition.transcript import Transcript
from speechportal.storage.backends.base import ObjectStore


def result_context(task: Task) -> Context:
    """Context of a result file: its metadata besides the transcript, with members' corrections."""
    chosen = task.settings or TaskSettings()
    correction = Correction.unscoped.filter(task=task).first()
    return dataclasses.replace(
        chosen.context(task.uid, task.overrides.forbidden),
        speaker_names=dict(correction.speaker_names) if correction else {},
        lines=dict(correction.lines) if correction else {},
    )


def write(task: Task, store: ObjectStore, transcript: Transcript, report: Callable[[], None]) -> None:
    """Write the task's result in each of its formats, except files that an earlier attempt wrote."""
    assert task.settings is not None  # noqa: S101 - a constraint of the database
    context = result_context(task)
    for name in task.settings.formats:
        report()
        file = _reserved(task, store, name)
        data = render(name, transcript, context)
        if file.written_at and _is_there(store, file, len(data)):
            continue
        # The store verifies the written file and raises StorageFault if it is incomplete.
        stored = store.put(file.key, data, content_type=FORMATS[name].content_type)
        ResultFile.unscoped.filter(pk=file.pk).update(
            written_at=timezone.now(), size=stored.size, version=stored.version
        )


def _is_there(store: ObjectStore, file: ResultFile, size: int) -> bool:
    found = store.stat(file.key)
    return found is not None and (found.version, found.size) == (file.version, size)


def _reserved(task: Task, store: ObjectStore, name: str) -> ResultFile:
    file = ResultFile.unscoped.filter(task=task, format=name).first()
    if file is not None:
        return file

    def save(key: str) -> None:
        ResultFile.unscoped.create(task=task, format=name, connection=task.connection, key=key)

    result_path = (task.settings or TaskSettings()).result_path
    object_names.reserve(
        object_names.candidates(result_path, task.name, FORMATS[name].extension, part_bytes=store.part_bytes),
        lambda key: store.stat(key) is not None,
        save,
    )
    return ResultFile.unscoped.get(task=task, format=name)


def remove(task: Task, store: ObjectStore) -> None:
    """Remove the result files of a task that was cancelled or failed before all were written.

    A file is removed only if the task wrote it: it has the recorded version or, if the worker died between
    writing and recording, exactly the bytes that the task would write.
    """
    files = list(ResultFile.unscoped.filter(task=task))
    if not files:
        return
    checkpoint = StoredTranscript.unscoped.filter(task=task).first()
    for file in files:
        found = store.stat(file.key)
        if found is not None:
            as_left = bool(file.version) and found.version == file.version
            if as_left or (checkpoint and _is_ours(task, store, file, checkpoint, found.size)):
                store.delete(file.key)
        file.delete()


def _is_ours(
    task: Task, store: ObjectStore, file: ResultFile, checkpoint: StoredTranscript, size: int
) -> bool:
    if file.format not in FORMATS:
        return False
    transcript = checkpoint.published()
    data = render(file.format, transcript, result_context(task))
    if size != len(data):
        return False
    with store.open(file.key) as stream:
        return stream.read() == data
