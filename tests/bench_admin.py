"""``python -m tests.bench_admin``: support staff's pages over a million rows of each large table.

The rows belong to accounts of very different sizes, most of them to one. Everything runs on the database of
``SPEECHPORTAL_DATABASE_URL``, or on a SQLite file of its own: ``.ci/with-postgres .venv/bin/python -m
tests.bench_admin`` measures PostgreSQL. Ends with status 1 when a page takes more than a quarter of a second,
or more than a second where it counts (the first page, an account's) or searches everything.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from typing import Any

ACCOUNTS = 200
MOST = 0.25
MOST_OVER_ALL = 1.0


def fill(model: Any, template: Any, count: int, changed: dict[str, str]) -> None:
    """``count`` copies of a row, made inside the database; ``changed`` is SQL of their number ``i``."""
    from django.db import connection

    names = [str(field.column) for field in model._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(changed.get(name, f"t.{name}") for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({', '.join(names)})"  # noqa: S608 - no word of it comes from outside
            f" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {int(count)})"
            f" SELECT {columns} FROM n, {model._meta.db_table} t WHERE t.id = {int(template.pk)}"
        )


class Bench:
    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.broken: list[str] = []

    def make(self) -> None:
        from django.db import connection

        from batches import models
        from speechportal.accounts.models import AuditEntry
        from tests import factories
        from tests.admin.staff import member_of
        from tests.webhooks.makers import make_delivery, make_hooked_batch

        started = time.perf_counter()
        self.batches = [make_hooked_batch("http://127.0.0.1:1/") for _ in range(ACCOUNTS)]
        first = self.batches[0]
        task = factories.make_task(first, "call.mp3", state="completed", media_duration=60_000)
        result = models.ExecutionResult.unscoped.create(
            account=first.account, batch=first, connection=first.connection, number=1, task_count=1
        )
        # Of ten rows nine are the first account's; the last one's are few, and old.
        of = {name: self.owner(name) for name in ("account_id", "batch_id", "connection_id")}
        fill(
            models.Task,
            task,
            self.rows,
            {
                **of,
                "uid": "'tsk_' || i",
                "task_order": "i + 10",
                "name": "'calls/' || (i % 977) || '/call-' || i || '.mp3'",
                "input_key": "'in/' || i",
                "input_version": "'v' || i",
                "state": "CASE WHEN i % 5000 = 0 THEN 'failed' ELSE t.state END",
                "error_code": "CASE WHEN i % 5000 = 0 THEN 'not_media' ELSE '' END",
            },
        )
        fill(
            models.ExecutionResult, result, self.rows // 10, {**of, "uid": "'exr_' || i", "number": "i + 10"}
        )
        delivery = make_delivery(first)
        models.Delivery.unscoped.filter(pk=delivery.pk).update(task=task)
        ids = f"{task.pk} + i"
        fill(
            models.Delivery,
            delivery,
            self.rows,
            {
                **of,
                "uid": "'msg_' || i",
                "about": "'tsk_' || i",
                "task_id": ids,
                "state": "CASE WHEN i % 5000 = 0 THEN 'waiting' ELSE 'delivered' END",
                "ended_at": "CASE WHEN i % 5000 = 0 THEN NULL ELSE t.created_at END",
            },
        )
        charge = models.Charge.unscoped.create(
            account=first.account,
            batch=first,
            task=task,
            batch_name="calls",
            input_name="call.mp3",
            media_duration=1,
            amount="0.1",
            currency="USD",
        )
        fill(models.Charge, charge, self.rows, {**of, "uid": "'chg_' || i", "task_id": ids})
        entry = AuditEntry.unscoped.filter(target_uid=first.uid).first()
        assert entry is not None
        uid = "'bat_' || (i % 5000)"
        fill(
            AuditEntry,
            entry,
            self.rows,
            {"account_id": of["account_id"], "uid": "'aud_' || i", "target_uid": uid},
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_database_size(current_database())")
            else:
                cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            (size,) = cursor.fetchone()
        self.staff = member_of("administrator")
        taken = time.perf_counter() - started
        print(f"{self.rows:,} rows of each: {size / 1e9:.2f} GB, made in {taken:.0f} s", flush=True)

    def owner(self, column: str) -> str:
        """SQL for the owner of row i: nine of ten the first batch, but the last one for the first fifty."""
        name = column.removesuffix("_id")
        ids = [batch.pk if name == "batch" else getattr(batch, column) for batch in self.batches]
        low = min(ids)
        assert ids == list(range(low, low + len(ids)))
        return (
            f"CASE WHEN i <= 50 THEN {ids[-1]} WHEN i % 10 > 0 THEN {low} ELSE {low} + i % {len(ids) - 1} END"
        )

    def measure(self) -> None:
        from tests.clients import Client

        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(self.staff)
        big, small = self.batches[0], self.batches[-1]
        lists = {
            "batches/task": [
                "state=failed",
                "state=waiting",
                "q=call-77",
                "q=calls/12",
                "q=tsk_500000",
                "q=nothing",
            ],
            "batches/delivery": ["state=waiting", "state=failed", "task=tsk_7", "q=msg_500000", "q=nothing"],
            "batches/charge": ["q=chg_500000", "q=tsk_500000", "q=nothing"],
            "batches/executionresult": ["q=exr_500", "q=nothing"],
            "accounts/auditentry": ["target=bat_77", "q=bat_77", "q=nothing"],
        }
        for name, queries in lists.items():
            whose = [f"account={each.account.uid}" for each in (big, small)]
            if name != "accounts/auditentry":
                whose += [f"batch={each.uid}" for each in (big, small)]
            if name in {"batches/task", "batches/delivery"}:
                whose += [f"{each}&state=failed" for each in whose]
            for query in ["", f"before={self.rows // 2}", *whose, *queries]:
                self.page(client, f"/admin/{name}/?{query}", MOST)
        self.page(client, f"/admin/batches/batch/{big.pk}/change/", MOST)
        self.page(client, f"/admin/accounts/account/{big.account_id}/change/", MOST_OVER_ALL)
        self.page(client, "/admin/", MOST_OVER_ALL)
        self.page(client, "/metrics", MOST_OVER_ALL)
        for text in ("tsk_500000", big.uid, "call-77", "nobody@example.com"):
            self.page(client, f"/admin/search/?q={text}", MOST_OVER_ALL)

    def page(self, client: Any, address: str, most: float) -> None:
        from speechportal.platform import metrics
        from tests.query_times import query_times

        best, slowest, queries = float("inf"), (0.0, ""), 0
        for _ in range(3):
            metrics.forget()
            started = time.perf_counter()
            with query_times() as spent:
                status = client.get(address).status_code
            taken = time.perf_counter() - started
            assert status in {200, 302}, (address, status)
            if taken < best:
                best, slowest, queries = taken, max(spent), len(spent)
        kept = best <= most
        print(
            f"  {'kept  ' if kept else 'BROKEN'} {1000 * best:7.0f} ms, {queries:2} queries  {address}",
            flush=True,
        )
        if not kept:
            self.broken.append(address)
            print(f"         {1000 * slowest[0]:.0f} ms: {slowest[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_admin", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="speechportal-admin-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        bench = Bench(options.rows)
        bench.make()
        bench.measure()
    print(f"{len(bench.broken)} pages are too slow" if bench.broken else "every page is quick")
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
