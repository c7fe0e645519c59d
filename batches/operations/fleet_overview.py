"""Overview of the fleet: the state, current work and recent throughput of each host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count

from batches.models import Batch, RecognitionHost, ServedModel, Task
from batches.tasks import fleet, model_hosts
from batches.tasks.fleet import Device, Restart
from domains import offered_models
from domains.offered_models import DEFAULT, ModelPair
from speechportal.platform import database_clock

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
LATEST = 2000  # finished tasks that are read for the throughput


@dataclass(slots=True)
class HostOverview:
    """Overview of one host. ``state``: "at_work", "draining", "drained", "fault", "no_model" or "silent"."""

    name: str
    state: str = "at_work"
    version: str = ""
    workers: int = 0
    devices: list[Device] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    files: int = 0  # finished in the last hour
    media: int = 0  # duration of these files, ms
    restarts: list[Restart] = field(default_factory=list)  # in the last day
    seen_at: datetime | None = None
    row: RecognitionHost | None = None


@dataclass(frozen=True, slots=True)
class ModelQueue:
    """Queue of tasks that wait for a pair of models, and the hosts that serve them."""

    pair: ModelPair
    waiting: int
    hosts: int


def overview(now: datetime | None = None) -> list[HostOverview]:
    """Hosts that have reported within a day or are drained, by name; in a few indexed queries."""
    now = now or database_clock.now()
    hosts = {row.name: _of_row(row, now) for row in RecognitionHost.objects.all()}
    for served in ServedModel.objects.order_by("kind", "name"):
        _add_model(hosts.setdefault(served.host, HostOverview(served.host)), served, now)
    running = Task.unscoped.filter(state__in=Task.LEASED).select_related("account").defer("settings")
    for task in running.order_by("started_at")[:LATEST]:
        if host := hosts.get(_host_of(task.worker)):
            host.tasks.append(task)
    _add_throughput(hosts, now)
    for host in hosts.values():
        host.state = _state(host, now)
    return sorted(hosts.values(), key=lambda host: host.name)


def _of_row(row: RecognitionHost, now: datetime) -> HostOverview:
    since = (now - DAY).isoformat(timespec="seconds")
    restarts = [Restart(**each) for each in row.restarts if each["at"] > since]
    devices = [Device(**each) for each in row.devices]
    return HostOverview(
        row.name,
        version=row.version,
        workers=row.workers,
        devices=devices,
        restarts=restarts,
        seen_at=row.seen_at,
        row=row,
    )


def _add_model(host: HostOverview, served: ServedModel, now: datetime) -> None:
    host.seen_at = max(filter(None, [host.seen_at, served.seen_at]))
    if served.problem:
        if served.problem not in host.problems:
            host.problems.append(served.problem)
        if served.fault:
            host.state = "fault"
    elif served.loaded_at and served.seen_at > now - model_hosts.LIVE:
        host.loaded.append(offered_models.title(served.name))
    if not served.problem and served.kind == ServedModel.Kind.WHISPER and host.state == "at_work":
        host.state = "able"


def _state(host: HostOverview, now: datetime) -> str:
    if host.seen_at is None or host.seen_at <= now - model_hosts.LIVE:
        return "silent"
    if host.row is not None and host.row.drained_at is not None:
        return "draining" if host.tasks else "drained"
    if host.state == "fault":
        return "fault"
    return "at_work" if host.state == "able" else "no_model"


def _add_throughput(hosts: dict[str, HostOverview], now: datetime) -> None:
    """Add each host's files and media of the last hour, extrapolated if more ended than are read.

    Finished tasks are read by ID, newest first: there is no index of all tasks by the time they finished.
    """
    newest = Task.unscoped.filter(state=Task.State.COMPLETED).order_by("-pk")
    rows = list(newest.values_list("worker", "media_duration", "finished_at")[:LATEST])
    recent = [(worker, length or 0, at) for worker, length, at in rows if at is not None and at > now - HOUR]
    span = HOUR
    if len(recent) == len(rows) == LATEST:
        span = max(now - min(finished_at for _worker, _length, finished_at in recent), SECOND)
    counts: Counter[str] = Counter()
    media: Counter[str] = Counter()
    for worker, length, _finished_at in recent:
        counts[_host_of(worker)] += 1
        media[_host_of(worker)] += length
    for name, host in hosts.items():
        host.files, host.media = (round(counter[name] * (HOUR / span)) for counter in (counts, media))


def _host_of(worker: str) -> str:
    """Host of a worker, which is named HOST:PID."""
    return worker.rpartition(":")[0]


def queue_by_model() -> list[ModelQueue]:
    """Waiting tasks by required models, the longest queue first; counted from a partial index."""
    waiting = Task.unscoped.filter(state=Task.State.WAITING).order_by()
    counts: Counter[ModelPair] = Counter()
    by_batch = waiting.filter(whisper_model="").values_list("batch").annotate(n=Count("pk"))
    own = waiting.exclude(whisper_model="")
    by_models = own.values_list("whisper_model", "speaker_model").annotate(n=Count("pk"))
    batches = dict(by_batch)
    for batch in Batch.unscoped.select_related("domain").filter(pk__in=batches):
        counts[_pair_of(batch)] += batches[batch.pk]
    for whisper, speakers, number in by_models:
        counts[ModelPair(whisper, speakers)] += number
    usable = model_hosts.live_rows().filter(problem="").values_list("host", "name")
    hosts_of: dict[str, set[str]] = {}
    drained = set(RecognitionHost.objects.exclude(drained_at=None).values_list("name", flat=True))
    for host, name in usable:
        if host not in drained:
            hosts_of.setdefault(name, set()).add(host)
    return [
        ModelQueue(pair, number, len(_hosts_for(pair, hosts_of))) for pair, number in counts.most_common()
    ]


def _hosts_for(pair: ModelPair, hosts_of: dict[str, set[str]]) -> set[str]:
    whisper = hosts_of.get(pair.whisper, set())
    return whisper & hosts_of.get(pair.speakers, set()) if pair.speakers else whisper


def _pair_of(batch: Batch) -> ModelPair:
    """Models with which the batch's tasks start now; no speaker model without diarization."""
    domain = batch.domain
    chosen = batch.recognition
    names = (
        (chosen.whisper_model, domain.whisper_model if domain else "", offered_models.whisper_models()[0]),
        (chosen.speaker_model, domain.speaker_model if domain else "", offered_models.speaker_models()[0]),
    )
    whisper, speakers = (
        next(name for name in candidates if name and name != DEFAULT) for candidates in names
    )
    return ModelPair(whisper, speakers if chosen.speakers else "")


def paused() -> str:
    """Reason why no task is started anywhere, as in /readyz; or empty."""
    return fleet.pause_problem()
