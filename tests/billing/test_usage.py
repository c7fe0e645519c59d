"""Usage of a month by day, batch and domain; alerts of the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.utils import timezone

from batches.billing import usage
from batches.models import Batch, Charge
from batches.operations import dashboard
from batches.status import batch_status
from batches.status.failures import Failure
from tests.factories import make_account, make_batch, make_task

pytestmark = pytest.mark.django_db
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
ChargeOn = Callable[[Batch, int, int], None]


@pytest.fixture
def charge_on(monkeypatch: pytest.MonkeyPatch) -> ChargeOn:
    """Function that creates a charge of some minutes, on a day of November."""

    def charge(batch: Batch, day: int, minutes: int) -> None:
        task = make_task(batch, state="completed")
        with monkeypatch.context() as at:
            at.setattr(timezone, "now", lambda: datetime(2026, 11, day, 12, tzinfo=UTC))
            Charge.unscoped.create(
                account=batch.account,
                batch=batch,
                task=task,
                batch_name=batch.name,
                domain_code=batch.domain.code if batch.domain else "",
                input_name=task.name,
                media_duration=minutes * 60_000,
                amount=Decimal("0.10"),
                currency="USD",
            )

    return charge


def test_a_bar_for_each_day_as_high_as_its_minutes(charge_on: ChargeOn) -> None:
    batch = make_batch()
    charge_on(batch, 1, 10)
    charge_on(batch, 30, 5)
    charge_on(batch, 30, 15)
    chart, costs = usage.daily_charts(usage.month_rows(batch.account, NOVEMBER), NOVEMBER)
    assert len(chart.bars) == 30
    assert (chart.bars[0].height, chart.bars[29].height) == (chart.height / 2, chart.height)
    assert (chart.bars[29].files, chart.bars[29].duration) == (2, 20 * 60_000)
    assert {bar.height for bar in chart.bars[1:29]} == {0.0}
    assert [bar.height for bar in costs.bars if bar.height] == [costs.height / 2, costs.height]
    assert costs.highest == Decimal("0.2")
    last = chart.bars[-1]
    assert last.x + last.width <= chart.width


def test_a_month_without_charges_has_a_flat_chart() -> None:
    account = make_account()
    chart, _ = usage.daily_charts(usage.month_rows(account, NOVEMBER), NOVEMBER)
    assert {bar.height for bar in chart.bars} == {0.0}


def test_sums_by_batch_are_dearest_first_and_only_the_accounts(charge_on: ChargeOn) -> None:
    account = make_account()
    small, large = make_batch(account), make_batch(account)
    charge_on(small, 2, 1)
    charge_on(large, 2, 1)
    charge_on(large, 3, 4)
    charge_on(make_batch(), 2, 1)
    rows = usage.charges_by(usage.month_rows(account, NOVEMBER), "batch__uid", "batch_name")
    assert [(row["batch_name"], row["files"], row["amount"]) for row in rows] == [
        (large.name, 2, Decimal("0.2")),
        (small.name, 1, Decimal("0.1")),
    ]
    assert [row["share"] for row in rows] == [100, 20]


def test_matters_are_told_worst_first() -> None:
    account = make_account()
    paused, broken, failing = (make_batch(account, name=name) for name in ("paused", "broken", "failing"))
    make_task(failing, state="failed")
    make_task(failing, state="failed")
    Batch.unscoped.filter(pk=paused.pk).update(paused_at=timezone.now())
    batch_status.set_error(broken.pk, Failure("bucket_missing", "There is no such bucket.", {}))
    make_task(make_batch(), state="failed")  # Another account's.
    found = dashboard.alerts(account)
    assert [(matter.kind, matter.title) for matter in found] == [
        ("error", "broken"),
        ("failed", "failing"),
        ("paused", "paused"),
    ]
    assert found[1].detail == "2 files failed within the last 7 days."
