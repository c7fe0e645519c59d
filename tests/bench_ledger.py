"""``python -m tests.bench_ledger``: sums over a million charges are exact and quick.

Runs on the database of ``SPEECHPORTAL_DATABASE_URL``, or on a SQLite file of its own, as
``tests.bench_scale``. Measures an account whose charges spread over a year, and one whose charges are all of
the present month. Ends with status 1 when a sum is wrong or a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from decimal import Decimal
from functools import partial
from typing import Any

from tests.bench_scale import Bench, seconds

LEAST, KINDS = 5_011_000, 9_973  # ten-thousandths: amounts that binary fractions do not hold exactly


class LedgerBench(Bench):
    def charge(self, batch: Any, count: int, apart: float) -> None:
        """Insert a charge for each of the batch's tasks: ``apart`` seconds between two, the last one now."""
        from django.db import connection

        units = f"({LEAST} + task_order %% {KINDS})"
        before = f"({count} - task_order) * {apart}"
        if connection.vendor == "sqlite":
            # Text with six decimals, as Django writes it; a quotient of integers is the nearest float.
            at = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now', '-' || ({before}) || ' seconds')"
            amount = f"{units} / 10000.0"
        else:
            at, amount = f"now() - ({before}) * interval '1 second'", f"{units}::numeric / 10000"
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO batches_charge (uid, account_id, batch_id, task_id, batch_name, domain_code,"  # noqa: S608 - no word of it comes from outside
                " whisper_model, speaker_model, input_name, media_duration, amount, currency, created_at)"
                f" SELECT 'chg_' || id, account_id, batch_id, id, 'calls', 'calls', '', '', name, 60000,"
                f" {amount}, 'USD', {at} FROM batches_task WHERE batch_id = %s",
                [batch.pk],
            )
            cursor.execute("ANALYZE")

    def measure(self, title: str, count: int, apart: float) -> None:
        from django.core.cache import cache
        from django.urls import reverse
        from django.utils import timezone

        from batches.billing import budget, selectors
        from batches.models import Charge
        from batches.operations import dashboard
        from speechportal.accounts.tokens.api_tokens import create_token
        from tests.clients import Client
        from tests.factories import add_member, make_user

        batch = self.batch(1)
        account = batch.account
        account.monthly_budget, account.currency = Decimal(10**9), "USD"
        account.save()
        print(f"{title}: {count:,} charges", flush=True)
        self.fill(batch, count)
        print(f"    inserted in {seconds(partial(self.charge, batch, count, apart)):.1f} s", flush=True)

        first = Charge.unscoped.filter(batch=batch).order_by("task__task_order").first()
        assert first is not None
        start = first.task.task_order
        exact = [Decimal(LEAST + order % KINDS) / 10_000 for order in range(start, start + count)]
        cache.clear()
        cold = seconds(partial(selectors.charges_by_month, account))
        warm = min(seconds(partial(selectors.charges_by_month, account)) for _ in range(3))
        months = selectors.charges_by_month(account)
        self.promise(sum(row["amount"] for row in months) == sum(exact), "the months add up exactly")
        self.promise(sum(row["files"] for row in months) == count, f"{len(months)} months have all charges")
        print(f"    months: {1000 * cold:.0f} ms, then {1000 * warm:.0f} ms")

        month = budget.month_start(timezone.now(), account.zone)
        own = Charge.unscoped.filter(batch=batch, created_at__gte=month).count()
        cache.clear()
        cold = seconds(partial(budget.spent, account))
        warm = min(seconds(partial(budget.spent, account)) for _ in range(5))
        self.promise(budget.spent(account) == sum(exact[count - own :]), f"{own:,} charges are spent exactly")
        print(f"    budget: {1000 * cold:.0f} ms, then {1000 * warm:.1f} ms")
        self.promise(warm < 0.1, f"a claim asks the budget in {1000 * warm:.1f} ms (100 ms at most)")
        today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        spent = min(seconds(partial(dashboard.numbers, account, today)) for _ in range(3))
        self.promise(spent < 0.1, f"figures of the dashboard: {1000 * spent:.1f} ms (100 ms at most)")

        user = make_user(f"{title.split()[0]}@example.com", "password")
        add_member(account, user, "owner")
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(user)
        _token, plain = create_token(account=account, created_by=user, name="bench", scopes=["read"])
        program = Client(headers={"host": "127.0.0.1", "authorization": f"Bearer {plain}"})
        usage = reverse("usage:list")
        for name, asker, address, most in (
            ("usage", client, usage, 1.0),
            ("the last page of it", client, f"{usage}?page=999999", 1.0),
            ("home", client, reverse("home"), 0.1),
            ("months by the API", program, "/api/v1/usage", 1.0),
            ("charges by the API", program, "/api/v1/charges", 0.1),
            ("the account by the API", program, "/api/v1/account", 0.1),
        ):
            taken, queries, status = self._database_time(partial(asker.get, address))
            assert status == 200, (name, status)
            self.promise(
                taken < most,
                f"{name}: {1000 * taken:.1f} ms in {queries} queries ({1000 * most:.0f} ms at most)",
            )
            print(f"          slowest {1000 * self.slowest[0]:.1f} ms: {self.slowest[1][:300]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_ledger", description=__doc__)
    parser.add_argument("--charges", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["year", "month"], action="append")
    options = parser.parse_args()
    only = options.only or ["year", "month"]
    with tempfile.TemporaryDirectory(prefix="speechportal-ledger-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        bench = LedgerBench(port=0, rounds=1)
        if "year" in only:
            bench.measure("year of an account", options.charges, 365 * 86_400 / options.charges)
        if "month" in only:
            bench.measure("month of an account", options.charges, 26 * 86_400 / options.charges)
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
