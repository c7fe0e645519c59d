"""Adoption: restores a task's result from the result files in its storage, after a database restore.

A task that was finished after the backup is claimed again, but its input is gone, because it was moved. The
JSON result file contains the task's ID, which proves that the result is the task's own: it is adopted instead
of recognising the input again, so nothing is charged twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.formats import FORMATS, clova_json_reading
from batches.formats.clova_json_reading import NotAResult
from batches.models import ResultFile, StoredTranscript, Task, object_names
from batches.models.task_settings import TaskSettings
from batches.recognition.transcript import Transcript
from batches.status.failures import INPUT_TAKEN
from batches.tasks import lifecycle
from speechportal.accounts.audit.trail import record
from speechportal.storage.backends.base import Folder, ObjectStore, StoredFile

ADOPTABLE = frozenset(["result_in_storage", "input_missing", INPUT_TAKEN])
_FOLDERS = 50  # below an input path in which a lost input is looked for
_NAMES = 5  # keys tried for each file: call.mp3.json, call (2).mp3.json, …
_LARGEST = 256 * 1024**2  # size limit of a result file in bytes
_JSON = "json"


@dataclass(frozen=True)
class FoundResult:
    """Result of a task, found in its storage: result files by format, transcript, and moved input."""

    transcript: Transcript
    files: dict[str, StoredFile]
    moved: StoredFile | None


def find_result(task: Task) -> FoundResult | None:
    """Look for the task's result in its storage. Raises StorageError.

    Requires a JSON result file with the task's ID; files of other formats must have the same number.
    """
    chosen = task.settings or task.current_settings()
    if task.connection is None or _JSON not in chosen.formats or task.original_id is not None:
        return None
    store = task.connection.store()
    ending = FORMATS[_JSON].extension
    for number, file in enumerate(_present(store, chosen.result_path, task, ending), start=1):
        if file is None or file.size > _LARGEST:
            continue
        with store.open(file.key) as stream:
            data = stream.read(_LARGEST + 1)  # whatever size the storage listed
        if len(data) > _LARGEST:
            continue
        try:
            uid, transcript = clova_json_reading.read(data)
        except NotAResult:
            continue
        if uid == task.uid:
            files = {_JSON: file, **_other_formats(store, task, chosen, number, file)}
            return FoundResult(transcript, files, _moved_input(store, task, chosen))
    return None


def _present(store: ObjectStore, folder: str, task: Task, ending: str = "") -> Iterator[StoredFile | None]:
    names = object_names.candidates(folder, task.name, ending, part_bytes=store.part_bytes)
    for _number, key in zip(range(_NAMES), names, strict=False):
        yield store.stat(key)


def _other_formats(
    store: ObjectStore, task: Task, chosen: TaskSettings, number: int, json_file: StoredFile
) -> dict[str, StoredFile]:
    found = {}
    for name in chosen.formats:
        ending = FORMATS[name].extension
        if name == _JSON:
            continue
        file = next(islice(_present(store, chosen.result_path, task, ending), number - 1, None), None)
        # Files of one result are written together: one of another time belongs to another task.
        if file is not None and abs((file.modified - json_file.modified).total_seconds()) < 3600:
            found[name] = file
    return found


def find_moved_input(task: Task) -> StoredFile | None:
    """Look for an input that something else has moved, as another installation does. Raises StorageError.

    It then lies in a batch's folder below the input path, of whatever name.
    """
    if task.connection is None:
        return None
    store, chosen = task.connection.store(), task.settings or task.current_settings()
    if found := _moved_input(store, task, chosen):
        return found
    if not task.input_key.endswith(task.name):  # It was moved aside before.
        return None
    top = task.input_key.removesuffix(task.name)
    level = (entry for entry in store.list_level(top) if isinstance(entry, Folder))
    folders = [entry.path for entry in islice(level, _FOLDERS)]
    return next((file for folder in folders if (file := _unknown_input(store, task, folder))), None)


def _moved_input(store: ObjectStore, task: Task, chosen: TaskSettings) -> StoredFile | None:
    """Input in the folder it was moved to: a file of the same size that no other task has moved."""
    return _unknown_input(store, task, chosen.folder or task.batch.folder)


def _unknown_input(store: ObjectStore, task: Task, folder: str) -> StoredFile | None:
    for file in _present(store, folder, task):
        if file is None or file.size != task.input_size:
            continue
        others = Task.unscoped.filter(connection=task.connection, moved_key=file.key).exclude(pk=task.pk)
        if not others.exists():
            return file
    return None


def adopt(task: Task) -> None:
    """Complete a failed task from its result in the storage. Raises ValidationError and StorageError."""
    if task.state != Task.State.FAILED or task.error_code not in ADOPTABLE:
        raise ValidationError(_("Only tasks whose input is missing can adopt a result."))
    found = find_result(task)
    if found is None:
        raise ValidationError(_("No result file with this task’s ID lies in its storage."))
    moved = found.moved
    values = {
        "media_duration": found.transcript.duration,
        "settings": task.settings or task.current_settings(),
        "started_at": task.started_at or timezone.now(),
        "notice": "",
        "moved_key": moved.key if moved else "",
        "moved_version": moved.version if moved else "",
        "moved_at": moved.modified if moved else None,
    }
    try:
        with transaction.atomic():
            if not lifecycle.adopt(task, values, lambda: _store(task, found)):
                raise ValidationError(
                    _("Its failure is still to be reported, or somebody changed it: try again in a minute.")
                )
            record("task.result_adopted", task, changes={"error_code": [task.error_code, ""]})
    except IntegrityError as error:
        raise ValidationError(_("Another task has these result files.")) from error


def _store(task: Task, found: FoundResult) -> None:
    StoredTranscript.unscoped.update_or_create(
        task=task,
        defaults={
            "document": found.transcript.to_dict(),
            "stage": StoredTranscript.Stage.SPEAKERS,
            "original": "",
        },
    )
    for name, file in found.files.items():
        ResultFile.unscoped.update_or_create(
            task=task,
            format=name,
            defaults={
                "connection": task.connection,
                "key": file.key,
                "size": file.size,
                "version": file.version,
                "written_at": file.modified,
            },
        )
