"""Queue panels on the admin's first page. Each figure is read from a partial index."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from batches.admin.accounts import shown
from batches.models import Batch, ConnectionBackoff, Delivery, ExecutionResult, Task
from speechportal.accounts.models import Account
from speechportal.platform import database_clock
from speechportal.support.admin import link_to, link_to_list
from speechportal.support.lists import bounded_count
from speechportal.support.panels import Figure, Panel, panel

LATE = timedelta(hours=1)
FEW = 8


@panel("batches.view_task")
def recognition() -> Panel:
    waiting = Task.unscoped.filter(state=Task.State.WAITING)
    oldest = waiting.order_by().aggregate(oldest=Min("pk"))["oldest"]
    since = Task.unscoped.values_list("created_at", flat=True).filter(pk=oldest).first()
    running = Task.unscoped.filter(state__in=Task.LEASED)
    overdue = running.filter(lease_expires_at__lt=database_clock.after(-settings.LEASE_SECONDS))
    tasks = reverse("admin:batches_task_changelist")
    return Panel(
        _("Recognition"),
        [
            Figure(_("Waiting"), shown(*bounded_count(waiting)), f"{tasks}?state=waiting"),
            Figure(_("In progress"), running.count(), f"{tasks}?state=in_progress"),
            Figure(_("Oldest waiting"), age(since), alarm=is_late(since)),
            Figure(_("Workers lost"), overdue.count(), alarm=overdue.exists()),
        ],
        [_("Account"), _("Waiting")],
        _longest_queues(),
    )


def _longest_queues() -> list[list[Any]]:
    waiting = Task.unscoped.filter(state=Task.State.WAITING).order_by().values("account")
    counts = dict(waiting.annotate(n=Count("pk")).order_by("-n").values_list("account", "n")[:FEW])
    accounts = Account.objects.in_bulk(counts)
    return [
        [link_to(accounts[pk]), link_to_list(Task, f"{count:,}", account=accounts[pk].uid, state="waiting")]
        for pk, count in counts.items()
    ]


@panel("batches.view_batch")
def batches() -> Panel:
    now = timezone.now()
    live = Batch.unscoped.live()
    in_error = live.filter(status=Batch.Status.ERROR)
    overdue = live.filter(
        next_poll_at__lt=now - LATE, paused_at=None, account__suspended_at=None, status="normal"
    )
    faults = ConnectionBackoff.unscoped.count()
    url = reverse("admin:batches_batch_changelist")
    newest = in_error.select_related("account").order_by("-pk")[:FEW]
    return Panel(
        _("Batches"),
        [
            Figure(_("Live"), live.count(), url),
            Figure(_("In Error"), in_error.count(), f"{url}?status=error", alarm=in_error.exists()),
            Figure(_("Not polled for an hour"), overdue.count(), alarm=overdue.exists()),
            Figure(
                _("Storages that fail"),
                faults,
                reverse("admin:batches_connectionbackoff_changelist"),
                alarm=bool(faults),
            ),
        ],
        [_("Batch"), _("Account"), _("Cause")],
        [[link_to(batch), link_to(batch.account), batch.cause] for batch in newest],
    )


@panel("batches.view_delivery")
def deliveries() -> Panel:
    now = timezone.now()
    waiting = Delivery.unscoped.filter(state=Delivery.State.WAITING)
    due = waiting.filter(next_attempt_at__lte=now)
    oldest = due.order_by().aggregate(oldest=Min("next_attempt_at"))["oldest"]
    sending = Delivery.unscoped.filter(state=Delivery.State.SENDING)
    url = reverse("admin:batches_delivery_changelist")
    return Panel(
        _("Deliveries"),
        [
            Figure(_("Due"), shown(*bounded_count(due)), f"{url}?state=waiting"),
            Figure(_("Being sent"), sending.count(), f"{url}?state=sending"),
            Figure(_("Oldest due"), age(oldest), alarm=is_late(oldest)),
        ],
    )


@panel("batches.view_executionresult")
def reports() -> Panel:
    unwritten = ExecutionResult.unscoped.filter(written_at=None)
    moves = Task.unscoped.filter(move_due_at__lte=timezone.now())
    oldest = unwritten.order_by().aggregate(oldest=Min("created_at"))["oldest"]
    return Panel(
        _("Files to write and to move"),
        [
            Figure(_("Execution results to write"), unwritten.count()),
            Figure(_("Oldest of them"), age(oldest), alarm=is_late(oldest)),
            Figure(_("Inputs to move"), shown(*bounded_count(moves))),
        ],
    )


def age(since: datetime | None) -> str:
    return timesince(since, depth=1) if since else "–"


def is_late(since: datetime | None) -> bool:
    return since is not None and timezone.now() - since > LATE
