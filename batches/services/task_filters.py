"""Task filter: conditions and order of a batch's tasks, for lists and for actions on many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Self

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import NullIf
from django.utils.translation import gettext_lazy as _

from batches.models import Batch, Task
from batches.services import selectors

MINUTE = 60_000  # ms
LONGEST = 10_000  # minutes: more than any input may have

# Sort expressions of the list's columns. Empty values come last in both directions, therefore empty texts
# are null here; ties by task order.
SORTS: dict[str, F | NullIf] = {
    "order": F("task_order"),
    "name": F("name"),
    "state": F("state"),
    "duration": F("media_duration"),
    "size": F("input_size"),
    "language": NullIf(F("search_text__language"), Value("")),
    "speakers": F("search_text__speakers"),
    "flags": NullIf(F("search_text__flags"), Value("")),
    "model": NullIf(F("whisper_model"), Value("")),
    "found": F("created_at"),
    "started": F("started_at"),
    "finished": F("finished_at"),
}


# Quality flags of a transcript or its lines, with their labels.
FLAGS = {
    "low_confidence": _("Lines recognised with low confidence"),
    "repetition": _("Lines that may repeat themselves"),
    "unrecognised_speech": _("Speech without words"),
    "language_mismatch": _("Another language than expected"),
    "truncated": _("File damaged or cut off"),
    "tracks_left_out": _("Audio tracks left out"),
    "no_speech": _("Nobody speaks"),
}


@dataclass(frozen=True)
class TaskFilter:
    """Conditions on a batch's tasks; empty ones do not filter. Days are inclusive, in the current time zone.

    ``since`` and ``until`` are days of discovery; ``shortest`` and ``longest`` are minutes of media.
    ``language`` (a code), ``speakers`` (their number) and ``flag`` are those of the transcript.
    """

    state: str = ""
    q: str = ""
    model: str = ""
    since: date | None = None
    until: date | None = None
    shortest: int | None = None
    longest: int | None = None
    language: str = ""
    speakers: int | None = None
    flag: str = ""
    sort: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Parse the query parameters of a page. Invalid ones are ignored."""
        return cls(
            state=_one_of(query.get("state", ""), Task.State.values),
            q=query.get("q", "").strip(),
            model=query.get("model", "").strip(),
            since=day_of(query.get("since", "")),
            until=day_of(query.get("until", "")),
            shortest=_minutes(query.get("shortest", "")),
            longest=_minutes(query.get("longest", "")),
            language=query.get("language", "").strip(),
            speakers=_minutes(query.get("speakers", "")),
            flag=_one_of(query.get("flag", ""), list(FLAGS)),
            sort=_one_of(query.get("sort", ""), [*SORTS, *(f"-{name}" for name in SORTS)]),
        )

    def to_query(self) -> dict[str, str]:
        """Query parameters, as :meth:`from_query` parses them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in ("", None)}

    @property
    def is_empty(self) -> bool:
        return not {name for name in self.to_query() if name != "sort"}

    @property
    def more(self) -> bool:
        """Whether a condition under "More filters" is set."""
        numbers = (self.shortest, self.longest, self.speakers)
        texts = (self.model, self.since, self.until, self.language, self.flag)
        return any(texts) or any(number is not None for number in numbers)

    def apply(self, batch: Batch) -> QuerySet[Task]:
        """Filter and sort the batch's tasks; by default the newest first."""
        tasks = selectors.list_tasks(batch, self.state, self.q).filter(self.conditions())
        if not self.sort:
            return tasks
        name, descending = self.sort.removeprefix("-"), self.sort.startswith("-")
        if name == "order":
            return tasks.order_by("-task_order" if descending else "task_order")
        by = SORTS[name]
        ordering = by.desc(nulls_last=True) if descending else by.asc(nulls_last=True)
        return tasks.order_by(ordering, "-task_order")

    def conditions(self) -> Q:
        """Condition on tasks of any batch: all but state, text and order."""
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
        if self.language:
            found &= Q(search_text__language=self.language)
        if self.speakers is not None:
            found &= Q(search_text__speakers=self.speakers)
        if self.flag:
            found &= Q(search_text__flags__contains=f",{self.flag},")
        return found


def _one_of(value: str, known: list[str]) -> str:
    return value if value in known else ""


def day_of(value: str) -> date | None:
    """Parse a day of a query, ``2026-12-31``; ``None`` if it is invalid or out of range."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    # The days around it must be valid too: databases compare with its beginning and end, in UTC.
    return day if date.min + timedelta(days=366) < day < date.max - timedelta(days=366) else None


def _minutes(value: str) -> int | None:
    return min(int(value), LONGEST) if value.isascii() and value.isdigit() and len(value) < 10 else None
