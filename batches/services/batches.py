"""Services that create, change and delete batches, for the portal, Django admin, the demo and the API.

Fields are checked with ``full_clean()`` while the account's row is locked, so that the limit and the overlap
of input paths are checked for one request at a time. Database constraints and triggers hold the same rules,
with the same sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.intake import poll_schedule
from batches.models import Batch, PendingFile, ProcessedFolder
from batches.models.limits import RULES, as_validation_error
from batches.models.recognition_settings import SettingValue
from batches.status import account_holds
from batches.tasks import lifecycle
from batches.webhooks import endpoint
from domains.models import Domain
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account
from speechportal.platform import validation
from speechportal.storage.models import Connection


class BatchFields(TypedDict, total=False):
    """Fields of a batch that members edit. Paths are relative to the connection's root."""

    name: str
    domain: Domain | None
    connection: Connection | None
    input_path: str
    result_path: str
    formats: list[str]
    recognition: Mapping[str, SettingValue]  # only the settings to change
    priority: int
    transcript_days: int | None
    webhook_url: str
    takes_requests: bool
    poll_seconds: int | None
    settle_seconds: int | None
    csv_columns: list[str]


@dataclass(frozen=True)
class EndpointCheck:
    """Result of looking up a webhook URL's host, done before the transaction since it may take seconds."""

    refused: ValidationError | None


def check_endpoint(webhook_url: str) -> EndpointCheck:
    return EndpointCheck(endpoint.refusal_of(webhook_url))


FIELD_OF_RULE = {
    "batch_on_free_domain": "domain",
    "batch_domain_taken": "domain",
    "batch_name_unique": "name",
    "batch_takes_requests_unique": "takes_requests",
}


UNIQUE_FIELDS = {"batch_name_unique": "name", "batch_takes_requests_unique": "takes_requests"}


def create_batch(
    *, account: Account, endpoint_check: EndpointCheck | None = None, **fields: Unpack[BatchFields]
) -> Batch:
    """Create a batch; its input path is polled at once. Raises ``ValidationError``.

    ``endpoint_check`` is the result of :func:`check_endpoint`, for callers inside a transaction.
    """
    batch = Batch(account=account)
    _apply(batch, fields)
    refused = (endpoint_check or check_endpoint(batch.webhook_url)).refused
    try:
        with transaction.atomic():
            locked = _locked_account(account)
            _check(batch, refused)
            if Batch.unscoped.live().filter(account=account).count() >= locked.batch_limit:
                raise _rule("batch_limit")
            batch.save(force_insert=True)
            if batch.webhook_url:
                endpoint.address_changed(batch)
            _remember_folder(batch)
            poll_schedule.wake(batch.pk)
    except IntegrityError as error:
        raise _as_validation_error(error) from error
    return batch


def update_batch(
    *, batch: Batch, confirm: Callable[[Batch], None] | None = None, **fields: Unpack[BatchFields]
) -> Batch:
    """Change the given fields. Tasks that have started keep the settings they started with.

    ``confirm`` is called with the locked row before anything changes; an exception from it ends the change.
    Returns the batch as saved. Raises ``ValidationError``, also for a batch that was deleted meanwhile.
    """
    # ``batch`` may be a form's instance, which already has the new values, so read the stored URL.
    url = Batch.unscoped.values_list("webhook_url", flat=True).get(pk=batch.pk)
    wanted = fields.get("webhook_url", url)
    refused = endpoint.refusal_of(wanted) if wanted != url else None
    try:
        with transaction.atomic():
            _locked_account(batch.account)
            locked = Batch.unscoped.live().select_for_update(no_key=True).filter(pk=batch.pk).first()
            if locked is None:
                raise ValidationError(_("The batch was deleted meanwhile."), code="batch_deleted")
            if confirm is not None:
                confirm(locked)
            url = locked.webhook_url
            _apply(locked, fields)
            _check(locked, refused)
            locked.held_until = None
            locked.save(update_fields=[*fields, "held_until"])
            if locked.webhook_url != url:
                endpoint.address_changed(locked)
            _remember_folder(locked)
            poll_schedule.wake(locked.pk)
    except IntegrityError as error:
        raise _as_validation_error(error) from error
    return locked


@dataclass(frozen=True)
class Refusal:
    """Validation error of one field of a batch; ``field`` is empty for an error of the whole batch."""

    field: str
    message: str

    @property
    def label(self) -> str:
        """Name of the field for people."""
        field = Batch._meta.get_field(self.field) if self.field else None
        name = str(getattr(field, "verbose_name", _("batch")))
        return name[:1].upper() + name[1:]


def refusals(*, account: Account, batch: Batch | None = None, **fields: Unpack[BatchFields]) -> list[Refusal]:
    """Validate without saving: the errors that :func:`create_batch` or :func:`update_batch` would raise.

    Missing fields are not errors, since a form is checked before it is complete. Nothing is saved, but
    ``batch`` is changed in memory.
    """
    checked = Batch(account=account) if batch is None else batch
    _apply(checked, fields)
    found = []
    if batch is None and Batch.unscoped.live().filter(account=account).count() >= account.batch_limit:
        found.append(Refusal("", _rule("batch_limit").messages[0]))
    try:
        _check(checked, None)
    except ValidationError as error:
        for field, messages in error.message_dict.items():
            found += [Refusal(field, message) for message in messages if field in fields]
    return found


def delete_batch(*, batch: Batch) -> None:
    """Delete a batch: cancel its unfinished tasks. Files in the storage, results and charges stay.

    Its domain, its name and its place in the account's limit become free. Idempotent.
    """
    with transaction.atomic():
        locked = Batch.unscoped.live().select_for_update(no_key=True).filter(pk=batch.pk).first()
        if locked is None:
            return
        locked.deleted_at = timezone.now()
        locked.domain = locked.connection = None
        locked.save(update_fields=["deleted_at", "domain", "connection"])
        lifecycle.cancel_all(locked)
        PendingFile.unscoped.filter(batch=locked).delete()


def suspend_account(*, account: Account) -> None:
    """Suspend an account: its batches are not polled and none of its tasks is started. Idempotent."""
    with transaction.atomic():
        account_holds.suspend(account)
        trail.record("account.suspended", account)


def reinstate_account(*, account: Account) -> None:
    """End the suspension of an account."""
    with transaction.atomic():
        account_holds.unsuspend(account)
        trail.record("account.restored", account)


def _apply(batch: Batch, fields: BatchFields) -> None:
    """Set the given fields on the batch; recognition settings that are not given keep their value."""
    for name, value in fields.items():
        if name == "recognition":
            value = batch.recognition.with_changes(fields["recognition"])
        setattr(batch, name, value)


def _locked_account(account: Account) -> Account:
    # Not a full FOR UPDATE: a task that ends locks its batch and then refers to the account.
    return Account.objects.select_for_update(no_key=True).get(pk=account.pk)


def _check(batch: Batch, refused_url: ValidationError | None) -> None:
    """Raise ``ValidationError`` with all errors of the fields, the URL's (found earlier) included."""
    wrong: dict[str, list[ValidationError]] = {}
    try:
        validation.clean(batch, UNIQUE_FIELDS, {"domain": _rule("batch_domain_taken")})
    except ValidationError as error:
        wrong = error.update_error_dict(wrong)
    if refused_url is not None:
        wrong.setdefault("webhook_url", []).append(refused_url)
    if wrong:
        raise ValidationError(wrong)
    missing = {
        name: [_("This field is required.")]
        for name in ("domain", "connection")
        if getattr(batch, f"{name}_id") is None
    }
    strange = {
        name: [_("Choose one of this account’s.")]
        for name in ("domain", "connection")
        if (chosen := getattr(batch, name)) is not None and chosen.account_id != batch.account_id
    }
    if missing or strange:
        raise ValidationError({**missing, **strange})


def _remember_folder(batch: Batch) -> None:
    """Store the folder of finished inputs, so that polling skips it even after the batch is renamed."""
    ProcessedFolder.unscoped.get_or_create(connection=batch.connection, path=batch.folder)


def _rule(wanted: str) -> ValidationError:
    return next(ValidationError(sentence, code=code) for _needle, code, sentence in RULES if code == wanted)


def _as_validation_error(error: IntegrityError) -> ValidationError:
    refused = as_validation_error(error)
    field = FIELD_OF_RULE.get(refused.code or "")
    return ValidationError({field: refused}) if field else refused
