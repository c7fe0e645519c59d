"""`DateFilter`: rows of some days, in admin lists that page by primary key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib.admin import ListFilter, ModelAdmin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

FIELD = "created_at"
SINCE, UNTIL = "since", "until"  # parameters: the first and the last day, ISO 8601
# Rows that are written at once may have times in another order than their keys: so many more are looked at.
NEIGHBOURS = 1000


class DateFilter(ListFilter):
    """Filter by the days on which rows were created, in the time zone of the staff member.

    The days are turned into a range of primary keys, found by bisection, so that the cost of the list does
    not grow with the table. A day that is not a date is ignored.
    """

    title = _("date")
    template = "admin/portal/date_filter.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: ModelAdmin[Any]
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.since, self.until = (_day(params.pop(name, [""])[-1]) for name in (SINCE, UNTIL))
        self.others: list[tuple[str, str]] = []
        self.without = "?"

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [SINCE, UNTIL]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since is not None:
            start = _start_of(self.since)
            queryset = queryset.filter(
                pk__gte=_first_key(queryset.model, start) - NEIGHBOURS, **{f"{FIELD}__gte": start}
            )
        if self.until is not None and self.until < date.max:
            end = _start_of(self.until + timedelta(days=1))
            queryset = queryset.filter(
                pk__lt=_first_key(queryset.model, end) + NEIGHBOURS, **{f"{FIELD}__lt": end}
            )
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """No links: the template has fields for the days, and sends the other filters along."""
        kept = {name: values for name, values in changelist.get_filters_params().items() if values}
        self.others = [
            (name, str(value))
            for name, values in kept.items()
            if name not in {SINCE, UNTIL}
            for value in (values if isinstance(values, list) else [values])
        ]
        if changelist.query:
            self.others.append((SEARCH_VAR, changelist.query))
        self.without = changelist.get_query_string(remove=[SINCE, UNTIL])
        return iter(())


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _start_of(day: date) -> datetime:
    # Years at the ends of the calendar cannot be moved into another time zone.
    day = min(max(day, date(2, 1, 1)), date(9998, 12, 31))
    return timezone.make_aware(datetime.combine(day, time.min))


def _first_key(model: type[Model], moment: datetime) -> int:
    """Smallest primary key of a row created at ``moment`` or later; above all keys if there is none."""
    rows = model._base_manager.order_by("pk").values_list("pk", FIELD)
    first, last = rows.first(), rows.last()
    if first is None or last is None:
        return 0
    low, high = int(first[0]), int(last[0]) + 1
    while low < high:
        middle = (low + high) // 2
        found = rows.filter(pk__gte=middle).first()
        if found is None or found[1] >= moment:
            high = middle
        else:
            low = int(found[0]) + 1
    return low
