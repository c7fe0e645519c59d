"""Audit trail: an entry for every change by a member, a token, support staff or the system.

Models that people edit are *followed*: saving or deleting a row writes an entry with its values before and
after, in the same transaction. Bulk updates and accesses that must be logged are recorded by the service that
makes them, with :func:`record`. The actor comes from :mod:`speechportal.accounts.audit.actor`.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import append_only
from speechportal.accounts.audit.actor import Kind, current_actor
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.platform.http import host_alone
from speechportal.platform.typed_json import TypedJSONField

HIDDEN = "•••"  # shown instead of a secret's values
Changes = dict[str, list[Any]]  # field -> [before, after]
# Names that Django derives for fields without a label; listed here to be translated.
UNNAMED = (gettext_noop("user"), gettext_noop("created by"), gettext_noop("invited by"))
VERBS = {
    "created": _("created"),
    "changed": _("changed"),
    "deleted": _("deleted"),
    "suspended": _("suspended"),
    "restored": _("restored"),
    "uploaded": _("given a recording"),
    "polled": _("asked to look at its input path"),
    "paused": _("paused"),
    "resumed": _("resumed"),
    "retried": _("retried"),
    "cancelled": _("cancelled"),
    "acknowledged": _("acknowledged"),
    "recognised_again": _("recognised again"),
    "redelivered": _("sent again"),
    "secret_rotated": _("given a new secret"),
    "secret_shown": _("asked for its secret"),
    "webhook_resumed": _("told to send webhooks again"),
    "transcript_read": _("read by support staff"),
    "exported": _("exported"),
    "erased": _("erased"),
    "corrected": _("corrected"),
    "published": _("published again, as corrected"),
    "keywords_changed": _("given other keywords"),
    "replacements_changed": _("given other replacements"),
    "original_read": _("shown as recognised, without redaction"),
    "original_heard": _("played without muting"),
    "originals_deleted": _("rid of the words as recognised"),
    "reprocessed": _("asked to apply its text rules to old transcripts"),
    "groups_changed": _("put into other groups"),
    "recovery_codes_made": _("given new recovery codes"),
    "recovery_code_used": _("identified by a recovery code"),
    "password_reset_asked": _("asked for a new password"),
    "address_verification_asked": _("asked for a mail that verifies the address"),
    "address_verified": _("shown to own the address"),
    "company_sign_in": _("signed in with a company account"),
    "drained": _("drained"),
    "started": _("started"),
    "ended": _("ended"),
    "result_adopted": _("given the result that lay in its storage"),
    "company_connected": _("connected with a company account"),
    "passkey_sign_in": _("signed in with a passkey"),
    "sessions_ended": _("signed out elsewhere"),
}


class AppendOnly(RuntimeError):
    """Raised when an entry of the audit trail would be changed or deleted."""


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **_kwargs: Any) -> int:
        raise AppendOnly("An audit entry cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly("An audit entry cannot be deleted.")

    def expire(self, before: datetime.datetime) -> int:
        """Delete entries from before a time (retention). No other code deletes entries."""
        with append_only.retention(self.db):
            return self.filter(created_at__lt=before)._raw_delete(self.db)  # noqa: SLF001 - past our own guard


class AuditEntry(models.Model):
    """Entry of one change: actor, address, target, values before and after, reason. Immutable."""

    uid = UidField("aud")
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, null=True, related_name="audit_entries"
    )
    created_at = models.DateTimeField(_("when"), auto_now_add=True)
    actor_kind = models.CharField(_("who"), max_length=10, choices=Kind.choices)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    actor_label = models.CharField(max_length=200, blank=True)
    address = models.GenericIPAddressField(_("from"), null=True)
    request_id = models.CharField(_("request"), max_length=64, blank=True)
    action = models.CharField(_("action"), max_length=60)
    target_kind = models.CharField(_("kind"), max_length=60)
    target_id = models.CharField(max_length=40, blank=True)
    target_uid = models.CharField(_("ID"), max_length=40, blank=True)
    target_name = models.CharField(_("what"), max_length=300, blank=True)
    # ID of the object that contains the target, such as a task's batch: its page shows the entries of both.
    part_of = models.CharField(max_length=40, blank=True, editable=False)
    changes = models.JSONField(_("changes"), default=dict)
    reason = models.TextField(_("reason"), blank=True)

    unscoped = models.Manager.from_queryset(AuditEntryQuerySet)()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [
            models.Index(fields=["account", "-id"], name="audit_of_account"),
            models.Index(fields=["target_uid", "-id"], name="audit_of_target"),
            models.Index(fields=["part_of", "-id"], condition=~models.Q(part_of=""), name="audit_of_whole"),
            models.Index(fields=["created_at"], name="audit_by_time"),
            models.Index(fields=["request_id"], condition=~models.Q(request_id=""), name="audit_of_request"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("An audit entry cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly("An audit entry cannot be deleted.")

    @property
    def who(self) -> str:
        """Actor for people: an e-mail address, the name of a token, or the system's name."""
        parts = [self.actor_label, str(self.actor) if self.actor else ""]
        return " · ".join(filter(None, parts)) or str(Kind(self.actor_kind).label)

    @property
    def kind_label(self) -> str:
        try:
            return str(apps.get_model(self.target_kind)._meta.verbose_name)
        except LookupError:  # The model was removed in a later release.
            return self.target_kind

    @property
    def verb_label(self) -> str:
        verb = self.action.partition(".")[2]
        return str(VERBS.get(verb, verb.replace("_", " ")))

    @property
    def change_list(self) -> list[tuple[str, Any, Any]]:
        """Changes as (label of the field, before, after); ``None`` stands for no value."""
        found = []
        for name, (before, after) in self.changes.items():
            if name == "account":  # readers see one account only
                continue
            try:
                field = apps.get_model(self.target_kind)._meta.get_field(name)
            except LookupError:  # The model belongs to another release.
                field = None
            except FieldDoesNotExist:  # A key of a typed JSON column, or a count.
                field = None
                if described := _described(self.target_kind, name, before, after):
                    found.append(described)
                    continue
            label = gettext(str(getattr(field, "verbose_name", name.replace("_", " "))))
            found.append((label, _readable(before, field), _readable(after, field)))
        return [change for change in found if change[1:] != (None, None)]


def record(
    action: str,
    target: models.Model,
    *,
    changes: Changes | None = None,
    account: models.Model | None = None,
    reason: str = "",
) -> AuditEntry:
    """Record an action of the current actor on ``target``, in the same transaction as the action."""
    actor = current_actor()
    owner = account or account_of(target)
    return AuditEntry.unscoped.create(
        account_id=owner.pk if owner else None,
        actor_kind=actor.kind,
        actor_id=actor.user_id,
        actor_label=actor.label[:200],
        address=actor.address,
        request_id=actor.request_id,
        action=action,
        target_kind=target._meta.label_lower,
        target_id=str(target.pk or ""),
        target_uid=str(getattr(target, "uid", "")),
        target_name=str(target)[:300],
        part_of=_part_of(target),
        changes=changes or {},
        reason=reason or actor.reason,
    )


def _part_of(target: models.Model) -> str:
    """ID of the row at the path ``audited_with`` of the target's model."""
    whole = getattr(target, str(getattr(target, "audited_with", "")), None)
    return str(getattr(whole, "uid", ""))


def account_of(target: models.Model) -> models.Model | None:
    """Return the account of a row, by the path of its scoped manager."""
    if target._meta.label == "accounts.Account":
        return target
    manager = getattr(type(target), "objects", None)
    path = manager.path if isinstance(manager, ScopedManager) else "account"
    found: Any = target
    for name in path.split("__"):
        found = getattr(found, name, None)
    return found if isinstance(found, models.Model) else None


# --- Rows that are followed -------------------------------------------------------------------------


@dataclass(frozen=True)
class Followed:
    name: str
    fields: tuple[str, ...]
    secret: frozenset[str]
    addresses: frozenset[str]


_followed: dict[type[models.Model], Followed] = {}


def follow(
    model: type[models.Model],
    *,
    ignore: Iterable[str] = (),
    secret: Iterable[str] = (),
    addresses: Iterable[str] = (),
) -> None:
    """Follow a model: write an entry whenever a row is saved with a difference, or deleted.

    Changes of the fields ``ignore`` are not recorded; of ``secret`` fields only the fact of a change is
    recorded, and of ``addresses`` only the host.
    """
    ignored = {"id", "uid", "created_at", "updated_at", *ignore}
    fields = tuple(field.name for field in model._meta.concrete_fields if field.name not in ignored)
    _followed[model] = Followed(model._meta.model_name or "", fields, frozenset(secret), frozenset(addresses))
    key = model._meta.label
    pre_save.connect(_before_save, sender=model, dispatch_uid=f"audit:{key}")
    post_save.connect(_after_save, sender=model, dispatch_uid=f"audit:{key}")
    post_delete.connect(_after_delete, sender=model, dispatch_uid=f"audit:{key}")


def follow_groups(through: type[models.Model]) -> None:
    """Follow changes of users' groups."""
    m2m_changed.connect(_groups_changed, sender=through, dispatch_uid=f"audit:{through._meta.label}")


def _before_save(
    sender: type[models.Model], instance: Any, raw: bool, update_fields: Any, **_kwargs: Any
) -> None:
    instance._audit_before = {}  # noqa: SLF001 - our own note on the row, until it is saved
    if raw or instance._state.adding:
        return
    followed = _followed[sender]
    names = [name for name in followed.fields if update_fields is None or name in update_fields]
    if names:
        row = sender._base_manager.filter(pk=instance.pk).values(*names).first()
        instance._audit_before = row or {}  # noqa: SLF001 - as above


def _after_save(sender: type[models.Model], instance: Any, created: bool, raw: bool, **_kwargs: Any) -> None:
    if raw:
        return
    followed = _followed[sender]
    before: dict[str, Any] = instance.__dict__.pop("_audit_before", {})
    names = followed.fields if created else tuple(before)
    changes: Changes = {}
    for name in names:
        field = sender._meta.get_field(name)
        assert isinstance(field, models.Field)  # noqa: S101 - concrete fields only
        old, new = before.get(name), field.value_from_object(instance)
        new = field.to_python(new) if not field.is_relation else new
        if old == new or (created and new in (None, "", [], {})):
            continue
        if isinstance(field, TypedJSONField):
            changes |= field.differences(old, new)
            continue
        if name in followed.secret:
            changes[name] = [HIDDEN, HIDDEN]
        elif name in followed.addresses:
            changes[name] = [host_alone(old or ""), host_alone(new or "")]
        else:
            changes[name] = [_plain(field, old), _plain(field, new)]
    if created or changes:
        record(f"{followed.name}.{_verb(created, changes)}", instance, changes=changes)


def _verb(created: bool, changes: Changes) -> str:
    if created:
        return "created"
    # Soft deletion: some rows stay for the ledger when they are deleted.
    return "deleted" if changes.get("deleted_at", [None, None])[1] else "changed"


def _after_delete(sender: type[models.Model], instance: models.Model, **_kwargs: Any) -> None:
    record(f"{_followed[sender].name}.deleted", instance)


def _groups_changed(instance: models.Model, action: str, pk_set: set[int] | None, **kwargs: Any) -> None:
    if action in {"post_add", "post_remove", "post_clear"} and not kwargs.get("reverse"):
        groups = kwargs["model"].objects.filter(pk__in=pk_set or ())
        names = ", ".join(sorted(str(group) for group in groups))
        change = [None, names] if action == "post_add" else [names, None]
        record("user.groups_changed", instance, changes={"groups": change})


def _plain(field: models.Field[Any, Any], value: Any) -> Any:
    """Convert a value to JSON; another row becomes its ID or name."""
    if value is None or not field.is_relation:
        return _json(value)
    related = field.related_model
    row = related._base_manager.filter(pk=value).first() if isinstance(related, type) else None
    return f"{row} ({row.uid})" if row is not None and hasattr(row, "uid") else str(row or value)


def _described(kind: str, name: str, before: Any, after: Any) -> tuple[str, Any, Any] | None:
    """Describe a change of one key of a typed JSON column of the model."""
    for field in apps.get_model(kind)._meta.concrete_fields:
        if isinstance(field, TypedJSONField):
            old, new = field.described(name, before), field.described(name, after)
            if old and new:
                return str(old[0]), _shown(before, old[1]), _shown(after, new[1])
    return None


def _shown(value: Any, display: Any) -> str | None:
    return None if value in (None, "") else str(display)


def _readable(value: Any, field: Any) -> Any:
    """Format a JSON value for people, by the field's choices or the model's ``AUDIT_LABELS``."""
    labels = getattr(getattr(field, "model", None), "AUDIT_LABELS", {}).get(getattr(field, "name", ""), {})
    if not isinstance(value, list | dict):
        if label := labels.get(value) or dict(getattr(field, "flatchoices", ())).get(value):
            return str(label)
        if value == "":
            return None
    if isinstance(value, bool):
        return str(_("on") if value else _("off"))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{labels.get(key, key)}: {each}" for key, each in value.items() if each != "")
    return value


def _json(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return value
