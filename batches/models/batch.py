"""`Batch`, and the tables in which polling keeps the state of an input path."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from batches import field_defaults
from batches.formats import FORMATS
from batches.models.recognition_settings import RecognitionSettings
from batches.models.task_settings import TaskSettings, joined_words
from domains import offered_models
from domains.models import Domain
from domains.offered_models import ModelPair
from speechportal.accounts.models import LONGEST_RETENTION, Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.platform.typed_json import TypedJSONField
from speechportal.storage.keys import is_address
from speechportal.storage.models import Connection

# Optional columns of execution results, by their title in the file.
CSV_COLUMN_TITLES = {
    "whisper_model": "Whisper model",
    "speaker_model": "speaker model",
    "language": "language",
    "speakers": "speakers",
    "segments": "segments",
    "input_size": "input size",
}
CSV_COLUMNS = [
    ("whisper_model", _("Whisper model")),
    ("speaker_model", _("Speaker model")),
    ("language", _("Language")),
    ("speakers", _("Number of speakers")),
    ("segments", _("Number of segments")),
    ("input_size", _("Size in bytes")),
]
NOTE_LENGTH = 500  # characters of an acknowledgement
NAME_BYTES = 255  # limit of file systems for the name of a folder, in UTF-8

# The name is also that of the folder to which finished inputs are moved.
validate_batch_name = RegexValidator(
    r"^(?!\.)[^/\\\x00-\x1f\x7f]+(?<![. ])\Z",
    _("Use a name without slashes that does not start with a dot or end with a dot or a space."),
)


def as_folder(path: str) -> str:
    """Normalise a path to a key prefix: no leading slash, one trailing slash; the root is ``""``."""
    parts = [part for part in path.strip().split("/") if part]
    return "".join(f"{part}/" for part in parts)


class BatchQuerySet(models.QuerySet["Batch"]):
    def live(self) -> Self:
        return self.filter(deleted_at__isnull=True)

    def matching(self, text: str) -> Self:
        """Batches whose name or ID, or whose domain's name or code, contains ``text``."""
        fields = ("name", "uid", "domain__name", "domain__code")
        condition = models.Q()
        for field in fields:
            condition |= models.Q(**{f"{field}__icontains": text})
        return self.filter(condition)


class ScopedBatches(ScopedManager["Batch"]):
    def for_account(self, account: Account) -> BatchQuerySet:
        return BatchQuerySet(self.model, using=self._db).filter(account=account)


class Batch(models.Model):
    """Standing instruction: watch an input path, recognise new files, write results to the result path.

    A deleted batch stays as a row (``deleted_at``), since charges and results refer to it; its domain,
    connection and name become free.
    """

    class Status(models.TextChoices):
        NORMAL = "normal", _("Normal")
        ERROR = "error", _("Error")

    class Priority(models.IntegerChoices):
        LOW = -1, pgettext_lazy("priority", "Low")
        NORMAL = 0, pgettext_lazy("priority", "Normal")
        HIGH = 1, pgettext_lazy("priority", "High")

    uid = UidField("bat")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="batches")
    name = models.CharField(
        _("batch name"),
        max_length=100,
        validators=[validate_batch_name],
        help_text=_("Finished input files are moved to a folder of this name in the input path."),
    )
    domain = models.OneToOneField(
        Domain, verbose_name=_("domain"), on_delete=models.PROTECT, null=True, related_name="batch"
    )
    connection = models.ForeignKey(
        Connection,
        verbose_name=_("connection"),
        on_delete=models.PROTECT,
        null=True,
        related_name="batches",
    )
    input_path = models.CharField(_("input path"), max_length=900, blank=True)
    result_path = models.CharField(_("result path"), max_length=900, blank=True)
    formats = models.JSONField(_("file format"), default=field_defaults.formats)
    recognition: models.JSONField[RecognitionSettings, RecognitionSettings] = TypedJSONField(
        RecognitionSettings, verbose_name=_("recognition settings"), default=RecognitionSettings
    )

    priority = models.SmallIntegerField(
        _("priority"),
        choices=Priority.choices,
        default=Priority.NORMAL,
        help_text=_("Whose files are recognised first among the batches of the account."),
    )
    transcript_days = models.PositiveIntegerField(
        _("days to keep transcripts"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_RETENTION)],
        help_text=_(
            "Counted from the end of each task. Where the account keeps transcripts for fewer days, those"
            " count. Leave it empty to keep them as the account says."
        ),
    )
    webhook_url = models.CharField(
        _("webhook URL"),
        max_length=2000,
        blank=True,
        help_text=_("Told about every finished task. Leave it empty for no webhook."),
    )
    csv_columns = models.JSONField(_("more columns of execution results"), default=list, blank=True)
    takes_requests = models.BooleanField(
        _("takes requests that name no batch"),
        default=False,
        help_text=_(
            "Files that programs send by OpenAI’s API, or by CLOVA’s for short sentences, come here unless"
            " they name another batch. One batch of an account."
        ),
    )
    poll_seconds = models.PositiveIntegerField(
        _("seconds between looks at the input path"),
        null=True,
        blank=True,
        validators=[MinValueValidator(10), MaxValueValidator(86_400)],
        help_text=_(
            "10 to 86,400. Leave it empty for the portal’s interval, which lengthens by itself where no file"
            " comes."
        ),
    )
    settle_seconds = models.PositiveIntegerField(
        _("seconds that a file must stay unchanged"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(86_400)],
        help_text=_(
            "A file is taken once it has not changed for so long. Set it above the longest pause of a"
            " recorder that writes with pauses. Leave it empty for the portal’s time."
        ),
    )
    paused_at = models.DateTimeField(_("paused"), null=True, editable=False)

    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.NORMAL, editable=False
    )
    cause_code = models.CharField(max_length=50, blank=True, editable=False)
    cause = models.TextField(_("cause"), blank=True, editable=False)
    cause_details = models.JSONField(default=dict, blank=True, editable=False)
    # Back-off after an error that requires a person: no task starts before this time, then one as a probe.
    held_until = models.DateTimeField(null=True, editable=False)
    # Acknowledgement of the error by a member; the next change of the status clears both columns.
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, editable=False)
    acknowledgement = models.CharField(
        _("note"), max_length=NOTE_LENGTH, blank=True, default="", db_default="", editable=False
    )
    # Files that the latest poll ignored, by reason: see batches/intake/left_alone.py.
    left_alone = models.JSONField(default=list, db_default=Value([], models.JSONField()), editable=False)
    quiet_polls = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)  # consecutive
    next_poll_at = models.DateTimeField(default=timezone.now, editable=False)
    # At most one poll is queued and one runs at a time; while it runs, it renews its heartbeat.
    poll_queued_at = models.DateTimeField(null=True, editable=False)
    poll_heartbeat_at = models.DateTimeField(null=True, editable=False)
    polled_at = models.DateTimeField(_("last look at the input path"), null=True, editable=False)
    last_task_order = models.PositiveIntegerField(default=0, editable=False)
    last_execution_result = models.PositiveIntegerField(default=0, editable=False)
    last_finished_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)

    unscoped = models.Manager.from_queryset(BatchQuerySet)()
    objects: ClassVar[ScopedBatches] = ScopedBatches()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "name"],
                condition=models.Q(deleted_at__isnull=True),
                name="batch_name_unique",
                violation_error_message=_("A batch with this name already exists."),
            ),
            models.UniqueConstraint(
                fields=["account"],
                condition=models.Q(deleted_at__isnull=True, takes_requests=True),
                name="batch_takes_requests_unique",
                violation_error_message=_("Another batch takes the requests that name none."),
            ),
            models.CheckConstraint(
                condition=models.Q(domain__isnull=False, connection__isnull=False)
                | models.Q(deleted_at__isnull=False),
                name="batch_complete_while_live",
            ),
            models.CheckConstraint(
                condition=models.Q(status="normal", cause_code="", cause="")
                | (models.Q(status="error") & ~models.Q(cause_code="") & ~models.Q(cause="")),
                name="batch_error_has_cause",
            ),
            models.CheckConstraint(condition=models.Q(priority__in=[-1, 0, 1]), name="batch_priority_known"),
        ]
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                condition=models.Q(deleted_at__isnull=True),
                name="batch_due",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def clean_fields(self, exclude: Any = None) -> None:
        # NFC: macOS sends decomposed Hangul, other systems composed.
        self.name = unicodedata.normalize("NFC", self.name)
        self.input_path = as_folder(self.input_path)
        self.result_path = as_folder(self.result_path)
        self.webhook_url = self.webhook_url.strip()
        super().clean_fields(exclude=exclude)

    def clean(self) -> None:
        super().clean()
        errors: dict[str, list[Any]] = {**self.recognition.errors()}
        if len(self.name.encode()) > NAME_BYTES:
            errors["name"] = [_("This name is too long for a folder: use at most 85 Korean letters.")]
        if unknown := [name for name in self.formats or [] if name not in FORMATS]:
            errors["formats"] = [_("Unknown file format: %s.") % ", ".join(map(str, unknown))]
        if not self.formats:
            errors["formats"] = [_("Choose at least one file format.")]
        if unknown := [name for name in self.csv_columns or [] if name not in CSV_COLUMN_TITLES]:
            errors["csv_columns"] = [_("Unknown column: %s.") % ", ".join(map(str, unknown))]
        errors |= self._path_errors()
        if self.domain is not None and self.domain.plan == Domain.Plan.FREE:
            errors["domain"] = [_("A Free domain cannot have a batch.")]
        if other := self._overlapping():
            errors["input_path"] = [
                _("This path overlaps the input path of the batch “%s”.") % other.name,
            ]
        if errors:
            raise ValidationError(errors)

    def _path_errors(self) -> dict[str, list[Any]]:
        errors: dict[str, list[Any]] = {}
        for field in ("input_path", "result_path"):
            path = getattr(self, field)
            if is_address(path):
                errors[field] = [
                    _("Enter a path in the connection’s storage, such as calls/in, without an address.")
                ]
            elif any(part in {".", ".."} for part in path.split("/")):
                errors[field] = [_("A path cannot contain “.” or “..” as a folder.")]
        return errors

    def _overlapping(self) -> Batch | None:
        """Return another live batch whose input path overlaps with this one's, if any."""
        if self.connection_id is None:
            return None
        others = Batch.unscoped.live().filter(connection=self.connection_id).exclude(pk=self.pk)
        for other in others:
            shorter, longer = sorted((self.input_path, other.input_path), key=len)
            if longer.startswith(shorter):
                return other
        return None

    @property
    def folder(self) -> str:
        """Folder that finished inputs are moved to: ``<input path>/<batch name>/``."""
        return f"{self.input_path}{self.name}/"

    @property
    def settle_seconds_or_default(self) -> int:
        """Seconds that a file must stay unchanged before it becomes a task."""
        chosen = self.settle_seconds
        return int(settings.SETTLE_SECONDS) if chosen is None else chosen

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    def model_pair(self) -> ModelPair:
        """Models of a task that starts now, unless its request named others."""
        own, domain = self.recognition, self.domain
        return offered_models.resolve(
            [own.whisper_model, domain.whisper_model if domain else ""],
            [own.speaker_model, domain.speaker_model if domain else ""],
        )

    def task_settings(self) -> TaskSettings:
        """Snapshot of the settings for a task that starts now; later edits of the batch do not change it."""
        keywords: tuple[str, ...] = ()
        models = self.model_pair()
        if self.recognition.keyword_boosting and self.domain is not None:
            keywords = tuple(self.domain.keywords.values_list("text", flat=True))
        profile = self.domain or Domain()
        return TaskSettings(
            forbidden=joined_words(", ".join(profile.forbidden_words), self.recognition.forbidden),
            forbidden_action=profile.forbidden_action,
            replacements=profile.replacements,
            redaction=profile.redaction,
            recognition=self.recognition.with_changes(
                {"whisper_model": models.whisper, "speaker_model": models.speakers}
            ),
            domain=self.domain.code if self.domain else "",
            keywords=keywords,
            formats=tuple(self.formats),
            result_path=self.result_path,
            folder=self.folder,
        )


class ProcessedFolder(models.Model):
    """Folder of finished inputs, under the present or an earlier name of the batch.

    Polling skips these folders, even after a batch was renamed or deleted, so that nothing is recognised
    twice.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="processed_folders")
    path = models.CharField(_("path"), max_length=1024)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("connection__account")

    class Meta:
        verbose_name = _("folder of finished inputs")
        verbose_name_plural = _("folders of finished inputs")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["connection", "path"], name="finished_folder_unique")]

    def __str__(self) -> str:
        return self.path


class PendingFile(models.Model):
    """File that a poll has seen once. It becomes a task when a later poll finds it unchanged."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="pending_files")
    key = models.CharField(_("key"), max_length=1024)
    version = models.CharField(max_length=200)
    size = models.BigIntegerField(_("size"))
    modified_at = models.DateTimeField(_("modified"))
    since = models.DateTimeField(default=timezone.now)  # when this version was first seen
    seen_at = models.DateTimeField(_("last found"), default=timezone.now)
    # Judged by the first bytes of a file without an extension; None until they are read.
    is_media = models.BooleanField(_("media file"), null=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("batch__account")

    class Meta:
        verbose_name = _("arriving file")
        verbose_name_plural = _("arriving files")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["batch", "key"], name="pending_file_unique")]

    def __str__(self) -> str:
        return self.key
