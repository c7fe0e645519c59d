"""Dashboard of an account: alerts and recent figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.billing import settled
from batches.models import Batch, Delivery, Task, Webhook
from batches.status.failures import failure_of_batch
from batches.tasks import lifecycle
from speechportal.accounts.models import Account

FAILED_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Alert:
    """Alert for members; ``kind`` is a state, which determines the colour of its dot."""

    kind: str
    title: str
    detail: str
    address: str
    acknowledge: str = ""  # URL of the confirmation page that acknowledges it, if possible


@dataclass(frozen=True)
class Numbers:
    """Figures of an account since a time: recognised files and failures, and its unfinished tasks now."""

    files: int
    duration: int  # ms
    failed: int
    in_progress: int
    waiting: int


def alerts(account: Account) -> list[Alert]:
    """Alerts of an account, the most severe first."""
    return [
        *_suspended(account),
        *_broken_batches(account),
        *_stopped_webhooks(account),
        *_failed_deliveries(account),
        *_failed_tasks(account),
        *_paused_batches(account),
    ]


def _suspended(account: Account) -> list[Alert]:
    if not account.is_suspended:
        return []
    return [
        Alert(
            "error",
            _("This account is suspended"),
            _("Nothing is recognised until support staff lifts it. What is there can be read."),
            reverse("usage:list"),
        )
    ]


def _live(account: Account) -> list[Batch]:
    return list(Batch.objects.for_account(account).live().order_by("name"))


def _broken_batches(account: Account) -> list[Alert]:
    found = []
    for batch in _live(account):
        cause = failure_of_batch(batch)
        if cause is not None and batch.acknowledged_at is None:
            detail, address = (
                f"{cause.sentence} {cause.advice}".strip(),
                reverse("batches:detail", args=[batch.uid]),
            )
            found.append(Alert("error", batch.name, detail, address, _question(batch.uid, "error")))
    return found


def _question(batch_uid: str, subject: str) -> str:
    """URL of the confirmation page that acknowledges an alert of a batch."""
    return reverse("batches:acknowledge", args=[batch_uid, subject])


def _stopped_webhooks(account: Account) -> list[Alert]:
    stopped = Webhook.objects.for_account(account).filter(batch__deleted_at=None, acknowledged_at=None)
    stopped = stopped.exclude(state=Webhook.State.ACTIVE).select_related("batch")
    return [
        Alert(
            "error",
            _("Webhook of “%s”") % webhook.batch.name,
            _("Sending has stopped. Deliveries wait until you resume it."),
            reverse("batches:deliveries", args=[webhook.batch.uid]),
            _question(webhook.batch.uid, "webhook"),
        )
        for webhook in stopped
    ]


def _failed_deliveries(account: Account) -> list[Alert]:
    """Alerts of messages that their receiver did not accept, unless sending has stopped altogether."""
    failed = Delivery.objects.for_account(account).filter(
        state=Delivery.State.FAILED,
        ended_at__gte=timezone.now() - FAILED_FOR,
        acknowledged_at=None,
        batch__deleted_at=None,
    )
    failed = failed.exclude(batch__webhook__state__in=[Webhook.State.PAUSED, Webhook.State.GONE])
    rows = failed.order_by().values("batch__uid", "batch__name").annotate(count=Count("pk"))
    return [
        Alert(
            "failed",
            _("Webhook of “%s”") % row["batch__name"],
            ngettext(
                "%d message was not accepted within the last 7 days.",
                "%d messages were not accepted within the last 7 days.",
                row["count"],
            )
            % row["count"],
            f"{reverse('batches:deliveries', args=[row['batch__uid']])}?state=failed",
            _question(row["batch__uid"], "webhook"),
        )
        for row in rows.order_by("-count")
    ]


def _failed_since(account: Account, since: datetime) -> QuerySet[Task]:
    """Tasks that failed since a time.

    PostgreSQL has an index of them. On SQLite their keys come from the index of account and state alone: with
    a condition on the time as well, it scans all of the account's tasks.
    """
    failed = Task.objects.for_account(account).filter(state=Task.State.FAILED).order_by()
    if connections[failed.db].vendor == "postgresql":
        return failed.filter(finished_at__gte=since)
    return Task.objects.for_account(account).filter(pk__in=failed.values("pk"), finished_at__gte=since)


def _failed_tasks(account: Account) -> list[Alert]:
    since = timezone.now() - FAILED_FOR
    failed = _failed_since(account, since).filter(lifecycle.acknowledgeable(), batch__deleted_at__isnull=True)
    rows = failed.order_by().values("batch__uid", "batch__name").annotate(count=Count("pk"))
    return [
        Alert(
            "failed",
            row["batch__name"],
            ngettext(
                "%d file failed within the last 7 days.",
                "%d files failed within the last 7 days.",
                row["count"],
            )
            % row["count"],
            f"{reverse('batches:detail', args=[row['batch__uid']])}?state=failed",
            f"{reverse('batches:selected_tasks', args=[row['batch__uid'], 'acknowledge'])}?state=failed",
        )
        for row in rows.order_by("-count")
    ]


def _paused_batches(account: Account) -> list[Alert]:
    return [
        Alert(
            "paused",
            batch.name,
            _("Paused: new files are not looked for, and no task is started."),
            reverse("batches:detail", args=[batch.uid]),
        )
        for batch in _live(account)
        if batch.is_paused
    ]


def numbers(account: Account, since: datetime) -> Numbers:
    soon = timezone.now() + timedelta(days=1)  # whatever the clocks of the workers say
    charged = list(settled.sources(account, since, soon).sums(settled.period_of([since])))
    tasks = Task.objects.for_account(account)
    unfinished = tasks.filter(state__in=[Task.State.WAITING, *Task.LEASED]).aggregate(
        waiting=Count("pk", filter=Q(state=Task.State.WAITING)),
        in_progress=Count("pk", filter=Q(state__in=Task.LEASED)),
    )
    return Numbers(
        files=sum(row["files"] for row in charged),
        duration=sum(row["duration"] for row in charged),
        failed=_failed_since(account, since).count(),
        in_progress=unfinished["in_progress"],
        waiting=unfinished["waiting"],
    )
