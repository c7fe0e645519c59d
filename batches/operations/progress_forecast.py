"""Progress forecast of batches: minutes done and found, position in the queue, time left.

The duration of a file is unknown before it is decoded, so waiting minutes are estimated from file sizes, and
the time left from the pace of the last finished tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, Sum
from django.utils import timezone

from batches.models import Batch, Task
from speechportal.accounts.models import Account

State = Task.State
EXACT_UP_TO = 20_000  # Tasks of a batch; above, summing their minutes costs too much for a list page.
PACE_TASKS = 3  # Tasks that must have finished within PACE_TIME before a pace is shown.
PACE_TIME = timedelta(hours=1)


@dataclass(frozen=True)
class ProgressForecast:
    done_ms: int = 0  # duration of recognised media
    found_ms: int = 0  # estimated for files that are not recognised yet
    place: int | None = None  # queue position of the batch's next waiting file in its account, from 1
    seconds_left: int | None = None

    @property
    def is_estimate(self) -> bool:
        return self.found_ms != self.done_ms


def forecasts_for(account: Account, batches: Iterable[Batch]) -> dict[int, ProgressForecast]:
    """Forecasts by batch ID, in one query, and one more per batch with waiting files (ten at most)."""
    small = {batch.pk: batch for batch in batches if 0 < batch.last_task_order <= EXACT_UP_TO}
    if not small:
        return {}
    open_states = (State.WAITING, *Task.LEASED)
    since = timezone.now() - PACE_TIME
    completed = Q(state=State.COMPLETED)
    recent = completed & Q(finished_at__gte=since)
    rows = (
        Task.objects.for_account(account)
        .filter(batch__in=small)
        .order_by()
        .values("batch")
        .annotate(
            done_ms=Sum("media_duration", filter=completed),
            done_bytes=Sum("input_size", filter=completed),
            open_bytes=Sum("input_size", filter=Q(state__in=open_states)),
            open_files=Count("pk", filter=Q(state__in=open_states)),
            first_waiting=Min("pk", filter=Q(state=State.WAITING)),
            recent_ms=Sum("media_duration", filter=recent),
            recent_files=Count("pk", filter=recent),
            recent_from=Min("started_at", filter=recent),
            recent_to=Max("finished_at", filter=recent),
        )
    )
    return {
        row["batch"]: ProgressForecast(
            done_ms=row["done_ms"] or 0,
            found_ms=(row["done_ms"] or 0) + _open_ms(row),
            place=_place(account, small[row["batch"]], row["first_waiting"]),
            seconds_left=_seconds_left(row),
        )
        for row in rows
    }


def place_of(task: Task) -> int | None:
    """Position of a waiting task in its account's queue, from 1."""
    if task.state != State.WAITING:
        return None
    return _place(task.batch.account, task.batch, task.pk)


def _place(account: Account, batch: Batch, first_waiting: int | None) -> int | None:
    if first_waiting is None or batch.is_paused:
        return None
    before = Q(batch__priority__gt=batch.priority) | Q(batch__priority=batch.priority, pk__lt=first_waiting)
    waiting = Task.objects.for_account(account).filter(state=State.WAITING, batch__paused_at__isnull=True)
    return waiting.filter(before).count() + 1


def _open_ms(row: Mapping[str, Any]) -> int:
    """Estimated milliseconds of unrecognised media, by the bytes per millisecond of the recognised."""
    if not row["done_bytes"] or not row["done_ms"]:
        return 0
    return int((row["open_bytes"] or 0) * row["done_ms"] / row["done_bytes"] + 0.5)


def _seconds_left(row: Mapping[str, Any]) -> int | None:
    if not row["open_files"] or row["recent_files"] < PACE_TASKS:
        return None
    seconds = (row["recent_to"] - row["recent_from"]).total_seconds()
    open_ms = _open_ms(row)
    if seconds <= 0 or not row["recent_ms"] or not open_ms:
        return None
    pace = float(row["recent_ms"]) / seconds
    return int(open_ms / pace + 0.5)
