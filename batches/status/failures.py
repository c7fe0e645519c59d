"""Failure reasons: why a task failed or waits, a batch is in Error, or a request to a receiver failed.

`CATALOGUE` has an entry for every code. Sentences are written once: those of recognition, storage and
outbound errors with the exceptions, the portal's own here. `Failure` is one occurrence, as rows keep it: the
code, an English message and details. A code that is not in the catalogue (from a newer or an older release)
is shown with the message that was stored.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.models import Batch, Task, TaskAttempt
from batches.recognition import errors as recognition
from batches.recognition.errors import RecognitionError
from speechportal.outbound import errors as outbound
from speechportal.outbound.errors import OutboundError
from speechportal.storage import errors as storage
from speechportal.storage.errors import StorageError

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Details = Mapping[str, Any]


class Level(enum.Enum):
    """Scope of a failure."""

    FILE = "file"  # one task
    BATCH = "batch"  # a path, or an account: other batches of the connection may go on
    CONNECTION = "connection"  # every batch that uses the storage
    INSTALLATION = "installation"  # every batch
    RECEIVER = "receiver"  # one address that the portal posts to or fetches from


@dataclass(frozen=True, kw_only=True)
class FailureReason:
    """Entry of the catalogue.

    ``is_permanent`` means that a retry fails again until a person has changed something. ``shown`` converts
    the details of a failure to the values of the sentence's placeholders.
    """

    code: str
    sentence: _StrOrPromise
    advice: _StrOrPromise
    level: Level
    is_permanent: bool = False
    shown: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def describe(self, details: Details) -> str:
        """Sentence in the current language. Raises ``KeyError`` or ``TypeError`` for unsuitable details."""
        return str(self.sentence) % self.shown(dict(details))


@dataclass(frozen=True)
class Failure:
    """Occurrence of a failure. ``message`` is in English, for logs, files and programs."""

    code: str
    message: str
    details: Details = field(default_factory=dict)

    @property
    def reason(self) -> FailureReason | None:
        return CATALOGUE.get(self.code)

    @property
    def sentence(self) -> str:
        """What happened, in the current language."""
        if self.reason is None:
            return self.message or gettext("An unknown fault (%s).") % self.code
        try:
            return self.reason.describe(self.details)
        except (KeyError, TypeError):  # Stored by another release.
            return self.message

    @property
    def advice(self) -> str:
        """Advice in the current language; may be empty."""
        return str(self.reason.advice) if self.reason else ""


RETRY = _("Retry the task; if it happens again, tell support staff its ID.")
UPLOAD_AGAIN = _("Upload the file again; under the same name it becomes a new task.")
AUTOMATIC = _("Nothing needs to be done: it is tried again by itself.")
OPERATOR = _("The operator of this portal has to mend it; the task waits and is then tried again.")

ACCOUNT_SUSPENDED = "account_suspended"
BUDGET_REACHED = "budget_reached"
MODEL_NOT_SERVED = "model_not_served"
INPUT_TAKEN = "input_taken"
# Faults of recognition hosts: while every host has one, tasks wait.
HOST_FAULTS = frozenset(
    kind.code
    for kind in (
        recognition.WorkFolderUnwritable,
        recognition.WorkDiskFull,
        recognition.FfmpegUnavailable,
        recognition.InstallationDamaged,
        recognition.HostExhausted,
        recognition.EngineUnavailable,
    )
)


def _of_recognition(
    kind: type[RecognitionError], advice: _StrOrPromise, level: Level = Level.FILE
) -> FailureReason:
    return FailureReason(
        code=kind.code,
        sentence=_(kind.sentence),
        advice=advice,
        level=level,
        is_permanent=kind.permanent,
        shown=kind.shown,
    )


@dataclass(frozen=True, kw_only=True)
class StorageReason(FailureReason):
    """Reason of a storage error, whose sentence includes the storage's own message."""

    def describe(self, details: Details) -> str:
        return storage.sentence_of(self.code, details)


# Storage errors that concern one file, or one path of a batch; all others are the connection's.
OF_A_FILE = (
    storage.NotFound,
    storage.Changed,
    storage.TargetExists,
    storage.InvalidKey,
    storage.FileTooLarge,
    storage.ObjectError,
)
OF_A_PATH = (storage.AccessDenied, storage.FolderMissing)


def _of_storage(kind: type[StorageError]) -> FailureReason:
    level = Level.CONNECTION
    if issubclass(kind, OF_A_FILE):
        level = Level.FILE
    elif issubclass(kind, OF_A_PATH):
        level = Level.BATCH
    return StorageReason(
        code=kind.code, sentence=kind.sentence, advice=kind.advice, level=level, is_permanent=kind.permanent
    )


def _kinds(kind: type[StorageError]) -> list[type[StorageError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _kinds(child))]


ADDRESS = _("Correct the address.")
RESENT = _("It is sent again by itself; see that the receiver runs.")
OUTBOUND_ADVICE: dict[type[OutboundError], _StrOrPromise] = {
    outbound.OutboundError: RESENT,
    outbound.BadUrl: ADDRESS,
    outbound.HttpsRequired: ADDRESS,
    outbound.PortNotAllowed: _("Use another port, or ask the operator to allow this one."),
    outbound.AddressNotAllowed: _("Use a public address, or ask the operator to allow its network."),
    outbound.NameNotFound: _("Check the host name for typing errors."),
    outbound.ConnectionFailed: RESENT,
    outbound.NoTrust: _("Renew the receiver’s certificate, or have the operator trust its authority."),
    outbound.Busy: RESENT,
    outbound.TimedOut: _("Have the receiver answer at once and work on the message afterwards."),
    outbound.BadAnswer: _("Check that the address is that of an HTTP server."),
    outbound.UnexpectedStatus: _("Give the address of the file itself."),
    outbound.AnswerTooLarge: _("Cut the file into smaller ones."),
}


def _of_receiver(code: str, sentence: _StrOrPromise, advice: _StrOrPromise) -> FailureReason:
    return FailureReason(code=code, sentence=sentence, advice=advice, level=Level.RECEIVER)


REASONS = [
    _of_recognition(recognition.RecognitionError, RETRY),
    _of_recognition(recognition.MediaError, UPLOAD_AGAIN),
    _of_recognition(recognition.EmptyFile, UPLOAD_AGAIN),
    _of_recognition(
        recognition.NotMedia,
        _("Check what it contains, whatever its ending says, and convert it to a supported format."),
    ),
    _of_recognition(
        recognition.NoAudioStream,
        _("Check that the recording included a microphone, and upload a file with an audio track."),
    ),
    _of_recognition(recognition.DamagedMedia, UPLOAD_AGAIN),
    _of_recognition(
        recognition.EncryptedMedia, _("Upload it without copy protection (DRM) and without a password.")
    ),
    _of_recognition(recognition.MediaTooLong, _("Cut it into shorter files and upload those.")),
    _of_recognition(
        recognition.MediaTooLarge,
        _("Upload it in a compressed format such as MP3 or M4A, or cut it into smaller files."),
    ),
    _of_recognition(recognition.ModelUnavailable, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.ModelTooLarge, OPERATOR, Level.INSTALLATION),
    FailureReason(
        code=MODEL_NOT_SERVED,
        sentence=_("No worker serves the model %(model)s: its files wait."),
        advice=_("The operator has to start a worker that serves it; or choose another model."),
        level=Level.BATCH,
    ),
    _of_recognition(recognition.WorkDiskFull, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.WorkFolderUnwritable, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.FfmpegUnavailable, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.InstallationDamaged, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.HostExhausted, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.GpuMemoryExhausted, RETRY),
    _of_recognition(recognition.EngineUnavailable, OPERATOR, Level.INSTALLATION),
    _of_recognition(recognition.EngineDied, RETRY),
    _of_recognition(recognition.EngineStalled, RETRY),
    _of_recognition(recognition.UnexpectedFailure, RETRY),
    FailureReason(
        code="internal_error",
        sentence=_("An unexpected fault of the portal stopped this task."),
        advice=RETRY,
        level=Level.FILE,
    ),
    FailureReason(
        code="worker_died",
        sentence=_("The worker that recognised this file ended unexpectedly (%(attempts)s times)."),
        advice=RETRY,
        level=Level.FILE,
    ),
    FailureReason(
        code="database_fault",
        sentence=_("The portal’s database did not answer."),
        advice=AUTOMATIC,
        level=Level.INSTALLATION,
    ),
    FailureReason(
        code=ACCOUNT_SUSPENDED,
        sentence=_("Support staff have suspended the account: nothing new is started."),
        advice=_("Ask support staff about it."),
        level=Level.BATCH,
        is_permanent=True,
    ),
    FailureReason(
        code=BUDGET_REACHED,
        sentence=_(
            "The account’s monthly budget of %(budget)s %(currency)s is reached: nothing new is started."
        ),
        advice=_(
            "Raise the budget, or wait for the next month (it begins at midnight where the account is)."
        ),
        level=Level.BATCH,
    ),
    FailureReason(
        code="result_in_storage",
        sentence=_("The input is gone, and its result lies in the storage: the database is older than both."),
        advice=_("Support staff can adopt the result: it was recognised before a backup was restored."),
        level=Level.FILE,
        is_permanent=True,
    ),
    FailureReason(
        code="input_missing",
        sentence=_("The input file was removed before it could be recognised."),
        advice=UPLOAD_AGAIN,
        level=Level.FILE,
        is_permanent=True,
    ),
    FailureReason(
        code=INPUT_TAKEN,
        sentence=_(
            "Something else has moved the input to %(key)s before it was recognised here: probably another"
            " installation of the portal that watches the same path."
        ),
        advice=_(
            "Let one installation alone watch this path: pause or delete the batch in the other. The file is"
            " unharmed; to have it recognised here, move it back."
        ),
        level=Level.FILE,
        is_permanent=True,
    ),
    FailureReason(
        code="input_replaced",
        sentence=_("The input file was replaced before it could be recognised."),
        advice=_("Nothing needs to be done: the new version is a task of its own."),
        level=Level.FILE,
        is_permanent=True,
    ),
    *map(_of_storage, _kinds(StorageError)),
    *(
        FailureReason(
            code=kind.code,
            sentence=kind.sentence,
            advice=advice,
            level=Level.RECEIVER,
            is_permanent=kind.permanent,
        )
        for kind, advice in OUTBOUND_ADVICE.items()
    ),
    _of_receiver("refused", _("The receiver answered with another status than 2xx."), RESENT),
    _of_receiver("sender_died", _("The sender of the message ended unexpectedly."), AUTOMATIC),
    _of_receiver("not_built", _("The message could not be made."), AUTOMATIC),
]
# Of several storage errors with the same code, the first and most general one counts.
CATALOGUE: dict[str, FailureReason] = {reason.code: reason for reason in reversed(REASONS)}


def failure(code: str, **details: Any) -> Failure:
    """Make a failure that the portal itself has found. Raises ``KeyError`` for an unknown code."""
    with translation.override("en"):
        return Failure(code, CATALOGUE[code].describe(details), details)


def failure_of(error: RecognitionError | StorageError) -> Failure:
    """Make the failure of an exception."""
    if isinstance(error, RecognitionError):
        return Failure(error.code, error.message, error.details)
    with translation.override("en"):
        return Failure(error.code, str(error), error.details)


def failure_of_task(task: Task | TaskAttempt) -> Failure | None:
    """Failure of a task that failed or was released, or of one attempt at it; ``None`` if it has none."""
    return Failure(task.error_code, task.error_message, task.error_details) if task.error_code else None


def failure_of_batch(batch: Batch) -> Failure | None:
    """Failure of a batch in Error, else ``None``."""
    if batch.status != Batch.Status.ERROR:
        return None
    return Failure(batch.cause_code, batch.cause, batch.cause_details)
