"""Keyword statistics: how often each keyword was recognised lately, and accepted or refused by the decoder.

Counts are per keyword and day, so that their number depends on the keywords in use and not on the tasks. They
are informative only: those of a task are written after it has finished, and lost if the worker dies then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import F, Max, Q, QuerySet, Sum
from django.utils import timezone

from domains.models import Domain, Keyword, KeywordUse

LATELY = timedelta(days=30)  # period of the shown counts
KEPT = timedelta(days=180)  # retention of the daily counts


@dataclass(slots=True)
class Counts:
    """Counts of one keyword in one recording.

    ``heard``: occurrences in its text. ``accepted``: times that boosting made the decoder choose it.
    ``refused``: times that it was tried, but too unlikely given the audio.
    """

    heard: int = 0
    accepted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """Recent use of one keyword; ``last_*`` are days, or None if there is none within ``KEPT``."""

    keyword: str
    heard: int = 0
    accepted: int = 0
    refused: int = 0
    last_heard: date | None = None
    last_accepted: date | None = None
    last_refused: date | None = None


def note(domain: Domain, counts: Mapping[str, Counts]) -> None:
    """Add the counts of one recording to today's, for keywords that the domain still has."""
    if not counts:
        return
    today = timezone.localdate()
    texts = {text.lower(): each for text, each in counts.items()}
    keywords = Keyword.unscoped.filter(domain=domain).values_list("pk", "text")
    own = {pk: texts[text.lower()] for pk, text in keywords if text.lower() in texts}
    rows = KeywordUse.unscoped.filter(day=today, keyword__in=own)
    if len(known := set(rows.values_list("keyword_id", flat=True))) < len(own):
        new = [KeywordUse(keyword_id=pk, day=today) for pk in own if pk not in known]
        KeywordUse.unscoped.bulk_create(new, ignore_conflicts=True)
        KeywordUse.unscoped.filter(keyword__domain=domain, day__lt=today - KEPT).delete()
    for pks, each in _alike(own):
        # One statement for all keywords with these counts, outside of any transaction, to avoid deadlocks.
        KeywordUse.unscoped.filter(day=today, keyword__in=pks).update(
            heard=F("heard") + each.heard,
            accepted=F("accepted") + each.accepted,
            refused=F("refused") + each.refused,
        )


def _alike(own: Mapping[int, Counts]) -> Iterable[tuple[list[int], Counts]]:
    """Group keywords by their counts, which are the same for most."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for pk, each in sorted(own.items()):
        groups.setdefault((each.heard, each.accepted, each.refused), []).append(pk)
    return [(pks, Counts(*key)) for key, pks in groups.items()]


def lately(domain: Domain) -> list[Use]:
    """Recent use of each of the domain's keywords, in their order."""
    return of_keywords(Keyword.unscoped.filter(domain=domain).order_by("text", "pk"))


def of_keywords(keywords: QuerySet[Keyword]) -> list[Use]:
    """Recent use of these keywords."""
    recent = Q(use__day__gt=timezone.localdate() - LATELY)
    sums = {name: Sum(f"use__{name}", filter=recent, default=0) for name in ("heard", "accepted", "refused")}
    days = {
        f"last_{name}": Max("use__day", filter=Q(**{f"use__{name}__gt": 0}))
        for name in ("heard", "accepted", "refused")
    }
    renamed = {f"recent_{name}": total for name, total in sums.items()}
    rows = keywords.annotate(**renamed, **days).values("text", *renamed, *days)
    return [
        Use(
            row["text"],
            *(row[f"recent_{name}"] for name in sums),
            *(row[name] for name in days),
        )
        for row in rows
    ]
