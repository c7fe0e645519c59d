"""``python -m tests.bench_growth``: many accounts on PostgreSQL, and the plans of the hot queries.

Fills accounts, batches, tasks and charges inside the database (``generate_series``), says what they take on
the disk, and looks at the plan of each query that pages, claims, polls, search and retention make: one that
reads a large table from end to end breaks a promise, as does one that is slow. Then it measures claims by
many workers at once, and the outbox. ``.ci/with-postgres .venv/bin/python -m
tests.bench_growth --tasks 10000000 --accounts 1000`` is the whole of it. Ends with status 1 when a promise is
broken.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

BATCHES = 4  # of each account
LARGE = ("batches_task", "batches_charge", "batches_delivery", "accounts_auditentry", "batches_searchtext")
LIMIT = 0.1  # seconds of database time for each page and step
DAYS = 365  # over which the finished tasks are spread


class Growth:
    """The filled database, with the expectations that it must meet and those that it did not."""

    def __init__(self, tasks: int, accounts: int, limit: float = LIMIT) -> None:
        self.tasks, self.accounts, self.limit = tasks, accounts, limit
        self.broken: list[str] = []

    def promise(self, fact: bool, sentence: str) -> None:
        print(f"  {'kept  ' if fact else 'BROKEN'}  {sentence}", flush=True)
        if not fact:
            self.broken.append(sentence)

    # --- Filling -----------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Insert rows like real ones: one in fifty failed, two in a thousand waiting."""
        from django.db import connection

        started = time.perf_counter()
        batches = self._accounts_with_batches()
        from batches.models import Task
        from tests.factories import make_task

        model = make_task(batches[0], "0.mp3", state=Task.State.COMPLETED, media_duration=60_000)
        each = self.tasks // len(batches)
        columns = [str(field.column) for field in Task._meta.concrete_fields if field.column != "id"]
        done = f"now() - (number %% {DAYS}) * interval '1 day'"
        failed = "WHEN number %% 50 = 1 THEN 'failed'"
        state = f"CASE WHEN number %% 500 = 0 THEN 'waiting' {failed} ELSE 'completed' END"
        values = {
            "uid": "'tsk_' || batch.id || 'g' || number",
            "account_id": "batch.account_id",
            "batch_id": "batch.id",
            "connection_id": "batch.connection_id",
            "task_order": "number",
            "input_key": "'in/' || number || '.mp3'",
            "input_version": "'1'",
            "name": "'call-' || number || '.mp3'",
            "state": state,
            "finished_at": f"CASE WHEN number %% 500 = 0 THEN NULL ELSE {done} END",
            "error_code": "CASE WHEN number %% 50 = 1 AND number %% 500 <> 0 THEN 'not_media' ELSE '' END",
            "created_at": done,
        }
        selected = ", ".join(values.get(column, f"model.{column}") for column in columns)
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # Limits are not what is measured.
            cursor.execute(
                f"INSERT INTO batches_task ({', '.join(columns)}) SELECT {selected}"  # noqa: S608 - own text
                " FROM batches_batch batch, generate_series(2, %s) number, batches_task model"
                " WHERE model.id = %s",
                [each + 1, model.pk],
            )
            self._follow(cursor)
            cursor.execute("SET session_replication_role = DEFAULT")
            cursor.execute("UPDATE batches_batch SET last_task_order = %s", [each + 1])
            cursor.execute("VACUUM ANALYZE")
        print(f"Filled in {time.perf_counter() - started:.0f} s", flush=True)

    def _accounts_with_batches(self) -> list[Any]:
        from tests.factories import make_account, make_batch

        found = []
        for _ in range(self.accounts):
            account = make_account(price_per_file="0.10")
            found += [make_batch(account) for _ in range(BATCHES)]
        return found

    @staticmethod
    def _follow(cursor: Any) -> None:
        """Insert a charge and a delivered message for each completed task."""
        cursor.execute(
            "INSERT INTO batches_charge (uid, account_id, batch_id, task_id, batch_name, domain_code,"
            " whisper_model, speaker_model, input_name, media_duration, amount, currency, created_at)"
            " SELECT 'chg_' || id, account_id, batch_id, id, 'batch', 'calls', 'base', 'senko', name, 60000,"
            " 0.1, 'USD', finished_at FROM batches_task WHERE state = 'completed'"
        )

    def sizes(self) -> None:
        from django.db import connection

        print("On the disk, with indexes", flush=True)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname, pg_total_relation_size(oid), reltuples FROM pg_class"
                " WHERE relkind = 'r' AND reltuples > 1000 ORDER BY 2 DESC LIMIT 8"
            )
            for name, size, rows in cursor.fetchall():
                print(
                    f"    {name}: {size / 1e6:,.0f} MB, {size / rows:,.0f} bytes for each of {rows:,.0f} rows"
                )

    # --- Plans -------------------------------------------------------------------------------------------

    def plans(self) -> None:
        """Run each step once, and explain all its queries."""
        print("Queries of pages and steps: the whole time, and what reads a large table from end to end")
        for name, step in self._steps():
            step()  # warms up
            with explained() as found:
                step()
            total = sum(took for took, _sql, _plan in found)
            scans = sorted({table for _took, _sql, plan in found for table in whole_reads(plan)})
            fact = not scans and total < self.limit
            self.promise(
                fact,
                f"{name}: {1000 * total:.1f} ms, {len(found)} queries{', reads ' if scans else ''}"
                f"{' and '.join(scans)}",
            )
            if not fact:
                took, sql, _plan = max(found)
                print(f"          {1000 * took:.1f} ms: {sql[:300]}")

    def _steps(self) -> list[tuple[str, Callable[[], object]]]:
        from django.urls import reverse
        from django.utils import timezone

        from batches.intake import poll_schedule
        from batches.models import Batch
        from batches.operations import health, metrics
        from batches.operations.privacy import retention
        from batches.reports import execution_results
        from batches.tasks import lifecycle, model_hosts, scheduling
        from batches.webhooks import delivery_lifecycle
        from batches.worker import moving
        from tests.clients import Client
        from tests.factories import add_member, make_user

        batch = Batch.unscoped.order_by("pk")[self.accounts]
        user = make_user("bench@example.com", "password")
        add_member(batch.account, user, "owner")
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(user)
        page = reverse("batches:detail", args=[batch.uid])
        addresses = {
            "list of batches": reverse("batches:list"),
            "list of tasks": page,
            "failed tasks": f"{page}?state=failed",
            "home": reverse("home"),
            "usage": reverse("usage:list"),
            "search": f"{reverse('transcripts')}?q=morning",
        }
        now = timezone.now()
        pages: list[tuple[str, Callable[[], object]]] = [
            (f"page: {name}", partial(client.get, address)) for name, address in addresses.items()
        ]
        return [
            *pages,
            ("claim", lambda: lifecycle.release(claimed(scheduling), None, count_attempt=False)),
            ("polls that are due", lambda: list(poll_schedule.pollable(now)[:20])),
            ("wake-ups", lambda: scheduling.claimable()[:50].count()),
            ("leases that ended", lifecycle.reap),
            ("inputs to move", moving.due),
            ("execution results", execution_results.due),
            ("deliveries", lambda: delivery_lifecycle.ready_channels(now)),
            ("models that nobody serves", model_hosts.waiting_for_models),
            ("overdue work", health.ages),
            ("metrics", lambda: [list(each()) for each in (metrics.tasks, metrics.speed, metrics.failures)]),
            ("retention", retention.enforce),
        ]

    # --- Rates -------------------------------------------------------------------------------------------

    def claims(self, workers: int, each: int) -> None:
        from django.db import connection

        from batches.models import Task
        from batches.tasks import scheduling

        waits: list[float] = []
        tasks: list[int] = []
        wanted = min(workers * each, Task.unscoped.filter(state=Task.State.WAITING).count())

        def work() -> None:
            for _ in range(each):
                started = time.perf_counter()
                lease = scheduling.claim_next("bench:1")
                waits.append(time.perf_counter() - started)
                if lease is not None:
                    tasks.append(lease.task_id)
            connection.close()

        taken = in_threads(work, workers)
        waits.sort()
        rate = len(tasks) / taken
        half = waits[len(waits) // 2]
        print(f"Claims by {workers} workers at once: {rate:.0f} a second, half within {half:.2f} s")
        self.promise(len(tasks) == len(set(tasks)) == wanted, f"{wanted} claims, each of a task of its own")

    def outbox(self, messages: int) -> None:
        """Announce, claim and record messages, without the network."""
        from django.utils import timezone

        from batches.models import Batch, Delivery
        from batches.webhooks import delivery_lifecycle, endpoint
        from batches.webhooks.events import WebhookTest
        from batches.webhooks.outbox import announce

        batches = list(Batch.unscoped.order_by("pk")[:50])
        for batch in batches:
            batch.webhook_url = "http://127.0.0.1:1/"
            batch.save(update_fields=["webhook_url"])
            endpoint.address_changed(batch)
        started = time.perf_counter()
        for number in range(messages):
            announce(batches[number % len(batches)], WebhookTest(f"x{number}", "", str(number)))
        made = messages / (time.perf_counter() - started)
        import uuid

        token, sent, started = uuid.uuid4(), 0, time.perf_counter()
        while channels := list(delivery_lifecycle.ready_channels(timezone.now())):
            for channel in channels:
                found = delivery_lifecycle.claim(channel, 8, token, timezone.now())
                outcomes = [
                    delivery_lifecycle.Outcome(each.pk, each.attempts, each.url, timezone.now(), 5, 204)
                    for each in found
                ]
                delivery_lifecycle.record(outcomes, token, timezone.now())
                sent += len(found)
        rate = sent / (time.perf_counter() - started)
        print(f"Outbox, one process: {made:.0f} announced, {rate:.0f} claimed and recorded a second")
        self.promise(not Delivery.unscoped.filter(state="waiting").exists(), "none was left")


def claimed(scheduling: Any) -> Any:
    lease = scheduling.claim_next("bench:1")
    assert lease is not None
    return lease


def in_threads(work: Callable[[], None], count: int) -> float:
    threads = [threading.Thread(target=work) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


@contextmanager
def explained() -> Iterator[list[tuple[float, str, str]]]:
    """Context manager: (seconds, SQL, plan) of every SELECT, UPDATE and DELETE inside."""
    from django.db import connection

    found: list[tuple[float, str, str]] = []

    def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        plan = ""
        if sql.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            with connection.connection.cursor() as cursor:
                # Small tables are read whole although an index would do; after this, only where none does.
                cursor.execute("SET enable_seqscan = off")
                cursor.execute(f"EXPLAIN {sql}", params)
                plan = "\n".join(row[0] for row in cursor.fetchall())
                cursor.execute("RESET enable_seqscan")
        started = time.perf_counter()
        answer = execute(sql, params, many, context)
        found.append((time.perf_counter() - started, sql, plan))
        return answer

    with connection.execute_wrapper(wrap):
        yield found


def whole_reads(plan: str) -> list[str]:
    """Large tables that a plan scans completely."""
    read = re.findall(r"Seq Scan on (\w+)", plan)
    return [table for table in read if table in LARGE]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_growth", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--claims", type=int, default=5, help="of each worker")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of each page and step")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="speechportal-growth-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        if connection.vendor != "postgresql":
            print("This needs PostgreSQL: run it by .ci/with-postgres", file=sys.stderr)
            return 2
        call_command("migrate", verbosity=0)
        growth = Growth(options.tasks, options.accounts, options.limit)
        growth.fill()
        growth.sizes()
        growth.plans()
        growth.claims(options.workers, options.claims)
        growth.outbox(options.messages)
    return 1 if growth.broken else 0


if __name__ == "__main__":
    sys.exit(main())
