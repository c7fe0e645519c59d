"""Usage of a month: charges by day, batch and domain, and the state of the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypedDict, cast

from django.db.models import QuerySet

from batches.billing import budget, selectors, settled
from batches.billing.money import MoneySum
from batches.models import Adjustment
from speechportal.accounts.models import Account

THRESHOLDS = (50, 80, 100)  # per cent of the budget at which an alert is sent
CHART_WIDTH, CHART_HEIGHT, GAP = 720, 120, 4  # SVG units


class UsageRow(TypedDict):
    day: date
    batch__uid: str
    batch_name: str
    domain_code: str
    currency: str
    files: int
    duration: int  # ms
    amount: Decimal


class CorrectedTotal(TypedDict):
    currency: str
    amount: Decimal


@dataclass(frozen=True)
class Bar:
    """Bar of one day in a chart, in SVG units."""

    day: date
    files: int
    duration: int  # ms
    amount: Decimal
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Horizontal position of its label."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True)
class Chart:
    bars: Sequence[Bar]
    highest: int | Decimal  # in ms, or an amount
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT


@dataclass(frozen=True)
class BudgetState:
    limit: Decimal
    spent: Decimal
    percent: int
    reached: int  # the highest threshold that is reached; 0: none

    @property
    def is_used_up(self) -> bool:
        return self.percent >= 100


def month_rows(account: Account, month: datetime) -> list[UsageRow]:
    """Sums of the month's charges by day, batch, domain and currency.

    A day and a batch may have more than one row: of settled charges, and of new ones.
    """
    days = [month.date() + timedelta(days=number) for number in range(_days_of(month))]
    midnights = [datetime.combine(day, time.min, month.tzinfo) for day in days]
    found = settled.sources(account, month, selectors.next_month(month)).sums(
        settled.period_of(midnights), "batch__uid", "batch_name", "domain_code", "currency"
    )
    return [cast("UsageRow", {"day": days[row.pop("period")], **row}) for row in found]


def charges_by(rows: Iterable[UsageRow], *fields: str) -> list[dict[str, Any]]:
    """Files, duration and amount for each value of ``fields`` and currency, the highest amount first.

    ``share`` is the duration in per cent of the longest, for a bar.
    """
    found = list(_summed(rows, *fields, "currency").values())
    found.sort(key=lambda row: (-row["amount"], *(row[field] for field in fields)))
    longest = max((row["duration"] for row in found), default=0)
    return [{**row, "share": round(100 * row["duration"] / longest) if longest else 0} for row in found]


def _summed(rows: Iterable[UsageRow], *fields: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Sum files, duration and amount of the rows, grouped by ``fields``."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        values = {field: row[field] for field in fields}  # type: ignore[literal-required] # names of its keys
        total = found.setdefault(
            tuple(values.values()), {**values, "files": 0, "duration": 0, "amount": Decimal(0)}
        )
        total["files"] += row["files"]
        total["duration"] += row["duration"]
        total["amount"] += row["amount"]
    return found


def daily_charts(rows: Iterable[UsageRow], month: datetime) -> tuple[Chart, Chart]:
    """Two charts with a bar for each day of the month: duration of media, and amount charged."""
    found = {day: row for (day,), row in _summed(rows, "day").items()}
    return _chart(found, month, "duration"), _chart(found, month, "amount")


def _days_of(month: datetime) -> int:
    return (selectors.next_month(month).date() - month.date()).days


def _chart(found: Mapping[date, Mapping[str, Any]], month: datetime, measure: str) -> Chart:
    first, count = month.date(), _days_of(month)
    highest = max((row[measure] for row in found.values()), default=0)
    step = CHART_WIDTH / count
    bars = []
    for number in range(count):
        day = first + timedelta(days=number)
        row = found.get(day, {"files": 0, "duration": 0, "amount": Decimal(0)})
        height = round(float(CHART_HEIGHT * row[measure] / highest), 1) if highest else 0.0
        bars.append(
            Bar(
                day=day,
                files=row["files"],
                duration=row["duration"],
                amount=row["amount"],
                x=round(number * step + GAP / 2, 1),
                y=round(CHART_HEIGHT - height, 1),
                width=round(step - GAP, 1),
                height=height,
            )
        )
    return Chart(bars, highest)


def budget_state(account: Account) -> BudgetState | None:
    """State of this month's budget; ``None`` without a budget."""
    if account.monthly_budget is None:
        return None
    spent = budget.spent(account)
    percent = int(100 * spent / account.monthly_budget) if account.monthly_budget else 100
    reached = max((each for each in THRESHOLDS if percent >= each), default=0)
    return BudgetState(account.monthly_budget, spent, percent, reached)


def corrections_in(account: Account, month: datetime) -> QuerySet[Adjustment]:
    """Adjustments of the month's charges, including later ones, so that they add up to its net amount."""
    corrections = Adjustment.objects.for_account(account).select_related("charge__batch", "charge__task")
    end = selectors.next_month(month)
    return corrections.filter(charge__created_at__gte=month, charge__created_at__lt=end).order_by("-pk")


def corrected_totals(corrections: QuerySet[Adjustment]) -> list[CorrectedTotal]:
    """Total of the adjustments by currency."""
    rows = corrections.order_by().values("currency").annotate(amount=MoneySum("amount")).order_by("currency")
    return cast("list[CorrectedTotal]", list(rows))
