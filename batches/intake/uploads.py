"""Uploads: pre-signed URLs with which programs put files into a batch's input path."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.intake.polling import is_media
from batches.models import Batch, ProcessedFolder
from speechportal.storage import keys
from speechportal.storage.errors import InvalidKey

UPLOAD_SECONDS = 3600


@dataclass(frozen=True)
class Upload:
    key: str  # below the connection's root
    url: str
    expires_at: datetime


def prepare(*, batch: Batch, name: str, replace: bool = False) -> Upload:
    """Return a pre-signed URL to PUT the file ``name`` to, below the batch's input path.

    Raises ``ValidationError`` for a name that would not become a task, or that exists (unless ``replace``),
    and ``StorageError``.
    """
    key = checked_key(batch, name)
    assert batch.connection is not None  # noqa: S101 - a live batch has one
    store = batch.connection.store()
    if not replace and store.stat(key) is not None:
        sentence = _("A file with this name is waiting there already.")
        raise ValidationError(sentence, code="upload_exists")
    expires_at = timezone.now() + timedelta(seconds=UPLOAD_SECONDS)
    return Upload(key, store.presign(key, expires=UPLOAD_SECONDS, method="put"), expires_at)


def checked_key(batch: Batch, name: str) -> str:
    """Key of the input file ``name``. Raises ``ValidationError`` unless polling would make a task of it."""
    key = f"{batch.input_path}{unicodedata.normalize('NFC', name)}"
    try:
        keys.check_key(key)
    except InvalidKey as error:
        raise _refused("invalid_key", str(error)) from error
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


def _refused(code: str, sentence: str) -> ValidationError:
    return ValidationError({"name": ValidationError(sentence, code=code)})
