"""Uploads: members and programs upload files to a batch's input path by pre-signed URLs.

1. ``plan`` checks for each file whether it may be uploaded under its name.
2. ``prepare`` (one request) or ``presign_step`` (a multipart upload) signs the URLs; the bytes go straight
   to the storage.
3. ``finish`` creates the task at once. If ``finish`` is never called, polling finds the file.
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.intake import left_alone
from batches.intake.input_path import is_media
from batches.intake.new_tasks import create_tasks
from batches.models import Batch, PendingFile, ProcessedFolder, Task
from speechportal.accounts.audit import trail
from speechportal.platform import queue
from speechportal.storage import keys
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.backends.multipart import MultipartStep, MultipartUploads
from speechportal.storage.errors import InvalidKey

UPLOAD_SECONDS = 3600  # validity of a pre-signed URL; a long upload gets a new one for each part
MAX_PARTS = 10_000  # S3's limit


@dataclass(frozen=True)
class Upload:
    key: str  # below the connection's root
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class PlannedFile:
    """One file of a plan. ``code`` is empty if the file may be uploaded, else the reason why not."""

    name: str  # below the input path, as given
    code: str
    message: str


def plan(*, batch: Batch, files: Sequence[tuple[str, int]]) -> list[PlannedFile]:
    """Dry run of an upload: for each ``(name, size in bytes)``, accepted, already there, or the error.

    Raises ``StorageError``.
    """
    store = _store(batch)
    return [_planned(batch, store, name, size) for name, size in files]


def _planned(batch: Batch, store: ObjectStore, name: str, size: int) -> PlannedFile:
    try:
        check_size(size)
        _check_name(store, checked_key(batch, name), replace=False)
    except ValidationError as error:
        first = _first(error)
        return PlannedFile(name, first.code or "invalid", str(first.messages[0]))
    return PlannedFile(name, "", "")


def prepare(*, batch: Batch, name: str, replace: bool = False) -> Upload:
    """Return a pre-signed URL to PUT the file ``name`` to, below the batch's input path.

    Raises ``ValidationError`` for a name that would not become a task, or that exists (unless ``replace``),
    and ``StorageError``.
    """
    key = checked_key(batch, name)
    store = _store(batch)
    _check_name(store, key, replace=replace)
    return Upload(key, store.presign(key, expires=UPLOAD_SECONDS, method="put"), _expiry())


def presign_step(
    *,
    batch: Batch,
    name: str,
    step: MultipartStep,
    upload_id: str = "",
    part_number: int = 0,
    replace: bool = False,
) -> Upload:
    """Return a pre-signed URL for one step of the multipart upload of ``name``.

    Raises ``ValidationError`` as ``prepare`` does, for a storage without multipart uploads
    (``multipart_unsupported``) and for a step without its upload ID or part number; ``StorageError``.
    """
    key = checked_key(batch, name)
    store = _store(batch)
    if not isinstance(store, MultipartUploads):
        raise ValidationError(
            _("This storage takes a file in one request only."), code="multipart_unsupported"
        )
    if step != "create" and not 0 < len(upload_id) <= 1024:
        raise ValidationError(_("The ID of the upload is missing."), code="upload_id_missing")
    if step == "part" and not 1 <= part_number <= MAX_PARTS:
        raise ValidationError(_("The part's number is not one from 1 to 10,000."), code="part_number_invalid")
    if step == "create":
        _check_name(store, key, replace=replace)
    url = store.presign_multipart(
        key, step, expires=UPLOAD_SECONDS, upload_id=upload_id, part_number=part_number
    )
    return Upload(key, url, _expiry())


def finish(*, batch: Batch, name: str) -> Task:
    """Create the task of an uploaded file and return it. Idempotent: a second call returns the same task.

    The file is complete, so there is no settle time. Raises ``ValidationError`` if the storage does not have
    the file or if it is empty.
    """
    key = checked_key(batch, name)
    own = Task.objects.for_account(batch.account).filter(batch=batch, original=None, input_key=key)
    file = _stat(_store(batch), key)
    if file is None:
        if (moved := own.order_by("-task_order").first()) is not None:
            return moved  # A poll found the file first, and it has already been recognised.
        raise ValidationError(_("The storage does not have this file."), code="upload_missing")
    check_size(file.size)
    with transaction.atomic():
        # The row lock serialises a concurrent poll, upload or deletion.
        locked = Batch.unscoped.select_for_update(no_key=True).get(pk=batch.pk)
        if locked.is_deleted:
            raise ValidationError(_("This batch was deleted meanwhile."), code="batch_deleted")
        same = own.filter(input_version=file.version)
        if not same.exists():
            PendingFile.objects.for_account(batch.account).filter(batch=batch, key=key).delete()
            create_tasks(locked, [file], source="upload")
            trail.record("batch.uploaded", batch, changes={"file": [None, name]})
            transaction.on_commit(lambda: queue.wake_recognition(1))
        return same.get()


def receive(*, batch: Batch, file: UploadedFile[bytes]) -> Task:
    """Store a file from a form in the input path and return its task.

    For browsers without JavaScript; the web server limits the size of such a request. Raises
    ``ValidationError`` as ``prepare`` does, and ``StorageError``.
    """
    name = PurePosixPath(file.name or "").name
    check_size(file.size or 0)
    key, store = checked_key(batch, name), _store(batch)
    _check_name(store, key, replace=False)
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=settings.WORK_DIR, prefix="upload-") as copy:
        for chunk in file.chunks():
            copy.write(chunk)
        copy.flush()
        store.put(key, Path(copy.name))
    return finish(batch=batch, name=name)


def sample_address(batch: Batch) -> str:
    """Example of a pre-signed upload URL, for a file name that is not in use. Makes no request."""
    return _store(batch).presign(f"{batch.input_path}speechportal.wav", expires=1, method="put")


def takes_parts(batch: Batch) -> bool:
    """Whether the batch's storage supports multipart uploads."""
    return isinstance(_store(batch), MultipartUploads)


def check_size(size: int) -> None:
    """Check an input's size. Raises ``ValidationError`` for an empty file and for one over the size limit."""
    if size <= 0:
        raise ValidationError(_("The file is empty."), code="empty_file")
    if size > settings.MAX_MEDIA_BYTES:
        raise ValidationError(
            _("The file is larger than the limit of %d MB.") % (settings.MAX_MEDIA_BYTES // 1024**2),
            code="file_too_large",
        )


def checked_key(batch: Batch, name: str) -> str:
    """Key of the input ``name``. Raises ``ValidationError`` if polling would not create a task for it."""
    key = f"{batch.input_path}{unicodedata.normalize('NFC', name)}"
    try:
        keys.check_key(key)
    except InvalidKey as error:
        raise _refused("invalid_key", str(error)) from error
    if left_alone.is_housekeeping_below(key.removeprefix(batch.input_path)):
        raise _refused("not_media_name", _("Files with hidden names, and in bins, are left alone."))
    if not is_media(key):
        raise _refused(
            "not_media_name", _("The name does not end like that of a media file, such as .mp3 or .mp4.")
        )
    finished = ProcessedFolder.objects.for_account(batch.account).filter(connection=batch.connection_id)
    aside = [batch.folder, *finished.exclude(path=batch.input_path).values_list("path", flat=True)]
    if batch.result_path != batch.input_path:
        aside.append(batch.result_path)
    if any(folder and folder.startswith(batch.input_path) and key.startswith(folder) for folder in aside):
        raise _refused(
            "not_watched",
            _("This folder is one of finished inputs or of results, where no file is looked for."),
        )
    return key


def _store(batch: Batch) -> ObjectStore:
    assert batch.connection is not None  # noqa: S101 - a live batch has one
    return batch.connection.store()


def _expiry() -> datetime:
    return timezone.now() + timedelta(seconds=UPLOAD_SECONDS)


def _stat(store: ObjectStore, key: str) -> StoredFile | None:
    """Look up a file. Raises ``ValidationError`` if its name is not valid in this storage."""
    try:
        return store.stat(key)
    except InvalidKey as error:
        raise _refused("invalid_key", str(error)) from error


def _check_name(store: ObjectStore, key: str, *, replace: bool) -> None:
    """Check a new file's name. Raises ``ValidationError`` if it is invalid or already exists."""
    if _stat(store, key) is not None and not replace:
        sentence = _("A file with this name is waiting there already.")
        raise ValidationError(sentence, code="upload_exists")


def _first(error: ValidationError) -> ValidationError:
    """First of the errors in ``error``, with its own code."""
    if hasattr(error, "error_dict"):
        return next(iter(error.error_dict.values()))[0]
    return error.error_list[0]


def _refused(code: str, sentence: str) -> ValidationError:
    return ValidationError({"name": ValidationError(sentence, code=code)})
