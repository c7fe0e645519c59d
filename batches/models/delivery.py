"""Outbox: webhooks, deliveries (messages to receivers), and every attempt to send one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.models.batch import NOTE_LENGTH, Batch
from batches.models.task import Task
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.encryption import EncryptedCredentials

validate_type = RegexValidator(r"^[a-z_]+(\.[a-z_]+)*\Z")
SECRET_FIELD = "webhook_secret"  # noqa: S105 - the name that its ciphertext is bound to


@dataclass(frozen=True)
class Problem:
    """Reason why nothing is sent to a receiver, with advice for members."""

    code: str
    sentence: str
    advice: str


class Webhook(models.Model):
    """Secret, state and health of a batch's webhook; its URL is a field of the batch.

    ::

        ACTIVE ── it fails for five days ──> PAUSED ──┐
           │                                          ├── resume, or another address ──> ACTIVE
           └───── it answers 410 ──────────> GONE ────┘

    While it is not active, new deliveries are still created; they wait.
    """

    class State(models.TextChoices):
        ACTIVE = "active", _("Active")
        PAUSED = "paused", _("Paused")
        GONE = "gone", _("Gone")

    batch = models.OneToOneField(Batch, on_delete=models.CASCADE, related_name="webhook")
    encrypted_secret = models.TextField(editable=False)
    # Signs in addition to the new secret for a day, so that a receiver can switch without a gap.
    encrypted_previous_secret = models.TextField(blank=True, editable=False)
    previous_until = models.DateTimeField(_("previous secret until"), null=True, editable=False)
    secret_shown_at = models.DateTimeField(_("secret shown"), null=True, editable=False)

    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.ACTIVE, editable=False
    )
    stopped_at = models.DateTimeField(_("stopped"), null=True, editable=False)
    last_problem = models.TextField(_("last problem"), blank=True, editable=False)
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    last_failed_at = models.DateTimeField(_("last failure"), null=True, editable=False)
    held_until = models.DateTimeField(_("held back until"), null=True, editable=False)  # Retry-After
    # Acknowledgement by a member that sending has stopped; resuming clears both columns.
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, editable=False)
    acknowledgement = models.CharField(
        _("note"), max_length=NOTE_LENGTH, blank=True, default="", db_default="", editable=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("batch__account")

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.CheckConstraint(
                condition=Q(state="active", stopped_at__isnull=True)
                | (~Q(state="active") & Q(stopped_at__isnull=False)),
                name="webhook_stopped_when_not_active",
            ),
            models.CheckConstraint(
                condition=Q(encrypted_previous_secret="", previous_until__isnull=True)
                | (~Q(encrypted_previous_secret="") & Q(previous_until__isnull=False)),
                name="webhook_previous_secret_ends",
            ),
            models.CheckConstraint(
                condition=Q(failing_since__isnull=True, last_failed_at__isnull=True)
                | Q(failing_since__isnull=False, last_failed_at__isnull=False),
                name="webhook_failing_has_both_times",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch} ({self.get_state_display()})"

    @property
    def is_active(self) -> bool:
        return self.state == self.State.ACTIVE

    @property
    def problem(self) -> Problem | None:
        """Problem of the webhook as the batch's page shows it; ``None`` while messages are sent."""
        if self.state == self.State.GONE:
            return Problem(
                "webhook_gone",
                gettext("The receiver answered 410 Gone, so nothing is sent to it any more."),
                gettext("Enter another webhook URL, or resume sending once the receiver is there again."),
            )
        if self.state == self.State.PAUSED:
            text = gettext(
                "Sending is paused, because the receiver has accepted nothing for five days. Last: %s"
            )
            return Problem(
                "webhook_paused",
                text % self.last_problem,
                gettext(
                    "Mend it or enter another webhook URL, then resume sending; what waits is sent then."
                ),
            )
        return None

    def encryption(self) -> EncryptedCredentials:
        return EncryptedCredentials(account=self.batch.account.uid, row=self.batch.uid, field=SECRET_FIELD)


class Delivery(models.Model):
    """Outbox message: inserted in the transaction of the event it reports, sent until it is accepted.

    A webhook message's ID is the event's ID, ``webhook-id``: the same for every attempt and redelivery.

    ::

        WAITING ── claim ──> SENDING ── 2xx ─────────────> DELIVERED ──┐
           ^                   │  │  └─ the last attempt ──> FAILED ────┤
           │                   │  └──── no address any more > CANCELLED ─┤
           ├── it failed, or ──┘                                        │
           │   its sender died                                          │
           └── redeliver ───────────────────────────────────────────────┘

    Only :mod:`batches.webhooks.delivery_lifecycle` changes ``state``, each time by a conditional update that
    names the state it leaves and, once claimed, the sender's lease token and the number of the attempt.
    """

    audited_with = "batch"

    WEBHOOK = "webhook"  # the message kind of webhooks; other kinds: batches.webhooks.kinds

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENDING = "sending", _("Sending")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    OPEN = (State.WAITING, State.SENDING)
    FINAL = (State.DELIVERED, State.FAILED, State.CANCELLED)

    uid = UidField("dlv")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False, related_name="deliveries")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, db_index=False, related_name="deliveries")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, null=True, related_name="deliveries")
    # A kind and an event that batches.webhooks.kinds and .events know; plain text, so that a new one needs
    # no migration. Only webhook messages have an event; only others have an address of their own.
    kind = models.CharField(_("kind"), max_length=30, default=WEBHOOK, validators=[validate_type])
    event = models.CharField(_("event"), max_length=60, blank=True, validators=[validate_type])
    address = models.CharField(_("address"), max_length=2000, blank=True)
    # Object of the event (the ID of a task, batch, ...) and which occurrence it is: unique together with the
    # type. Deliveries about the same object are sent in the order in which they were created.
    about = models.CharField(_("about"), max_length=24)
    occurrence = models.CharField(max_length=40, blank=True)
    # The exact JSON that is sent, except the recognition result: it may be megabytes, so it is inserted from
    # the transcript at each attempt (batches.webhooks.payload).
    payload = models.TextField(_("payload"), blank=True)

    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    tries = models.PositiveSmallIntegerField(default=0)  # in the current retry schedule
    next_attempt_at = models.DateTimeField(_("next attempt"), default=timezone.now)
    lease_token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(_("last answer"), null=True)
    last_error = models.CharField(_("last error"), max_length=50, blank=True)

    created_at = models.DateTimeField(_("created"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True)
    # Acknowledgement of the failure by a member; a redelivery clears both columns.
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledgement = models.CharField(
        _("note"), max_length=NOTE_LENGTH, blank=True, default="", db_default=""
    )

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "kind", "event", "about", "occurrence"], name="delivery_event_unique"
            ),
            models.CheckConstraint(
                condition=(Q(kind="webhook", address="") & ~Q(event=""))
                | (~Q(kind="webhook") & ~Q(address="") & Q(event="")),
                name="delivery_address_by_kind",
            ),
            models.CheckConstraint(
                condition=Q(state="sending", lease_token__isnull=False, lease_expires_at__isnull=False)
                | (~Q(state="sending") & Q(lease_token__isnull=True, lease_expires_at__isnull=True)),
                name="delivery_lease_while_sending",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["delivered", "failed", "cancelled"], ended_at__isnull=False)
                | (~Q(state__in=["delivered", "failed", "cancelled"]) & Q(ended_at__isnull=True)),
                name="delivery_ended_when_final",
            ),
        ]
        indexes = [
            models.Index(
                fields=["batch", "next_attempt_at"], condition=Q(state="waiting"), name="delivery_due"
            ),
            models.Index(fields=["lease_expires_at"], condition=Q(state="sending"), name="delivery_leased"),
            models.Index(fields=["batch"], condition=Q(state="sending"), name="delivery_sending"),
            models.Index(
                fields=["batch", "about", "id"],
                condition=Q(state__in=["waiting", "sending"]),
                name="delivery_in_order",
            ),
            models.Index(fields=["batch", "-id"], name="delivery_of_batch"),
            models.Index(fields=["account", "-id"], name="delivery_of_account"),
            # Admin lists by state; delivered ones, the most, need no index.
            models.Index(fields=["state", "-id"], condition=~Q(state="delivered"), name="delivery_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.event or self.kind} {self.uid}"

    @property
    def is_retrying(self) -> bool:
        """Whether it waits for another attempt of its schedule, after one that failed."""
        return self.state == self.State.WAITING and self.tries > 0

    @property
    def url(self) -> str:
        """URL to send to: its own, or its batch's present webhook URL."""
        return self.batch.webhook_url if self.kind == self.WEBHOOK else self.address

    @property
    def is_final(self) -> bool:
        return self.state in self.FINAL


class DeliveryAttempt(models.Model):
    """Attempt to send a delivery, with the receiver's response."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="log")
    number = models.PositiveIntegerField(_("attempt"))
    started_at = models.DateTimeField(_("sent"))
    duration = models.PositiveIntegerField(_("time taken"), null=True)  # ms; null if the sender died
    status = models.PositiveSmallIntegerField(_("answer"), null=True)  # HTTP; null: no response
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    error = models.TextField(_("error"), blank=True)
    # First 1,000 bytes of the response, for owners and managers only: it may contain confidential data.
    answer = models.TextField(_("beginning of the answer"), blank=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("delivery__account")

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["number"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="delivery_attempt_unique"),
            models.CheckConstraint(
                condition=Q(status__isnull=False) | ~Q(error_code=""), name="delivery_attempt_has_outcome"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery} #{self.number}"
