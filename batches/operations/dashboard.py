"""The dashboard of an account: alerts, first steps and figures of the recent past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.models import Batch, Charge, Task, Webhook
from batches.status.failures import failure_of_batch
from batches.tasks import lifecycle
from domains.models import Domain
from speechportal.accounts.models import Account
from speechportal.storage.models import Connection

FAILED_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Alert:
    """Something that a member should look at; ``kind`` is a state and decides the colour of its dot."""

    kind: str
    title: str
    detail: str
    address: str
    acknowledge: str = ""  # address of the question that acknowledges it, where that is possible


@dataclass(frozen=True)
class Step:
    """One step of setting up an account."""

    title: str
    detail: str
    address: str
    done: bool


@dataclass(frozen=True)
class Numbers:
    """Figures of an account since a time: recognised files and failures, and what is unfinished now."""

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
        if cause := failure_of_batch(batch):
            detail = f"{cause.sentence} {cause.advice}".strip()
            found.append(Alert("error", batch.name, detail, reverse("batches:detail", args=[batch.uid])))
    return found


def _stopped_webhooks(account: Account) -> list[Alert]:
    stopped = Webhook.objects.for_account(account).filter(batch__deleted_at__isnull=True)
    stopped = stopped.exclude(state=Webhook.State.ACTIVE).select_related("batch")
    return [
        Alert(
            "error",
            _("Webhook of “%s”") % webhook.batch.name,
            _("Sending has stopped. Deliveries wait until you resume it."),
            reverse("batches:deliveries", args=[webhook.batch.uid]),
        )
        for webhook in stopped
    ]


def _failed_since(account: Account, since: datetime) -> QuerySet[Task]:
    """Tasks that failed since a time.

    Their keys come from the index of account and state alone: asked for the time as well, SQLite reads all of
    the account's tasks.
    """
    failed = Task.objects.for_account(account).filter(state=Task.State.FAILED).order_by()
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


def first_steps(account: Account) -> list[Step]:
    """The set-up steps up to the first transcript; empty once all are done."""
    steps = [
        Step(
            _("Connect your storage"),
            _("The bucket or folder that recordings come from and results go to."),
            reverse("connections:create"),
            Connection.objects.for_account(account).exists(),
        ),
        Step(
            _("Create a domain"),
            _("A recognition profile with the names and terms to prefer."),
            reverse("domains:create"),
            Domain.objects.for_account(account).exists(),
        ),
        Step(
            _("Create a batch"),
            _("It watches an input path and writes results to another."),
            reverse("batches:create"),
            Batch.objects.for_account(account).exists(),
        ),
        Step(
            _("Put a recording into the input path"),
            _("It is recognised by itself, within a minute of its upload."),
            reverse("batches:list"),
            Task.objects.for_account(account).exists(),
        ),
    ]
    return [] if all(step.done for step in steps) else steps


def numbers(account: Account, since: datetime) -> Numbers:
    charged = Charge.objects.for_account(account).filter(created_at__gte=since)
    sums = charged.aggregate(files=Count("pk"), duration=Sum("media_duration"))
    tasks = Task.objects.for_account(account)
    unfinished = tasks.filter(state__in=[Task.State.WAITING, *Task.LEASED]).aggregate(
        waiting=Count("pk", filter=Q(state=Task.State.WAITING)),
        in_progress=Count("pk", filter=Q(state__in=Task.LEASED)),
    )
    return Numbers(
        files=sums["files"],
        duration=sums["duration"] or 0,
        failed=_failed_since(account, since).count(),
        in_progress=unfinished["in_progress"],
        waiting=unfinished["waiting"],
    )
