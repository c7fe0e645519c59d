"""Why a task or a batch cannot go on, in the reader's language, and what to do about it.

Rows keep a stable code, an English sentence and its details. A code that is not known here (from a newer
or an older release) is told by the sentence that was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.models import Batch, Task
from speechportal.storage import errors as storage

Text = str | Promise
Details = dict[str, Any]

RETRY = _("Retry the task; if it happens again, tell support staff its ID.")
UPLOAD_AGAIN = _("Upload the file again; under the same name it becomes a new task.")
AUTOMATIC = _("Nothing needs to be done: it is tried again by itself.")
OPERATOR = _("The operator of this portal has to mend it; the task waits and is then tried again.")


@dataclass(frozen=True)
class Cause:
    """``sentence`` says what happened, ``advice`` what to do; either may be all there is to say."""

    code: str
    sentence: str
    advice: str = ""


def _bytes(details: Details) -> Details:
    return {name: f"{details[name] / 1e6:,.0f}" for name in ("bytes", "limit_bytes")}


def _minutes(details: Details) -> Details:
    return {name: details[name] // 60_000 for name in ("duration_ms", "limit_ms")}


# code -> what happened, what to do, and how the sentence's variables come from the stored details
SENTENCES: dict[str, tuple[Text, Text, Callable[[Details], Details] | None]] = {
    "recognition_failed": (_("The file could not be recognised."), RETRY, None),
    "media_error": (_("The file cannot be recognised as it is."), UPLOAD_AGAIN, None),
    "empty_file": (_("The file is empty (0 bytes)."), UPLOAD_AGAIN, None),
    "not_media": (
        _("The file is not audio or video in a format that can be read."),
        _("Check what it contains, whatever its ending says, and convert it to a supported format."),
        None,
    ),
    "no_audio": (
        _("The file has no sound, only video or pictures."),
        _("Check that the recording included a microphone, and upload a file with an audio track."),
        None,
    ),
    "damaged_media": (_("The file is damaged or incomplete and could not be decoded."), UPLOAD_AGAIN, None),
    "encrypted_media": (
        _("The file is encrypted."),
        _("Upload it without copy protection (DRM) and without a password."),
        None,
    ),
    "media_too_long": (
        _("The file is %(duration_ms)s minutes long; the limit is %(limit_ms)s minutes."),
        _("Cut it into shorter files and upload those."),
        _minutes,
    ),
    "media_too_large": (
        _("The file has %(bytes)s MB; the limit is %(limit_bytes)s MB."),
        _("Upload it in a compressed format such as MP3 or M4A, or cut it into smaller files."),
        _bytes,
    ),
    "model_unavailable": (_("The recognition models are missing or damaged."), OPERATOR, None),
    "engine_unavailable": (_("The recognition engine does not run."), OPERATOR, None),
    "engine_died": (_("The recognition process ended in the middle of the work."), RETRY, None),
    "engine_stalled": (_("Recognition made no progress for too long and was stopped."), RETRY, None),
    "unexpected_failure": (_("An unexpected fault stopped the recognition."), RETRY, None),
    "internal_error": (_("An unexpected fault of the portal stopped this task."), RETRY, None),
    "worker_died": (
        _("The worker that recognised this file ended without a word (%(attempts)s times)."),
        RETRY,
        lambda details: {"attempts": details["attempts"]},
    ),
    "work_disk_full": (_("The portal’s own disk is full."), OPERATOR, None),
    "database_fault": (_("The portal’s database did not answer."), AUTOMATIC, None),
    "account_suspended": (
        _("Support staff have suspended the account: nothing new is started."),
        _("Ask support staff about it."),
        None,
    ),
    "budget_reached": (
        _("The account’s monthly budget of %(budget)s %(currency)s is reached: nothing new is started."),
        _("Raise the budget, or wait for the next month (it begins at midnight UTC)."),
        lambda details: {"budget": details["budget"], "currency": details["currency"]},
    ),
    "input_missing": (
        _("The input file was removed before it could be recognised."),
        UPLOAD_AGAIN,
        None,
    ),
    "input_replaced": (
        _("The input file was replaced before it could be recognised."),
        _("Nothing needs to be done: the new version is a task of its own."),
        None,
    ),
}


def cause_of(code: str, message: str, details: Details) -> Cause | None:
    """The cause that a row keeps, or ``None`` where there is none."""
    if not code:
        return None
    if code in SENTENCES:
        sentence, advice, variables = SENTENCES[code]
        try:
            told = str(sentence) % variables(details) if variables else str(sentence)
        except (KeyError, TypeError):  # Stored by another release.
            told = message
        return Cause(code, told, str(advice))
    if code in storage_codes():
        return Cause(code, storage.describe(code, details), "")
    return Cause(code, message or gettext("An unknown fault (%s).") % code)


def cause_of_task(task: Task) -> Cause | None:
    return cause_of(task.error_code, task.error_message, task.error_details)


def cause_of_batch(batch: Batch) -> Cause | None:
    if batch.status != Batch.Status.ERROR:
        return None
    return cause_of(batch.cause_code, batch.cause, batch.cause_details)


def storage_codes() -> set[str]:
    kinds = {storage.StorageError}
    while more := {child for kind in kinds for child in kind.__subclasses__()} - kinds:
        kinds |= more
    return {kind.code for kind in kinds}
