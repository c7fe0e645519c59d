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
    """Check a URL against the outbound policy: the error, or ``None`` for an allowed or an empty URL.

    Resolves the host name, so do not call it inside a transaction.
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

    Waiting deliveries go to the new URL; without one they are cancelled.
    """
    if not batch.webhook_url:
        _cancel(_messages().filter(batch=batch))
        return
    for_batch(batch)
    _activate(batch)


def resume(*, batch: Batch) -> None:
    """Resume sending to a receiver that is paused, that responded 410, or that sent Retry-After."""
    _require_url(batch)
    with transaction.atomic():
        for_batch(batch)
        _activate(batch)
        trail.record("batch.webhook_resumed", batch)


def _activate(batch: Batch) -> None:
    """Reset the receiver's health and make waiting deliveries due at once."""
    Webhook.unscoped.filter(batch=batch).update(
        state=Webhook.State.ACTIVE,
        stopped_at=None,
        last_problem="",
        failing_since=None,
        last_failed_at=None,
        held_until=None,
        acknowledged_at=None,
        acknowledgement="",
    )
    waiting = _messages().filter(batch=batch, state=Delivery.State.WAITING)
    # In the order in which they were created, each with the full retry schedule.
    if waiting.update(next_attempt_at=F("created_at"), tries=0):
        queue.wake_deliveries()


def rotate_secret(*, batch: Batch) -> None:
    """Replace the secret; the new one can be shown once. For 24 hours the old one signs messages too."""
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
    """Return the secret, once; afterwards it can only be replaced."""
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
    """Secrets that currently sign messages. Raises ``EncryptionError``."""
    found = [webhook.encrypted_secret]
    if webhook.previous_until is not None and now < webhook.previous_until:
        found.append(webhook.encrypted_previous_secret)
    return [webhook.encryption().decrypt(ciphertext) for ciphertext in found]


def problem_of(webhook: Webhook) -> Problem | None:
    """Problem of the batch's webhook; ``None`` while messages are sent."""
    return webhook.problem


def tidy() -> None:
    """Housekeeping of webhooks; called by the scheduler."""
    forget_ended_secrets()
    # A message in flight when the URL was removed may have returned to waiting since.
    waiting = _messages().filter(batch=OuterRef("pk"), state=Delivery.State.WAITING)
    silent = Batch.unscoped.filter(Exists(waiting), webhook_url="")
    for batch_id in silent.values_list("pk", flat=True):
        _cancel(_messages().filter(batch=batch_id))


def _messages() -> QuerySet[Delivery]:
    """Deliveries of webhook messages; other kinds have their own URLs."""
    return Delivery.unscoped.filter(kind=Delivery.WEBHOOK)


def _cancel(deliveries: QuerySet[Delivery]) -> None:
    deliveries.filter(state=Delivery.State.WAITING).update(
        state=Delivery.State.CANCELLED, ended_at=timezone.now()
    )


def forget_ended_secrets() -> int:
    """Delete previous secrets whose 24 hours are over."""
    return Webhook.unscoped.filter(previous_until__lte=timezone.now()).update(
        encrypted_previous_secret="", previous_until=None
    )


def rotate_encryption() -> int:
    """Re-encrypt every webhook secret with the first of ``ENCRYPTION_KEYS``; returns the number of rows.

    Raises ``EncryptionError`` for the first that no key fits; those before it are done.
    """
    rotated = 0
    for webhook in Webhook.unscoped.iterator(chunk_size=200):
        previous = webhook.encrypted_previous_secret
        # Only if the secret itself was not rotated meanwhile.
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
