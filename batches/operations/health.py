"""Age of overdue work by kind, from which a stalled cluster is detected.

Living processes prove nothing, since a cluster can deadlock with all of them alive. An age is 0 when nothing
is overdue. The limits are generous: an age over its limit needs a restart or a person.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Min, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from batches.intake import poll_schedule
from batches.models import Batch, Task
from batches.recognition.runtime import sandbox
from batches.reports import execution_results
from batches.tasks import fleet, model_hosts, scheduling
from batches.webhooks import delivery_lifecycle
from batches.worker import moving
from speechportal.accounts.models import Account
from speechportal.platform import database_clock, queue, temporary_folder
from speechportal.platform.models import NamedLease
from speechportal.platform.queue import ClusterName
from speechportal.storage.errors import SecretUnreadable
from speechportal.storage.models import Connection

MINUTE = 60.0
HELD_UP_MINUTES = 20  # a file that is held up is tried again after 15 minutes at most


@dataclass(frozen=True)
class Age:
    """Age in seconds of the oldest overdue work of one kind, and the cluster that should do it."""

    name: str
    label: str | Promise
    cluster: ClusterName
    seconds: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.seconds <= self.limit


def ages(now: datetime | None = None) -> list[Age]:
    """Ages of all kinds of work, in a few indexed queries."""
    now = now or database_clock.now()
    return [
        Age(name, label, cluster, measure(now), limit) for name, label, cluster, measure, limit in _measures()
    ]


def problems(now: datetime | None = None) -> list[Age]:
    """Ages over their limit; empty while everything is on time."""
    return [age for age in ages(now) if not age.ok]


def stalled_clusters(now: datetime | None = None) -> list[ClusterName]:
    """Names of the clusters that make no progress; the watchdog restarts them."""
    return sorted({age.cluster for age in problems(now)})


def sandbox_problem() -> str:
    """Check of /readyz: "sandbox" if media would be decoded with less confinement than required."""
    return "" if settings.ACCEPT_SANDBOX_GAPS or not sandbox.missing() else "sandbox"


def models_warning() -> str:
    """Warning of /readyz: "models" if tasks wait for a model that no worker serves."""
    return "models" if model_hosts.waiting_for_models() else ""


def pause_warning() -> str:
    """Warning of /readyz: "maintenance" or "drained" if starting tasks was stopped on purpose."""
    return fleet.pause_problem()


def web_problem() -> str:
    """Check of /readyz: the problem, in a word, that keeps this web process from serving members."""
    if not os.access(settings.DATA_DIR, os.W_OK | os.X_OK):
        return "data_folder"
    newest = Connection.unscoped.exclude(encrypted_secret="").order_by("-pk").first()
    try:
        if newest is not None:
            newest.secrets()
    except SecretUnreadable:
        return "encryption_keys"
    return "temporary_folder" if temporary_folder.problem() else ""


def role_problems() -> dict[str, str]:
    """Roles in /readyz: the problem of each role of the installation in a word, or empty."""
    late = {age.cluster: age.name for age in reversed(problems())}
    web = web_problem()
    return {
        "web": web,
        "short": queue.cluster_problem("short") or late.get("short") or web,
        "recognition": _recognition_problem()
        or queue.cluster_problem("recognition")
        or late.get("recognition", ""),
        "deliveries": queue.cluster_problem("deliveries") or late.get("deliveries") or web,
    }


def _recognition_problem() -> str:
    if paused := fleet.pause_problem():
        return paused
    hosts = model_hosts.live_rows()
    if not hosts.exists():
        return "no_worker"
    if not hosts.filter(fault="").exists():
        return str(hosts.values_list("fault", flat=True)[0])
    return sandbox_problem() or models_warning() or _only_held_up()


def _only_held_up() -> str:
    """Fault of the hosts that holds up files, while no other file has ended for a while."""
    faults = sorted(model_hosts.held_up_by_hosts().values())
    lately = timezone.now() - timedelta(minutes=HELD_UP_MINUTES)
    if not faults or Batch.unscoped.filter(last_finished_at__gt=lately).exists():
        return ""
    return faults[0]


Measure = tuple[str, str | Promise, ClusterName, Callable[[datetime], float], float]


def _measures() -> list[Measure]:
    lease, poll = float(settings.LEASE_SECONDS), float(settings.POLL_SECONDS)
    return [
        ("scheduler", _("since the scheduler last ran"), "short", _scheduler, 4 * MINUTE),
        ("poll", _("the poll that is longest due"), "short", _poll, 4 * MINUTE + 2 * poll),
        ("move", _("the input that is longest due to be moved"), "short", _move, 15 * MINUTE),
        ("report", _("the execution result longest due to be written"), "short", _report, 15 * MINUTE),
        ("lease", _("the lease that ran out first and was not noticed"), "short", _lease, 4 * MINUTE + lease),
        ("untaken", _("since files wait and none is started"), "recognition", _untaken, 4 * MINUTE),
        ("delivery", _("the message that is longest due to be sent"), "deliveries", _delivery, 15 * MINUTE),
    ]


def _since(moment: datetime | None, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


def _oldest(rows: QuerySet[Task], field: str) -> datetime | None:
    oldest: datetime | None = rows.order_by().aggregate(oldest=Min(field))["oldest"]
    return oldest


def _scheduler(now: datetime) -> float:
    return _since(NamedLease.last_run("scheduler"), now)


def _poll(now: datetime) -> float:
    due = poll_schedule.pollable(now).filter(next_poll_at__lte=now)
    return _since(due.aggregate(oldest=Min("next_poll_at"))["oldest"], now)


def _move(now: datetime) -> float:
    return _since(_oldest(moving.overdue(now), "move_due_at"), now)


def _report(now: datetime) -> float:
    return _since(execution_results.overdue(now).aggregate(oldest=Min("due_at"))["oldest"], now)


def _lease(now: datetime) -> float:
    expired = Task.unscoped.filter(state__in=Task.LEASED, lease_expires_at__lt=now)
    return _since(_oldest(expired, "lease_expires_at"), now)


def _untaken(now: datetime) -> float:
    """Age of unclaimed tasks; 0 while any task is in progress, since the others may then wait for hours.

    Also 0 while recognition is paused everywhere.
    """
    if fleet.pause_problem(now):
        return 0.0
    if Task.unscoped.filter(state__in=Task.LEASED).exists():
        return 0.0
    waiting = scheduling.claimable().aggregate(oldest=Min("available_at"))["oldest"]
    if waiting is None:
        return 0.0
    last: datetime | None = Account.objects.aggregate(last=Max("last_claimed_at"))["last"]
    return _since(max(waiting, last) if last else waiting, now)


def _delivery(now: datetime) -> float:
    waiting = delivery_lifecycle.sendable(now).filter(next_attempt_at__lte=now)
    return _since(waiting.order_by().aggregate(oldest=Min("next_attempt_at"))["oldest"], now)
