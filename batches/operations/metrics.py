"""Prometheus metrics of recognition, deliveries and storages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Min, Sum
from django.utils import timezone
from prometheus_client.metrics_core import Metric

from batches.intake.duration_estimates import COMPRESSED
from batches.models import Batch, ConnectionBackoff, ExecutionResult, RecognitionHost, Task
from batches.operations import health
from batches.tasks import fleet, model_hosts
from batches.webhooks import delivery_lifecycle
from speechportal.platform import database_clock
from speechportal.platform.metrics import collector, gauge, labelled

LATEST = 200  # number of finished tasks from which the speed is computed
MOST_FAILURES = 2000


def seconds_since(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0.0


@collector
def tasks() -> Iterable[Metric]:
    # Completed tasks, by far the most, are not counted but derived: found files less all others.
    others = sorted(set(Task.State.values) - {Task.State.COMPLETED})
    rows = Task.unscoped.filter(state__in=others).order_by().values_list("state").annotate(Count("pk"))
    counts = dict(rows)
    found = Batch.unscoped.filter(account__closed_at=None).aggregate(n=Sum("last_task_order"))["n"] or 0
    counts[Task.State.COMPLETED] = max(found - sum(counts.values()), 0)
    by_state = {state: float(counts.get(state, 0)) for state in Task.State.values}
    yield labelled("tasks", "Tasks by state.", "state", by_state)
    # From the partial index: the lowest ID is the oldest task.
    oldest = Task.unscoped.filter(state=Task.State.WAITING).order_by().aggregate(pk=Min("pk"))["pk"]
    since = Task.unscoped.filter(pk=oldest).values_list("created_at", flat=True).first()
    yield gauge("oldest_waiting_seconds", "Age of the oldest waiting task.", seconds_since(since))
    late = Task.unscoped.filter(state__in=Task.LEASED, lease_expires_at__lt=database_clock.after()).count()
    yield gauge("leases_expired", "Tasks whose lease has ended.", late)
    moves = Task.unscoped.filter(move_due_at__lte=timezone.now()).count()
    yield gauge("moves_due", "Finished inputs that wait to be moved.", moves)


@collector
def overdue_work() -> Iterable[Metric]:
    ages = health.ages()
    seconds = {age.name: age.seconds for age in ages}
    yield labelled("work_age_seconds", "How long the oldest work of a kind has been due.", "work", seconds)
    late: dict[str, float] = dict.fromkeys((age.cluster for age in ages), 0.0)
    late.update({age.cluster: 1.0 for age in ages if not age.ok})
    yield labelled("cluster_stalled", "1 for a cluster that makes no progress.", "cluster", late)


@collector
def hosts() -> Iterable[Metric]:
    """Recognition hosts that have reported lately, by whether they can take tasks."""
    faults = dict(model_hosts.live_rows().order_by().values_list("host").annotate(Max("fault")))
    drained = set(RecognitionHost.objects.exclude(drained_at=None).values_list("name", flat=True))
    values = {"able": 0.0, "drained": 0.0, "fault": 0.0}
    for host, fault in faults.items():
        values["fault" if fault else "drained" if host in drained else "able"] += 1
    yield labelled("hosts", "Recognition hosts that have reported lately, by state.", "state", values)
    paused = float(bool(fleet.pause_problem()))
    yield gauge("recognition_paused", "1 in maintenance mode, and where all hosts are drained.", paused)


@collector
def speed() -> Iterable[Metric]:
    finished = Task.unscoped.filter(state=Task.State.COMPLETED).order_by("-pk")
    latest = list(
        finished.filter(media_duration__isnull=False).values_list(
            "media_duration", "input_size", "started_at", "finished_at"
        )[:LATEST]
    )
    media = sum(duration or 0 for duration, *_ in latest) / 1000
    taken = sum((end - start).total_seconds() for *_, start, end in latest if start and end)
    text = f"Seconds of media recognised in a second of a worker, over the latest {LATEST} tasks."
    yield gauge("recognition_speed", text, media / taken if taken else 0.0)
    size = sum(size or 0 for _duration, size, *_ in latest)
    waiting = Task.unscoped.filter(state=Task.State.WAITING, batch__paused_at=None).order_by()
    still = waiting.aggregate(total=Sum("input_size"))["total"] or 0
    minutes = still * (media / size if size and media else 1 / COMPRESSED) / 60
    text = "Minutes of media in waiting tasks, estimated from the sizes of their files."
    yield gauge("waiting_media_minutes", text, minutes)


@collector
def failures() -> Iterable[Metric]:
    hour = timezone.now() - timedelta(hours=1)
    newest = Task.unscoped.filter(state=Task.State.FAILED).order_by("-pk")[:MOST_FAILURES]
    codes = Counter(
        code for code, end in newest.values_list("error_code", "finished_at") if end and end > hour
    )
    values = {code: float(count) for code, count in codes.items()}
    yield labelled("failed_tasks_last_hour", "Tasks that failed in the last hour, by cause.", "code", values)
    retried = Task.unscoped.filter(state__in=[Task.State.WAITING, *Task.LEASED], attempts__gt=1)
    repeated = retried.aggregate(total=Sum(F("attempts") - 1))["total"] or 0
    yield gauge("attempts_failed", "Failed attempts of tasks that have not ended.", repeated)


@collector
def deliveries() -> Iterable[Metric]:
    now = timezone.now()
    due = delivery_lifecycle.sendable(now).filter(next_attempt_at__lte=now).order_by()
    found = due.aggregate(n=Count("pk"), oldest=Min("next_attempt_at"))
    yield gauge("deliveries_due", "Deliveries that are due.", found["n"])
    yield gauge(
        "delivery_lag_seconds", "How long the oldest due delivery has waited.", seconds_since(found["oldest"])
    )


@collector
def storages() -> Iterable[Metric]:
    faults = Counter(ConnectionBackoff.unscoped.values_list("code", flat=True))
    values = {code: float(count) for code, count in faults.items()}
    yield labelled("storage_errors", "Connections whose latest use failed, by cause.", "code", values)
    causes = Batch.unscoped.live().filter(status=Batch.Status.ERROR).order_by()
    in_error = {code: float(n) for code, n in causes.values_list("cause_code").annotate(Count("pk"))}
    yield labelled("batches_in_error", "Live batches in Error, by cause.", "code", in_error)
    unwritten = ExecutionResult.unscoped.filter(written_at=None).order_by()
    found = unwritten.aggregate(n=Count("pk"), oldest=Min("created_at"))
    yield gauge("execution_results_due", "Execution results that are due.", found["n"])
    yield gauge("execution_result_lag_seconds", "Age of the oldest of them.", seconds_since(found["oldest"]))
