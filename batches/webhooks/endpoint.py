"""Webhook endpoint of a batch: its URL, secret and health.

Errors are ``ValidationError`` with a code and a sentence for the member.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch, Delivery, Webhook
from batches.models.delivery import Problem
from batches.webhooks import signing
from speechportal import encryption as encryption
from speechportal.accounts.audit import trail
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy
from speechportal.platform import queue

PREVIOUS_SIGNS_FOR = timedelta(hours=24)
CHECK_SECONDS = 5.0


def refusal_of(url: str) -> ValidationError | None:
    """Why the outbound policy refuses an address; ``None`` for an allowed or an empty one.

    Looks the host name up, so do not call it inside a transaction.
    """
    if not url:
        return None
    try:
        client.check_endpoint(url, policy(), timeout=CHECK_SECONDS)
    except OutboundError as error:
        return ValidationError(error.message, code=error.code)
    return None


def for_batch(batch: Batch) -> Webhook:
    """Return the batch's webhook; it is created, with a secret, on first use."""
    webhook = Webhook.unscoped.filter(batch=batch).first()
    if webhook is None:
        fresh = Webhook(batch=batch)
        fresh.encrypted_secret = fresh.encryption().encrypt(signing.new_secret())
        webhook, _created = Webhook.unscoped.get_or_create(
            batch=batch, defaults={"encrypted_secret": fresh.encrypted_secret}
        )
    return webhook


def address_changed(batch: Batch) -> None:
    """Follow a change of the batch's webhook URL, in the transaction that changes it.

    Waiting deliveries go to the new address; without one they are cancelled.
    """
    if not batch.webhook_url:
        _cancel(_messages().filter(batch=batch))
        return
    for_batch(batch)
    _activate(batch)


def resume(*, batch: Batch) -> None:
    """Send again to a receiver that was paused, that answered 410, or that asked for time."""
    _require_url(batch)
    with transaction.atomic():
        for_batch(batch)
        _activate(batch)
        trail.record("batch.webhook_resumed", batch)


def _activate(batch: Batch) -> None:
    """Forget how the receiver was; what waits is due at once."""
    Webhook.unscoped.filter(batch=batch).update(
        state=Webhook.State.ACTIVE,
        stopped_at=None,
        last_problem="",
        failing_since=None,
        last_failed_at=None,
        held_until=None,
    )
    waiting = _messages().filter(batch=batch, state=Delivery.State.WAITING)
    # In the order in which they were made, and with the whole schedule before them.
    if waiting.update(next_attempt_at=F("created_at"), tries=0):
        queue.wake_deliveries()


def rotate_secret(*, batch: Batch) -> None:
    """A new secret, to be shown once. For 24 hours messages are signed with the one before, too."""
    _require_url(batch)
    with transaction.atomic():
        for_batch(batch)
        webhook = (
            Webhook.unscoped.select_related("batch__account").select_for_update(of=("self",)).get(batch=batch)
        )
        webhook.encrypted_previous_secret = webhook.encrypted_secret
        webhook.previous_until = timezone.now() + PREVIOUS_SIGNS_FOR
        webhook.encrypted_secret = webhook.encryption().encrypt(signing.new_secret())
        webhook.secret_shown_at = None
        webhook.save(
            update_fields=[
                "encrypted_previous_secret",
                "previous_until",
                "encrypted_secret",
                "secret_shown_at",
            ]
        )
        trail.record("batch.secret_rotated", batch)


def show_secret_once(*, batch: Batch) -> str:
    """The secret, the first time that somebody asks for it; later only a new one can be had."""
    _require_url(batch)
    webhook = for_batch(batch)
    with transaction.atomic():
        unseen = Webhook.unscoped.filter(pk=webhook.pk, secret_shown_at=None)
        if not unseen.update(secret_shown_at=timezone.now()):
            raise ValidationError(
                _("The secret was shown already. Rotate it to get a new one."), code="secret_already_shown"
            )
        trail.record("batch.secret_shown", batch)
    webhook.refresh_from_db()
    return webhook.encryption().decrypt(webhook.encrypted_secret)


def signing_secrets(webhook: Webhook, now: datetime) -> list[str]:
    """What messages are signed with at present. Raises ``EncryptionError``."""
    found = [webhook.encrypted_secret]
    if webhook.previous_until is not None and now < webhook.previous_until:
        found.append(webhook.encrypted_previous_secret)
    return [webhook.encryption().decrypt(ciphertext) for ciphertext in found]


def problem_of(webhook: Webhook) -> Problem | None:
    """What the batch has to say about its webhook; ``None`` while messages go out."""
    return webhook.problem


def tidy() -> None:
    """What nobody has to wait for; the scheduler calls it."""
    forget_ended_secrets()
    # A message that was under way when the address was taken away may have come back since.
    waiting = _messages().filter(batch=OuterRef("pk"), state=Delivery.State.WAITING)
    silent = Batch.unscoped.filter(Exists(waiting), webhook_url="")
    for batch_id in silent.values_list("pk", flat=True):
        _cancel(_messages().filter(batch=batch_id))


def _messages() -> QuerySet[Delivery]:
    """Webhook messages; other kinds have addresses of their own."""
    return Delivery.unscoped.filter(kind=Delivery.WEBHOOK)


def _cancel(deliveries: QuerySet[Delivery]) -> None:
    deliveries.filter(state=Delivery.State.WAITING).update(
        state=Delivery.State.CANCELLED, ended_at=timezone.now()
    )


def forget_ended_secrets() -> int:
    """Drop previous secrets whose day is over."""
    return Webhook.unscoped.filter(previous_until__lte=timezone.now()).update(
        encrypted_previous_secret="", previous_until=None
    )


def rotate_encryption() -> int:
    """Encrypt every webhook secret with the first of ``ENCRYPTION_KEYS``; returns how many rows there are.

    Raises ``EncryptionError`` for the first that no key fits; those before it are done.
    """
    rotated = 0
    for webhook in Webhook.unscoped.iterator(chunk_size=200):
        previous = webhook.encrypted_previous_secret
        # Only if nobody rotated the secret itself meanwhile.
        rotated += Webhook.unscoped.filter(
            pk=webhook.pk, encrypted_secret=webhook.encrypted_secret, encrypted_previous_secret=previous
        ).update(
            encrypted_secret=encryption.rotate(webhook.encrypted_secret),
            encrypted_previous_secret=encryption.rotate(previous) if previous else "",
        )
    return rotated


def _require_url(batch: Batch) -> None:
    if not batch.webhook_url:
        raise ValidationError(_("The batch has no webhook URL."), code="no_webhook")
