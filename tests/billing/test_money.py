"""Money: sums are exact on every database, and months are the account's."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from unittest import mock

import pytest
from django.utils import timezone

from batches.billing import budget, selectors, usage
from batches.billing.money import MoneySum
from batches.models import Charge
from speechportal.accounts.models import Account
from tests.clients import Client
from tests.factories import make_account, make_batch, make_charge, make_task, make_user

pytestmark = pytest.mark.django_db


def charges(account: Account, amounts: list[str]) -> None:
    batch = make_batch(account)
    for amount in amounts:
        make_charge(make_task(batch, state="completed"), amount=Decimal(amount))


def test_sums_have_no_error_of_floating_point() -> None:
    account = make_account(monthly_budget=Decimal(1000))
    amounts = ["0.1", "0.2", "0.3", "1.1001", "99999999.9999", *["33.4033"] * 15]
    charges(account, amounts)
    expected = sum(map(Decimal, amounts), Decimal())
    total = Charge.unscoped.filter(account=account).aggregate(total=MoneySum("amount"))["total"]
    assert str(total) == str(expected.quantize(Decimal("0.0001")))
    assert budget.spent(account) == expected
    month = selectors.charges_by_month(account)[0]
    assert str(month["amount"]) == str(total)
    found = usage.month_rows(account, budget.month_start(timezone.now(), account.zone))
    assert str(usage.charges_by(found, "batch_name")[0]["amount"]) == str(total)


def test_nothing_is_a_sum_of_nothing() -> None:
    account = make_account(monthly_budget=Decimal(1))
    assert Charge.unscoped.aggregate(total=MoneySum("amount"))["total"] is None
    assert budget.spent(account) == 0


def test_budget_and_usage_have_the_same_month() -> None:
    """At 20:00 UTC on 31 October it is November in Seoul."""
    account = make_account("Seoul", make_user("alice@example.com"), time_zone="Asia/Seoul")
    Account.objects.filter(pk=account.pk).update(monthly_budget=100)
    account.refresh_from_db()
    moment = datetime(2026, 10, 31, 20, tzinfo=UTC)
    with mock.patch("django.utils.timezone.now", return_value=moment):
        charges(account, ["7"])
    with mock.patch("django.utils.timezone.now", return_value=datetime(2026, 11, 20, tzinfo=UTC)):
        assert budget.spent(account) == 7
    with mock.patch("django.utils.timezone.now", return_value=datetime(2026, 10, 30, tzinfo=UTC)):
        assert f"{budget.month_start(timezone.now(), account.zone):%Y-%m}" == "2026-10"
    assert [f"{row['month']:%Y-%m}" for row in selectors.charges_by_month(account)] == ["2026-11"]
    client = Client()
    client.force_login(account.members.get())
    page = client.get("/usage/?month=2026-11").content.decode()
    assert "Asia/Seoul" in page
    assert '<option value="2026-11" selected>' in page
    assert "7.00" in page
    export = client.get("/usage/2026-11.csv").getvalue().decode()
    assert "2026-11-01T05:00:00+09:00" in export


def test_a_time_zone_must_exist() -> None:
    alice = make_user("alice@example.com")
    account = make_account("Acme", alice)
    client = Client()
    client.force_login(alice)
    form = {"name": "Acme", "monthly_budget": "", "time_zone": "Mars/Olympus"}
    assert client.post("/account/settings/", form).status_code == 200
    account.refresh_from_db()
    assert account.time_zone == "UTC"
    assert client.post("/account/settings/", {**form, "time_zone": "Asia/Seoul"}).status_code == 302
    account.refresh_from_db()
    assert account.zone.key == "Asia/Seoul"
