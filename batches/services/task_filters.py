"""Task filter: conditions and order of a batch's tasks, for lists and for actions on many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Self

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from batches.models import Batch, Task
from batches.services import selectors
from speechportal.platform.keyset import Column, Ordering

MINUTE = 60_000  # ms
LONGEST = 10_000  # minutes: more than any input may have

HEARD_IN = "search_text__batch"  # begins the indexes of what was heard
# Columns of a batch's list that it can be sorted by; ties by primary key.
SORTS = {
    "order": Column("task_order"),
    "name": Column("name"),
    "state": Column("state"),
    "duration": Column("media_duration"),
    "size": Column("input_size"),
    "language": Column("search_text__language", empty_is_none=True, anchor=HEARD_IN),
    "speakers": Column("search_text__speakers", anchor=HEARD_IN),
    "flags": Column("search_text__flags", empty_is_none=True, anchor=HEARD_IN),
    "model": Column("whisper_model", empty_is_none=True),
    "found": Column("task_order"),  # Tasks are numbered as they are found.
    "started": Column("started_at"),
    "finished": Column("finished_at"),
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
        return self.ordering(batch).sort(self.matching(batch)) if self.sort else self.matching(batch)

    def matching(self, batch: Batch) -> QuerySet[Task]:
        """The batch's tasks that match, the newest first."""
        tasks = selectors.list_tasks(batch, self.state, self.q).filter(self.conditions(batch.pk))
        # By primary key, which is the same order, where the index is one of what was heard.
        return tasks.order_by("-pk") if self.is_of_transcripts else tasks

    @property
    def is_of_transcripts(self) -> bool:
        """Whether a condition is on what was heard."""
        return bool(self.language or self.flag or self.speakers is not None)

    def ordering(self, batch: Batch) -> Ordering:
        """Order of the list, by a column of ``SORTS``."""
        column = SORTS[self.sort.removeprefix("-")]
        return Ordering(Task, column, descending=self.sort.startswith("-"), anchor=batch.pk)

    def conditions(self, batch_id: int | None = None) -> Q:
        """Condition on tasks: all but state, text and order.

        With ``batch_id``, the batch that the tasks belong to, its index of what was heard is used.
        """
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
        heard = Q()
        if self.language:
            heard &= Q(search_text__language=self.language)
        if self.speakers is not None:
            heard &= Q(search_text__speakers=self.speakers)
        if self.flag:
            # The first condition bounds a range of an index: most transcripts have no remark.
            heard &= Q(search_text__flags__gt="", search_text__flags__contains=f",{self.flag},")
        if heard and batch_id is not None:
            heard &= Q(**{HEARD_IN: batch_id})
        return found & heard


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
