"""`Task`: the processing of an input file."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from batches.models.batch import Batch
from batches.models.task_settings import TaskOverrides, TaskSettings
from domains import offered_models
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.platform.typed_json import TypedJSONField
from speechportal.storage.models import Connection


class Task(models.Model):
    """Processing of one version of one input file, from discovery to its final state.

    ::

        WAITING ── claim ──> IN_PROGRESS ── finish ──> COMPLETED
           ^  │                │      │
           │  │                │      └── fail ─────> FAILED
           │  │                └── cancel ──> CANCELLING ──> CANCELLED
           │  └── cancel ───────────────────────────────> CANCELLED
           └───── release (storage error), reap (worker died)

    A retry turns FAILED and CANCELLED back to WAITING. Recognising a completed file again creates another
    task, whose ``original`` is the first: its result is written beside the first one, its input stays.

    Only :mod:`batches.tasks.lifecycle` changes ``state``, each time by a conditional update that names the
    state it leaves and, once claimed, the claimant's lease token.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        IN_PROGRESS = "in_progress", _("In progress")
        CANCELLING = "cancelling", _("Cancelling")
        CANCELLED = "cancelled", _("Cancelled")
        FAILED = "failed", _("Failed")
        COMPLETED = "completed", _("Completed")

    class Stage(models.TextChoices):
        QUEUED = "", _("Waiting for its turn")
        DOWNLOADING = "downloading", _("Downloading")
        RECOGNISING = "recognising", _("Recognising")
        SEPARATING_SPEAKERS = "separating_speakers", _("Separating speakers")
        WRITING = "writing", _("Writing results")

    LEASED = (State.IN_PROGRESS, State.CANCELLING)

    class Notice(models.TextChoices):
        """Remark on a finished task about a change of its input during recognition."""

        NONE = "", ""
        REPLACED = (
            "input_replaced",
            _("The input file was replaced while it was recognised; the new version is a task of its own."),
        )
        REMOVED = "input_removed", _("The input file was removed while it was recognised.")
        PUT_BACK = (
            "input_put_back",
            _("This file was recognised before and moved back into the input path: it is recognised again."),
        )
        LOCKED = (
            "input_locked",
            _(
                "The storage keeps the input file from being removed (object lock or retention): it was"
                " copied to the folder of finished inputs and also stays in the input path."
            ),
        )

    audited_with = "batch"
    FINAL = (State.COMPLETED, State.FAILED, State.CANCELLED)
    REPORTED = (State.COMPLETED, State.FAILED)  # states that execution results report

    uid = UidField("tsk")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False, related_name="tasks")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, db_index=False, related_name="tasks")
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, related_name="+")
    task_order = models.PositiveIntegerField(_("task order"))
    original = models.ForeignKey(
        "self",
        verbose_name=_("recognised first as"),
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="repeats",
    )

    input_key = models.CharField(_("input file"), max_length=1024)
    input_version = models.CharField(max_length=200)
    input_size = models.BigIntegerField(_("size"))
    input_modified_at = models.DateTimeField(_("input modified"))
    name = models.CharField(
        _("input file name"), max_length=1024, help_text=_("The input's path below the input path.")
    )

    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.WAITING)
    stage = models.CharField(_("stage"), max_length=20, choices=Stage.choices, blank=True)
    progress = models.PositiveSmallIntegerField(_("progress"), default=0)  # per cent
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    delays = models.PositiveSmallIntegerField(_("times held up"), default=0)  # consecutive
    available_at = models.DateTimeField(_("available"), default=timezone.now)
    lease_token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(_("lease expires"), null=True)
    worker = models.CharField(_("worker"), max_length=100, blank=True)
    settings: models.JSONField[TaskSettings | None, TaskSettings | None] = TypedJSONField(
        TaskSettings, verbose_name=_("settings at its start"), null=True
    )
    overrides: models.JSONField[TaskOverrides, TaskOverrides] = TypedJSONField(
        TaskOverrides, verbose_name=_("settings of its own"), default=TaskOverrides, blank=True
    )
    # Reserved from the account's budget while the task is in progress; afterwards the amount of its charge.
    reserved = models.DecimalField(max_digits=12, decimal_places=4, null=True)

    # Failure reason of a failed task, or of the last release while the task waits.
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    error_message = models.TextField(_("cause"), blank=True)
    error_details = models.JSONField(_("details of the error"), default=dict, blank=True)

    # Acknowledgement of the failure by a member; a retry clears both columns.
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledgement = models.CharField(_("note"), max_length=500, blank=True, default="")

    # Models: those that its request named, from the beginning; the batch's, from the claim on.
    whisper_model = models.CharField(_("Whisper model"), max_length=offered_models.NAME_LENGTH, blank=True)
    speaker_model = models.CharField(_("speaker model"), max_length=offered_models.NAME_LENGTH, blank=True)
    media_duration = models.PositiveBigIntegerField(_("media duration"), null=True)  # ms
    moved_key = models.CharField(_("moved to"), max_length=1100, blank=True)
    moved_version = models.CharField(max_length=200, blank=True)
    moved_at = models.DateTimeField(_("moved"), null=True)
    move_attempts = models.PositiveIntegerField(_("attempts to move"), default=0)
    move_due_at = models.DateTimeField(_("next attempt to move"), null=True)
    notice = models.CharField(_("notice"), max_length=20, choices=Notice.choices, blank=True)
    execution_result = models.ForeignKey(
        "batches.ExecutionResult", on_delete=models.PROTECT, null=True, related_name="tasks"
    )

    created_at = models.DateTimeField(_("discovered"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["batch", "task_order"], name="task_order_unique"),
            models.UniqueConstraint(
                fields=["batch", "input_key", "input_version"],
                condition=Q(original__isnull=True),
                name="task_input_unique",
            ),
            models.UniqueConstraint(
                fields=["connection", "moved_key"], condition=~Q(moved_key=""), name="task_moved_key_unique"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["in_progress", "cancelling"],
                    lease_token__isnull=False,
                    lease_expires_at__isnull=False,
                    started_at__isnull=False,
                    settings__isnull=False,
                )
                | (
                    ~Q(state__in=["in_progress", "cancelling"])
                    & Q(lease_token__isnull=True, lease_expires_at__isnull=True)
                ),
                name="task_lease_while_claimed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["completed", "failed", "cancelled"], finished_at__isnull=False)
                | (~Q(state__in=["completed", "failed", "cancelled"]) & Q(finished_at__isnull=True)),
                name="task_finished_when_final",
            ),
            models.CheckConstraint(
                condition=(Q(state="failed") & ~Q(error_code=""))
                | Q(state="completed", error_code="")
                | ~Q(state__in=["failed", "completed"]),
                name="task_failed_has_cause",
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="task_progress_per_cent"),
            models.CheckConstraint(
                condition=Q(reserved__isnull=True) | Q(state__in=["in_progress", "cancelling"]),
                name="task_reserves_while_claimed",
            ),
        ]
        indexes = [
            models.Index(fields=["batch", "id"], condition=Q(state="waiting"), name="task_waiting_of_batch"),
            models.Index(fields=["account"], condition=Q(state="waiting"), name="task_waiting_of_account"),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(state__in=["in_progress", "cancelling"]),
                name="task_leased",
            ),
            models.Index(
                fields=["account"],
                condition=Q(state__in=["in_progress", "cancelling"]),
                name="task_leased_of_account",
            ),
            models.Index(
                fields=["move_due_at"],
                condition=Q(move_due_at__isnull=False),
                name="task_to_move",
            ),
            models.Index(
                fields=["batch", "id"],
                condition=Q(execution_result__isnull=True, state__in=["completed", "failed"]),
                name="task_unreported",
            ),
            # For workers that do not serve the batch's models, but may serve those of some of its tasks.
            models.Index(
                fields=["batch"],
                condition=Q(state="waiting") & ~Q(whisper_model=""),
                name="task_waiting_with_model",
            ),
            models.Index(fields=["batch", "-id"], name="task_of_batch"),
            models.Index(fields=["account", "-id"], name="task_of_account"),
            # Admin lists of all accounts: by state, newest first, and by the prefix of a name.
            models.Index(fields=["state", "-id"], name="task_by_state"),
            models.Index(fields=["account", "state", "-id"], name="task_of_account_by_state"),
            models.Index(fields=["name"], name="task_by_name", opclasses=["varchar_pattern_ops"]),
            # A batch's page by state, newest first; without it SQLite scans all tasks if none has the state.
            models.Index(fields=["batch", "state", "-task_order"], name="task_of_batch_by_state"),
            # Home: the latest failures of an account.
            models.Index(
                fields=["account", "finished_at"], condition=Q(state="failed"), name="task_failed_of_account"
            ),
            # A batch's list by each of its columns, up and down (speechportal.platform.keyset).
            # The first is also counted from without the table: hence the account, which queries filter by.
            models.Index(fields=["batch", "state", "id"], include=["account"], name="task_of_batch_in_state"),
            models.Index(fields=["batch", "name", "id"], name="task_of_batch_by_name"),
            models.Index(fields=["batch", "media_duration", "id"], name="task_of_batch_by_duration"),
            models.Index(fields=["batch", "input_size", "id"], name="task_of_batch_by_size"),
            models.Index(fields=["batch", "whisper_model", "id"], name="task_of_batch_by_model"),
            models.Index(fields=["batch", "speaker_model"], name="task_of_batch_by_speakers"),
            models.Index(fields=["batch", "started_at", "id"], name="task_of_batch_by_start"),
            models.Index(fields=["batch", "finished_at", "id"], name="task_of_batch_by_end"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            for name, value in self.overrides.model_columns().items():
                setattr(self, name, getattr(self, name) or value)
        super().save(*args, **kwargs)

    @property
    def is_final(self) -> bool:
        return self.state in self.FINAL

    @property
    def was_put_back(self) -> bool:
        """Whether a file at its key must have been moved back, since the input was moved away."""
        return self.is_final and self.moved_at is not None and self.notice != self.Notice.LOCKED

    def current_settings(self) -> TaskSettings:
        """Settings that the task would start with now: the batch's, overridden by its own."""
        return self.overrides.applied_to(self.batch.task_settings())
