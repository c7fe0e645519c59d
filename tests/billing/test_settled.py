"""Sums of settled charges: added up once, and exact together with the newest charges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches.billing import budget, selectors, settled, usage
from batches.models import SettledUsage
from batches.operations import dashboard
from speechportal.accounts.models import Account
from tests.factories import make_account, make_batch, make_charge, make_task

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_account_is_large")]
Clock = Callable[[str], None]


@pytest.fixture
def every_account_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled, "LARGE", 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    def is_now(text: str) -> None:
        now = datetime.fromisoformat(text).replace(tzinfo=UTC)
        monkeypatch.setattr(timezone, "now", lambda: now)

    return is_now


@pytest.fixture
def account() -> Account:
    return make_account(monthly_budget=Decimal(100))


def charge(account: Account, amount: str, currency: str = "USD") -> None:
    batch = account.batches.first() or make_batch(account)
    make_charge(make_task(batch, state="completed"), amount=Decimal(amount), currency=currency)


def shown_months(account: Account) -> list[tuple[str, str, int, Decimal]]:
    rows = selectors.charges_by_month(account)
    return [(f"{row['month']:%Y-%m}", row["currency"], row["files"], row["amount"]) for row in rows]


def test_the_budget_counts_settled_and_new_charges(clock: Clock, account: Account) -> None:
    clock("2026-10-31T23:59:59")
    charge(account, "40")  # of another month
    for moment in ("2026-11-01T00:00:00", "2026-11-20T12:00:00"):
        clock(moment)
        charge(account, "0.1001")
    clock("2026-11-25T12:00:00")
    charge(account, "5", "KRW")
    assert budget.spent(account) == Decimal("0.2002")
    settled.settle()
    assert budget.spent(account) == Decimal("0.2002")
    charge(account, "0.0001")
    assert budget.spent(account) == Decimal("0.2003")
    for later in ("2026-11-26T00:00:00", "2026-11-27T00:00:00", "2026-11-30T23:59:59"):
        clock(later)
        assert budget.spent(account) == Decimal("0.2003"), later
        settled.settle()
        assert budget.spent(account) == Decimal("0.2003"), later
    clock("2026-12-01T00:00:00")
    assert budget.spent(account) == 0


def test_only_charges_of_the_last_hours_are_read_again(clock: Clock, account: Account) -> None:
    clock("2026-11-02T12:00:00")
    charge(account, "1")
    clock("2026-11-25T12:00:00")
    assert settled.settle() == 1
    assert settled.edge(timezone.now()) == datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert settled.until(account) == datetime(2026, 11, 25, 11, tzinfo=UTC)
    with CaptureQueriesContext(connection) as asked:
        assert budget.spent(account) == 1
    assert len(asked) == 2
    assert "2026-11-25 11:00" in asked[1]["sql"], "charges from before are not read again"
    assert settled.settle() == 0, "nothing is added up twice"


def test_a_month_at_a_time_is_added_up_and_a_pause_is_skipped(clock: Clock, account: Account) -> None:
    for day in ("03-01", "03-02", "11-01", "11-02"):
        clock(f"2026-{day}T12:29:59.5")
        charge(account, "1")
        charge(account, "2", "KRW")
    clock("2026-11-25T12:00:00")
    assert settled.settle(seconds=-1) == 1, "time is limited"
    assert settled.until(account) == datetime(2026, 3, 31, 12, 15, tzinfo=UTC)
    assert budget.spent(account) == 2
    assert settled.settle() == 1
    quarters = SettledUsage.unscoped.filter(account=account).order_by("created_at", "currency")
    assert [(row.created_at.day, row.currency, row.files, row.amount) for row in quarters[:3]] == [
        (1, "KRW", 1, Decimal(2)),
        (1, "USD", 1, Decimal(1)),
        (2, "KRW", 1, Decimal(2)),
    ]
    assert {(row.created_at.minute, row.created_at.second) for row in quarters} == {(15, 0)}
    assert budget.spent(account) == 2


def test_a_few_charges_are_not_added_up(
    clock: Clock, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "LARGE", 3)
    for day, pieces in (("01", 0), ("02", 0), ("03", 1), ("04", 0), ("05", 0), ("06", 1)):
        clock(f"2026-11-{day}T12:00:00")
        charge(account, "1")
        clock(f"2026-11-{day}T20:00:00")
        assert settled.settle() == pieces, day
        assert budget.spent(account) == int(day)


def test_a_charge_of_a_late_clock_is_counted(clock: Clock, account: Account) -> None:
    clock("2026-11-02T12:00:00")
    charge(account, "1")
    clock("2026-11-25T12:00:00")
    settled.settle()
    clock("2026-11-02T12:30:00")  # of a host whose clock is weeks behind
    charge(account, "2")
    clock("2026-11-25T12:00:00")
    assert budget.spent(account) == 3
    settled.settle()
    assert budget.spent(account) == 3
    assert SettledUsage.unscoped.count() == 2


def test_home_counts_settled_and_new_charges(clock: Clock, account: Account) -> None:
    for moment in ("2026-11-19T12:00:00", "2026-11-24T12:00:00", "2026-11-25T11:59:00"):
        clock(moment)
        charge(account, "1")
    week = datetime(2026, 11, 20, tzinfo=UTC)
    for _ in range(2):
        found = dashboard.numbers(account, week)
        assert (found.files, found.duration) == (2, 3000)
        settled.settle()
    assert SettledUsage.unscoped.count() == 2


def test_months_with_and_without_charges(clock: Clock, account: Account) -> None:
    assert shown_months(account) == []
    made = (
        ("2026-08-31T23:59:59", "1"),
        ("2026-09-01T00:00:00", "2"),
        ("2026-11-25T12:00:00", "3"),
    )
    for moment, amount in made:
        clock(moment)
        charge(account, amount)
    charge(account, "7", "KRW")
    expected = [
        ("2026-11", "KRW", 1, Decimal(7)),
        ("2026-11", "USD", 1, Decimal(3)),
        ("2026-09", "USD", 1, Decimal(2)),
        ("2026-08", "USD", 1, Decimal(1)),
    ]
    assert shown_months(account) == expected
    charge(account, "0.5")
    with CaptureQueriesContext(connection) as asked:
        assert shown_months(account) == [expected[0], ("2026-11", "USD", 2, Decimal("3.5")), *expected[2:]]
    assert len(asked) == 4
    settled.settle()
    assert shown_months(account)[1] == ("2026-11", "USD", 2, Decimal("3.5"))
    with CaptureQueriesContext(connection) as asked:
        shown_months(account)
    sql = asked.captured_queries[-1]["sql"]
    assert "2026-11-01" in sql, "the months before are not read again"
    assert "2026-08" not in sql
    other = make_account()
    charge(other, "9")
    assert shown_months(other) == [("2026-11", "USD", 1, Decimal(9))]


def test_deleted_charges_are_not_counted_on(clock: Clock, account: Account) -> None:
    """Deleted by SQL, since the portal deletes none."""
    for moment, amount in (
        ("2026-09-10T12:00:00", "1"),
        ("2026-11-02T12:00:00", "2"),
        ("2026-11-20T12:00:00", "4"),
    ):
        clock(moment)
        charge(account, amount)
    clock("2026-11-25T12:00:00")
    november = datetime(2026, 11, 1, tzinfo=UTC)

    def shown() -> tuple[list[Decimal], Decimal, Decimal]:
        months = [row["amount"] for row in selectors.charges_by_month(account)]
        days = sum((row["amount"] for row in usage.month_rows(account, november)), Decimal(0))
        return months, days, budget.spent(account)

    for _ in range(2):
        assert shown() == ([Decimal(6), Decimal(1)], Decimal(6), Decimal(6))
        assert settled.settle() in {0, 2}
    for before, expected in (
        ("2026-10-01", ([Decimal(6)], Decimal(6), Decimal(6))),
        ("2026-11-10", ([Decimal(4)], Decimal(4), Decimal(4))),
    ):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM batches_charge WHERE created_at < %s", [before])
        assert shown() == expected
        settled.settle()
        assert shown() == expected
    assert selectors.KEPT_FOR <= 6 * 3600, "what is deleted in the middle of a year is noticed within hours"


def test_pages_of_charges_are_whole_and_in_order_from_both_ends(clock: Clock, account: Account) -> None:
    for minute in range(7):
        clock(f"2026-11-02T12:{minute:02}:00")
        charge(account, "1")
    charges = selectors.charges_in(account, datetime(2026, 11, 1, tzinfo=UTC))
    pages = selectors.ChargePages(charges, 2, 7)
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert [row.pk for page in pages for row in page] == [row.pk for row in charges]
    with CaptureQueriesContext(connection) as asked:
        pages.get_page(999)
    assert [query["sql"].count("OFFSET") for query in asked] == [0], "the last page is read from the end"


def test_another_time_zone_has_other_months(clock: Clock, account: Account) -> None:
    clock("2026-08-31T15:30:00")  # September in Seoul
    charge(account, "1")
    clock("2026-11-25T12:00:00")
    assert [month for month, *_ in shown_months(account)] == ["2026-08"]
    account.time_zone = "Asia/Seoul"
    assert [month for month, *_ in shown_months(account)] == ["2026-09"]


def test_days_around_a_change_of_the_clock(clock: Clock, account: Account) -> None:
    """On 29 March 2026 a day in Berlin has 23 hours."""
    moments = ("2026-03-28T22:59:59", "2026-03-28T23:00:00", "2026-03-29T21:59:59", "2026-03-29T22:00:00")
    for moment in moments:
        clock(moment)
        charge(account, "1")
    march = datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    chart, _costs = usage.daily_charts(usage.month_rows(account, march), march)
    assert {bar.day.day: bar.files for bar in chart.bars if bar.files} == {28: 1, 29: 2, 30: 1}


def test_settled_and_new_charges_of_a_day_and_batch_are_one(clock: Clock, account: Account) -> None:
    """The edge is a midnight in UTC, which is in the middle of a day elsewhere."""
    for moment, amount in (("2026-11-23T23:00:00", "0.1"), ("2026-11-24T01:00:00", "0.2")):
        clock(moment)
        charge(account, amount)
    clock("2026-11-25T12:00:00")
    november = datetime(2026, 11, 1, tzinfo=ZoneInfo("Asia/Seoul"))
    for count in (1, 2):  # Charge by charge, and settled until an hour between the two.
        clock("2026-11-24T01:30:00" if count == 2 else "2026-11-25T12:00:00")
        settled.settle() if count == 2 else None
        clock("2026-11-25T12:00:00")
        rows = usage.month_rows(account, november)
        assert len(rows) == count
        [row] = usage.charges_by(rows, "batch__uid", "batch_name")
        assert (row["files"], row["duration"], row["amount"], row["share"]) == (2, 3000, Decimal("0.3"), 100)
        chart, costs = usage.daily_charts(rows, november)
        assert {bar.day.day: bar.files for bar in chart.bars if bar.files} == {24: 2}
        assert costs.highest == Decimal("0.3")
    charge(account, "0.4")
    assert usage.charges_by(usage.month_rows(account, november), "currency")[0]["amount"] == Decimal("0.7")
