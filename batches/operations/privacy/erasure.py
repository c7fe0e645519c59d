"""Erasure of an account's or a person's data, with a report of what was removed and what stays.

What stays: charges and their adjustments, which are accounting records; the rows to which they refer, without
personal data; the audit trail until its retention ends; and the files in the customer's own storage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.models import (
    Adjustment,
    Batch,
    BatchEvent,
    Charge,
    ChatChannel,
    ClientRequest,
    CorrectedWord,
    Correction,
    Delivery,
    DeliveryAttempt,
    ExecutionResult,
    PendingFile,
    ResultFile,
    SearchText,
    StoredTranscript,
    StreamedSegments,
    Subscription,
    Task,
    TaskAttempt,
    Webhook,
)
from batches.models.task_settings import TaskOverrides
from batches.operations.privacy.retention import CHUNK, in_chunks
from batches.services import batches as batch_services
from domains.models import Domain, Keyword, KeywordUse
from speechportal.accounts.audit import trail
from speechportal.accounts.models import (
    Account,
    AccountProvider,
    ApiToken,
    AuditEntry,
    ExternalIdentity,
    Invitation,
    MemberSession,
    Membership,
    User,
)
from speechportal.accounts.sign_in import second_factor, throttling
from speechportal.storage.models import Connection


@dataclass
class Report:
    """Report of an erasure: what was removed and what stays."""

    subject: str
    removed: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)
    in_storage: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        yield _("Removed of %s:") % self.subject
        for name, count in sorted(self.removed.items()):
            if count:
                yield f"  {count:,} {name}"
        yield _("Kept:")
        yield from (f"  {line}" for line in self.kept)
        if self.in_storage:
            yield _("In the customer’s own storage, untouched:")
            yield from (f"  {line}" for line in self.in_storage)


def close_account(*, account: Account) -> Report:
    """Delete an account's data except its ledger. The account is suspended first and cannot be used again.

    Raises ``ValidationError`` while a worker still has one of its tasks: call it again a minute later.
    Repeatable after an interruption at any point.
    """
    batch_services.suspend_account(account=account)
    report = Report(f"{account.name} ({account.uid})", in_storage=_places(account))
    for batch in Batch.unscoped.live().filter(account=account):
        batch_services.delete_batch(batch=batch)
    if busy := Task.unscoped.filter(account=account, state__in=Task.LEASED).count():
        sentence = ngettext(
            "%d task is still being stopped. Try again in a minute.",
            "%d tasks are still being stopped. Try again in a minute.",
            busy,
        )
        raise ValidationError(sentence % busy, code="account_busy")
    _remove_contents(account, report)
    _remove_settings(account, report)
    with transaction.atomic():
        trail.record("account.erased", account, changes={"removed": [dict(report.removed), None]})
        Account.objects.filter(pk=account.pk).update(
            name=f"Closed {account.uid}", closed_at=timezone.now(), support_reads_until=None
        )
    account.refresh_from_db()
    report.kept = _kept(account)
    return report


def _places(account: Account) -> list[str]:
    """Sentences about the storages with the account's files, collected before the connections are deleted."""
    found = []
    for connection in Connection.unscoped.filter(account=account):
        paths = sorted(
            {path for batch in connection.batches.all() for path in (batch.input_path, batch.result_path)}
        )
        found.append(
            f"{connection.name}: {connection.place} ({', '.join(path or '/' for path in paths) or '–'})"
        )
    return found


# What a task has, in the order of deletion: each is looked up by its task, of a few at a time.
OF_TASKS: tuple[tuple[str, Any, str], ...] = (
    ("corrected words", CorrectedWord, "task"),
    ("corrections", Correction, "task"),
    ("search texts", SearchText, "task"),
    ("transcripts", StoredTranscript, "task"),
    ("streamed segments", StreamedSegments, "task"),
    ("attempts at tasks", TaskAttempt, "task"),
    ("client requests", ClientRequest, "task"),
    ("result file entries", ResultFile, "task"),
    ("delivery attempts", DeliveryAttempt, "delivery__task"),
    ("deliveries", Delivery, "task"),
)


def _remove_contents(account: Account, report: Report) -> None:
    tasks, batches = Task.unscoped.filter(account=account), Batch.unscoped.filter(account=account)
    for keys in _pieces(tasks):
        for name, model, path in OF_TASKS:
            report.removed[name] += in_chunks(model.unscoped.filter(**{f"{path}__in": keys}))
        _anonymise(Task.unscoped.filter(pk__in=keys))
    for keys in _pieces(Delivery.unscoped.filter(account=account)):
        attempts = DeliveryAttempt.unscoped.filter(delivery__in=keys)
        report.removed["delivery attempts"] += in_chunks(attempts)
        report.removed["deliveries"] += in_chunks(Delivery.unscoped.filter(pk__in=keys))
    ids = list(batches.values_list("pk", flat=True))
    for name, rows in (
        ("execution result entries", ExecutionResult.unscoped.filter(account=account)),
        ("arriving files", PendingFile.unscoped.filter(batch__in=ids)),
        ("webhooks", Webhook.unscoped.filter(batch__in=ids)),
        ("tasks", tasks.filter(charge=None, original__isnull=False)),
        ("tasks", tasks.filter(charge=None, repeats=None)),
    ):
        report.removed[name] += in_chunks(rows)
    report.removed["batches"] += in_chunks(batches.filter(tasks=None, charges=None))
    batches.update(name=F("uid"), input_path="", result_path="", webhook_url="", **_no_error())


def _pieces(rows: QuerySet[Any]) -> Iterator[list[int]]:
    """Primary keys of the rows, in pieces; each begins after the one before."""
    last = 0
    while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield keys
        last = keys[-1]


def _anonymise(tasks: QuerySet[Task]) -> None:
    """Erase the personal data of tasks; those with a charge keep their ID and times."""
    tasks.update(
        name=F("uid"),
        input_key=F("uid"),
        input_version="",
        moved_key="",
        moved_version="",
        moved_at=None,
        move_due_at=None,
        connection=None,
        execution_result=None,
        settings=None,
        overrides=TaskOverrides(),
        worker="",
        error_message="",
        error_details={},
        acknowledgement="",
    )


def _no_error() -> dict[str, object]:
    return {
        "status": Batch.Status.NORMAL,
        "cause_code": "",
        "cause": "",
        "cause_details": {},
        "acknowledgement": "",
    }


def _remove_settings(account: Account, report: Report) -> None:
    for name, rows in (
        ("status events", BatchEvent.unscoped.filter(account=account)),
        ("chat channels", ChatChannel.unscoped.filter(account=account)),
        ("notifications", Subscription.unscoped.filter(membership__account=account)),
        ("keyword use", KeywordUse.unscoped.filter(keyword__domain__account=account)),
        ("keywords", Keyword.unscoped.filter(domain__account=account)),
        ("domains", Domain.unscoped.filter(account=account)),
        ("connections with their credentials", Connection.unscoped.filter(account=account)),
        ("API tokens", ApiToken.unscoped.filter(account=account)),
        ("company sign-in", AccountProvider.unscoped.filter(account=account)),
        ("company identities", ExternalIdentity.objects.filter(account=account)),
        ("invitations", Invitation.unscoped.filter(account=account)),
        ("memberships", Membership.objects.filter(account=account)),
    ):
        report.removed[name] += in_chunks(rows)


def _kept(account: Account) -> list[str]:
    charges = Charge.unscoped.filter(account=account).count()
    corrections = Adjustment.unscoped.filter(account=account).count()
    entries = AuditEntry.unscoped.filter(account=account).count()
    return [
        _("%(charges)d charges and %(corrections)d corrections of them, with file names: the books")
        % {"charges": charges, "corrections": corrections},
        _("%d tasks that charges refer to, without names, paths and contents")
        % Task.unscoped.filter(account=account).count(),
        _("%d entries of the audit trail") % entries,
        _("the row of the account, closed, without its name"),
        _("the people who were members: each is erased by themselves"),
    ]


def erase_person(*, user: User) -> Report:
    """Delete a person: sign-in, memberships and tokens.

    Raises ``ValidationError`` for an account's only owner.
    """
    for membership in user.memberships.filter(role=Membership.Role.OWNER).select_related("account"):
        owners = membership.account.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
        if not owners.exclude(user=user).exists():
            raise ValidationError(
                _("%(user)s is the only owner of the account “%(account)s”: make another, or close it.")
                % {"user": user.email, "account": membership.account},
                code="only_owner",
            )
    report = Report(user.email)
    with transaction.atomic():
        invited = Invitation.unscoped.filter(email__iexact=user.email)
        # Raw deletion, which adds no audit entries: those would contain the address again.
        report.removed["invitations"] = invited._raw_delete(invited.db)  # noqa: SLF001 - see above
        _forget_sign_ins(user, report)
        _forget_name(user)
        # Last, so that the audit entries of the deletions do not contain the address.
        for name, rows in (
            ("API tokens", ApiToken.unscoped.filter(created_by=user)),
            ("memberships", Membership.objects.filter(user=user)),
        ):
            report.removed[name] = in_chunks(rows)
        report.removed["names and addresses"] = 1
        trail.record("user.erased", user)
    about = Q(actor=user) | Q(target_kind="accounts.user", target_id=str(user.pk))
    report.kept = [
        _("a row without name and address, for what it refers to"),
        _("%d entries of the audit trail, until its retention ends; some name the old address")
        % AuditEntry.unscoped.filter(about).count(),
    ]
    return report


def _forget_name(user: User) -> None:
    user.groups.clear()
    user.set_unusable_password()
    # Not by save(): the audit trail would record the erased values.
    User.objects.filter(pk=user.pk).update(
        email=f"erased-{user.pk}@erased.invalid",
        password=user.password,
        first_name="",
        last_name="",
        language="",
        time_zone="",
        is_active=False,
        is_staff=False,
        is_superuser=False,
        last_login=None,
    )
    user.refresh_from_db()


def _forget_sign_ins(user: User, report: Report) -> None:
    report.removed["authenticator apps and passkeys"] = int(second_factor.remove_all(user.pk))
    report.removed["sign-in attempts"] = throttling.forget(email=user.email)
    report.removed["sessions"] = MemberSession.objects.filter(user=user).delete()[0]
