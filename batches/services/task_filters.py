"""Task filter: which tasks of a batch a list shows and an action on many concerns, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Self

from django.db.models import F, Q, QuerySet

from batches.models import Batch, Task
from batches.services import selectors

MINUTE = 60_000  # ms
LONGEST = 10_000  # minutes: more than any input may have

# The columns of the list and what each sorts by; ties by task order. None are last, whichever the direction.
SORTS = {
    "order": "task_order",
    "name": "name",
    "duration": "media_duration",
    "size": "input_size",
    "started": "started_at",
    "finished": "finished_at",
}


@dataclass(frozen=True)
class TaskFilter:
    """Conditions on a batch's tasks; empty ones do not filter. Days are inclusive, in the current time zone.

    ``since`` and ``until`` are days of discovery; ``shortest`` and ``longest`` are minutes of media.
    """

    state: str = ""
    q: str = ""
    model: str = ""
    since: date | None = None
    until: date | None = None
    shortest: int | None = None
    longest: int | None = None
    sort: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """From the parameters of a page's address. What cannot be read does not filter."""
        return cls(
            state=_one_of(query.get("state", ""), Task.State.values),
            q=query.get("q", "").strip(),
            model=query.get("model", "").strip(),
            since=day_of(query.get("since", "")),
            until=day_of(query.get("until", "")),
            shortest=_minutes(query.get("shortest", "")),
            longest=_minutes(query.get("longest", "")),
            sort=_one_of(query.get("sort", ""), [*SORTS, *(f"-{name}" for name in SORTS)]),
        )

    def to_query(self) -> dict[str, str]:
        """The parameters that ``from_query`` reads again."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in ("", None)}

    @property
    def is_empty(self) -> bool:
        return not {name for name in self.to_query() if name != "sort"}

    @property
    def more(self) -> bool:
        """Whether one of the conditions behind "More filters" is set."""
        return any((self.model, self.since, self.until, self.shortest is not None, self.longest is not None))

    def apply(self, batch: Batch) -> QuerySet[Task]:
        """The batch's tasks that match, in the order asked for: the newest first unless one was."""
        tasks = selectors.list_tasks(batch, self.state, self.q).filter(self._conditions())
        if not self.sort:
            return tasks
        column, descending = SORTS[self.sort.removeprefix("-")], self.sort.startswith("-")
        if column == "task_order":
            return tasks.order_by("-task_order" if descending else "task_order")
        ordering = F(column).desc(nulls_last=True) if descending else F(column).asc(nulls_last=True)
        return tasks.order_by(ordering, "-task_order")

    def _conditions(self) -> Q:
        found = Q()
        if self.model:
            found &= Q(whisper_model=self.model) | Q(speaker_model=self.model)
        if self.since:
            found &= Q(created_at__date__gte=self.since)
        if self.until:
            found &= Q(created_at__date__lte=self.until)
        if self.shortest is not None:
            found &= Q(media_duration__gte=self.shortest * MINUTE)
        if self.longest is not None:
            found &= Q(media_duration__lte=self.longest * MINUTE)
        return found


def _one_of(value: str, known: list[str]) -> str:
    return value if value in known else ""


def day_of(value: str) -> date | None:
    """Day of a page's address, ``2026-12-31``; ``None`` where it cannot be read or is out of range."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    # A day before or after it must be one too: databases compare with its beginning and end, in UTC.
    return day if date.min + timedelta(days=366) < day < date.max - timedelta(days=366) else None


def _minutes(value: str) -> int | None:
    return min(int(value), LONGEST) if value.isascii() and value.isdigit() and len(value) < 10 else None
