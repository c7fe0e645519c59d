"""From a request to a task: the file goes into the batch's input path, and becomes a task at once.

It lies in a folder of its own below ``clova/``, so that no name is ever taken. Polling, which may see it
first, and this make the same task: whoever is second finds it there.
"""

from __future__ import annotations

import secrets
import tempfile
import unicodedata
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from batches.compat.clova.parameters import Wanted
from batches.intake import uploads
from batches.intake.polling import is_media
from batches.models import Batch, ClovaRequest, Task
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy
from speechportal.platform import queue
from speechportal.storage import keys
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.errors import InvalidKey, NotFound

FOLDER = "clova/"
NAME_BYTES = 200


def take_upload(batch: Batch, wanted: Wanted, name: str, file: Path) -> Task:
    """A file that came with the request. Raises ``ValidationError`` and ``StorageError``."""
    key = _new_key(batch, name)
    return _make_task(batch, wanted, _store(batch).put(key, file))


def take_url(batch: Batch, wanted: Wanted) -> Task:
    """A file at an address: fetched by the guarded way out. Raises like :func:`take_upload`."""
    name = PurePosixPath(unquote(urlsplit(wanted.source).path)).name
    key = _new_key(batch, name)
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.WORK_DIR, prefix="clova-") as folder:
        path = Path(folder) / "media"
        with path.open("wb") as file:
            _fetch(wanted.source, file)
        stored = _store(batch).put(key, path)
    return _make_task(batch, wanted, stored)


def _fetch(url: str, file: BinaryIO) -> None:
    timeout, most = settings.CLOVA_FETCH_SECONDS, settings.MAX_MEDIA_BYTES
    try:
        client.get(url, file, timeout=timeout, max_body=most, policy=policy())
    except OutboundError as error:
        raise ValidationError({"url": ValidationError(error.message, code=error.code)}) from error


def take_object(batch: Batch, wanted: Wanted) -> Task:
    """A file in the batch's storage: a copy of it is recognised, and it stays where it is."""
    source = unicodedata.normalize("NFC", wanted.source.removeprefix("/"))
    store = _store(batch)
    try:
        there = store.stat(keys.check_key(source)) is not None
    except InvalidKey as error:
        raise ValidationError({"dataKey": ValidationError(str(error), code=error.code)}) from error
    if not there:
        raise ValidationError({"dataKey": ValidationError(str(NotFound(source)), code=NotFound.code)})
    if source.startswith(batch.input_path) and is_media(source) and not _lies_aside(batch, source):
        sentence = _("This file is in the batch’s input path, where every file is recognised by itself.")
        raise ValidationError({"dataKey": ValidationError(sentence, code="watched_already")})
    return _make_task(batch, wanted, store.copy(source, _new_key(batch, PurePosixPath(source).name)))


def check_callback(url: str) -> None:
    """Raises ``ValidationError`` for an address that nothing would be sent to. Asks the name service."""
    if not url:
        return
    try:
        client.check_endpoint(url, policy())
    except OutboundError as error:
        raise ValidationError({"callback": ValidationError(error.message, code=error.code)}) from error


def _lies_aside(batch: Batch, key: str) -> bool:
    """Whether polling passes it by: a folder of finished inputs or of results."""
    try:
        uploads.checked_key(batch, key.removeprefix(batch.input_path))
    except ValidationError:
        return True
    return False


def _new_key(batch: Batch, name: str) -> str:
    """A free key for a file of this name. Raises ``ValidationError`` where it would not be recognised."""
    clean = "".join(letter for letter in unicodedata.normalize("NFC", name) if letter.isprintable())
    stem, ending = PurePosixPath(clean).stem, PurePosixPath(clean).suffix
    short = stem.encode()[:NAME_BYTES].decode(errors="ignore") or "media"
    return uploads.checked_key(batch, f"{FOLDER}{secrets.token_hex(8)}/{short}{ending}")


def _store(batch: Batch) -> ObjectStore:
    assert batch.connection is not None  # noqa: S101 - a live batch has one
    return batch.connection.store()


def _make_task(batch: Batch, wanted: Wanted, file: StoredFile) -> Task:
    with transaction.atomic():
        locked = Batch.unscoped.live().select_for_update(no_key=True).filter(pk=batch.pk).first()
        if locked is None:
            raise ValidationError(_("The batch was deleted meanwhile."), code="batch_deleted")
        task = _new_task(locked, wanted, file) or _polled_task(locked, wanted, file)
        ClovaRequest.unscoped.create(task=task, answer=wanted.answer, callback=wanted.callback)
        queue.wake_recognition(1)
    return task


def _new_task(batch: Batch, wanted: Wanted, file: StoredFile) -> Task | None:
    try:
        with transaction.atomic():
            task = Task.unscoped.create(
                account_id=batch.account_id,
                batch=batch,
                connection_id=batch.connection_id,
                task_order=batch.last_task_order + 1,
                input_key=file.key,
                input_version=file.version,
                input_size=file.size,
                input_modified_at=file.modified,
                name=file.key.removeprefix(batch.input_path),
                overrides=wanted.overrides,
            )
    except IntegrityError:
        return None  # Polling was quicker.
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=task.task_order)
    return task


def _polled_task(batch: Batch, wanted: Wanted, file: StoredFile) -> Task:
    task = Task.unscoped.get(batch=batch, input_key=file.key, input_version=file.version)
    Task.unscoped.filter(pk=task.pk, state=Task.State.WAITING, settings__isnull=True).update(
        overrides=wanted.overrides, **wanted.overrides.model_columns()
    )
    return task
