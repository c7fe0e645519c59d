"""Fleet: the recognition hosts, which of them are drained, and maintenance mode.

Each recognition cluster reports its host every few seconds. A drained host finishes its tasks and claims no
others; maintenance mode drains all hosts. Tasks wait meanwhile; they never fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from batches.models import RecognitionHost, Task
from batches.recognition.runtime.oom_kills import KERNEL_KILL
from batches.tasks import model_hosts
from speechportal import __version__
from speechportal.platform import database_clock
from speechportal.platform.models import Maintenance

KEPT_RESTARTS = 20
FORGOTTEN = timedelta(days=7)  # after a host's last report; a drained one is kept


@dataclass(frozen=True, slots=True)
class Device:
    """Device of a host: the CPU, or a graphics card. Memory in bytes, ``load`` in per cent; 0: unknown."""

    device: str
    name: str = ""
    memory: int = 0
    used: int = 0
    load: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart of the recognition cluster, or of an engine process that ended."""

    at: str  # ISO 8601
    what: str  # "cluster", or the engine's device
    why: str = ""


def report(
    devices: Iterable[Device],
    *,
    workers: int,
    restarts: Iterable[Restart] = (),
    started: bool = False,
    host: str = "",
) -> None:
    """Store the report of this host. ``started``: its recognition cluster has just started."""
    now = timezone.now()
    row, _made = RecognitionHost.objects.get_or_create(name=host or model_hosts.host_name())
    known = [Restart(**each) for each in row.restarts]
    news = [each for each in restarts if each not in known]
    if started:
        news.append(Restart(now.isoformat(timespec="seconds"), "cluster"))
    values: dict[str, object] = {
        "version": __version__,
        "workers": workers,
        "devices": [asdict(device) for device in devices],
        "seen_at": database_clock.after(),
    }
    if news:
        kept = sorted([*known, *news], key=lambda each: each.at)[-KEPT_RESTARTS:]
        values["restarts"] = [asdict(each) for each in kept]
    if started:
        values["started_at"] = now
    RecognitionHost.objects.filter(pk=row.pk).update(**values)
    forgotten = database_clock.after(-FORGOTTEN.total_seconds())
    RecognitionHost.objects.filter(seen_at__lt=forgotten, drained_at=None).delete()


def live_hosts(now: datetime | None = None) -> QuerySet[RecognitionHost]:
    """Hosts with a recent report."""
    since = now - model_hosts.LIVE if now else database_clock.after(-model_hosts.LIVE.total_seconds())
    return RecognitionHost.objects.filter(seen_at__gt=since)


def may_claim(host: str = "") -> bool:
    """Whether this host's workers may claim tasks: neither is it drained nor is recognition paused."""
    drained = RecognitionHost.objects.filter(name=host or model_hosts.host_name(), drained_at__isnull=False)
    return not Maintenance.is_on() and not drained.exists()


def pause_problem(now: datetime | None = None) -> str:
    """Reason why no task is started anywhere: "maintenance", "drained" (all live hosts are), or empty."""
    if Maintenance.is_on():
        return "maintenance"
    live = live_hosts(now)
    return "drained" if live.exists() and not live.filter(drained_at=None).exists() else ""


def out_of_memory_since(moment: datetime, host: str = "") -> list[str]:
    """Those of all hosts, or of one, where the kernel ended a process for want of memory since ``moment``."""
    rows = RecognitionHost.objects.filter(name=host) if host else RecognitionHost.objects.all()
    since = moment.replace(microsecond=0)  # as precise as the reports

    def lacked(row: RecognitionHost) -> bool:
        kills = (each["at"] for each in row.restarts if each["why"] == KERNEL_KILL)
        return any(datetime.fromisoformat(at) >= since for at in kills)

    return [row.name for row in rows if lacked(row)]


def tasks_of(host: str) -> QuerySet[Task]:
    """Tasks in progress on the host."""
    return Task.unscoped.filter(on_host(host), state__in=Task.LEASED)


def on_host(host: str) -> Q:
    """Condition on tasks: the worker, named HOST:PID, is one of this host."""
    return Q(worker__startswith=f"{host}:")
