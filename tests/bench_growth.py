"""``python -m tests.bench_growth``: a year of many accounts on PostgreSQL, of one size or compared.

Fills a database (:mod:`tests.growth.filling`), measures the database time of each page and step
(:mod:`tests.growth.steps`) and looks at its plans: one that can only read a large table from end to end
breaks a promise, as does one over its limit. Then it measures claims by many workers at once, and the outbox,
with ``fsync`` on. Of several sizes each has a database of its own, and a table compares them.

``make scale TASKS="1000000 10000000"`` is the whole of it: 45 GB of disk and about an hour on two cores. It
needs a superuser of a private cluster, which ``.ci/with-postgres`` makes. Ends with status 1 when a promise
is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

LIMIT = 0.1  # seconds of database time for each page and step
LIMIT_OVER_ALL = 1.0  # for support staff's first page and search, and for a first look without what is known
EACH_ACCOUNT = 10_000  # tasks


class Growth:
    """Run over one size: its figures, and the promises that are broken."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.figures: dict[str, float] = {}
        self.broken: list[str] = []

    def promise(self, fact: bool, sentence: str) -> None:
        print(f"  {'kept  ' if fact else 'BROKEN'}  {sentence}", flush=True)
        if not fact:
            self.broken.append(sentence)

    def run(self) -> None:
        from batches.billing import settled
        from tests.growth import filling

        if not self.options.filled:
            filling.fill(self.options.tasks[0], max(2, self.options.tasks[0] // EACH_ACCOUNT))
        started = time.perf_counter()
        settled.settle(seconds=3600)
        print(f"Charges of large accounts settled in {time.perf_counter() - started:.0f} s", flush=True)
        self.sizes()
        self.steps()
        if self.options.rates:
            self.rates()
        if self.options.removals:
            self.removals()

    def sizes(self) -> None:
        from tests.growth import filling

        print("On the disk, with indexes", flush=True)
        for name, (size, rows) in filling.sizes().items():
            each = size / max(rows, 1)
            print(f"    {name}: {size / 1e6:,.0f} MB, {each:,.0f} bytes for each of {rows:,} rows")
            self.figures[f"MB of {name}"] = size / 1e6

    def steps(self) -> None:
        from tests.growth.steps import Scene

        print(
            "Database time of pages and steps, ms, and what reads a large table from end to end", flush=True
        )
        scene = Scene()
        only = self.options.only
        for steps in (scene.pages(), scene.programs(), scene.support(), scene.jobs()):
            for step in steps:
                if not only or any(name in step.name for name in only):
                    self._step(step)
        if not only or "poll" in only:
            self._once("two polls of the batch, with new files", scene.poll())

    def _step(self, step: Any) -> None:
        from django.core.cache import cache

        from tests.growth.plans import measured

        worst = None

        def cold(call: Callable[[], object]) -> None:
            cache.clear()
            call()

        for call in step.calls:
            found = measured(partial(cold, call) if step.cold else call)
            if worst is None or (bool(found.scans), found.seconds) > (bool(worst.scans), worst.seconds):
                worst = found
        assert worst is not None
        over_all = step.cold or step.name in {"admin: first page", "admin: search", "metrics"}
        limit = LIMIT_OVER_ALL if over_all else self.options.limit
        fact = not worst.scans and worst.seconds < limit
        reads = f", reads {' and '.join(worst.scans)}" if worst.scans else ""
        self.figures[step.name] = 1000 * worst.seconds
        self.promise(fact, f"{step.name}: {1000 * worst.seconds:.1f} in {worst.queries} queries{reads}")
        if not fact or self.options.verbose:
            took, sql = worst.slowest
            print(f"          {1000 * took:.1f}: {sql[max(sql.find(' FROM '), 0) :][:700]}")

    def _once(self, name: str, call: Callable[[], object]) -> object:
        from tests.growth.plans import measured

        answer: list[object] = []
        started = time.perf_counter()
        found = measured(lambda: answer.append(call()), repeats=False)
        taken = time.perf_counter() - started
        self.figures[f"{name}, s"] = taken
        reads = f", reads {' and '.join(found.scans)}" if found.scans else ""
        self.promise(not found.scans, f"{name}: {taken:.2f} s, {found.queries} queries{reads}")
        print(f"          {1000 * found.slowest[0]:.1f}: {found.slowest[1][:200]}")
        return answer[0]

    def rates(self) -> None:
        from django.db import connection

        from tests.growth import rates

        with connection.cursor() as cursor:  # From here on as in production: each commit reaches the disk.
            cursor.execute("ALTER SYSTEM SET fsync = on")
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("CHECKPOINT")
        for title, (figures, wrong) in (
            (
                f"claims by {self.options.workers} workers at once",
                rates.claims(self.options.workers, self.options.claims),
            ),
            (
                (
                    f"outbox, {self.options.rate:.0f} messages a second wanted,"
                    f" {self.options.announcers} announcing and {self.options.senders} sending processes"
                ),
                rates.outbox(
                    self.options.rate, self.options.seconds, self.options.announcers, self.options.senders
                ),
            ),
        ):
            shown = ", ".join(f"{name}: {figure:,.2f}" for name, figure in figures.items())
            self.promise(not wrong, f"{title}: {shown} {wrong}")
            self.figures |= figures
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM RESET fsync")
            cursor.execute("SELECT pg_reload_conf()")

    def removals(self) -> None:
        """A day of retention, the deletion of the large batch, and the closing of an account."""
        from datetime import timedelta

        from django.utils import timezone

        from batches.models import Batch
        from batches.operations.privacy import erasure, retention
        from batches.services import batches as batch_services
        from speechportal.accounts.models import Account

        self._once("retention", lambda: retention.enforce(timezone.now() - timedelta(minutes=1)))
        removed = self._once(
            "retention, a day later", lambda: retention.enforce(timezone.now() + timedelta(days=1))
        )
        print(f"          {dict(removed)}")  # type: ignore[call-overload] # a Counter
        batch = Batch.unscoped.earliest("pk")
        self._once("deletion of the large batch", lambda: batch_services.delete_batch(batch=batch))
        account = Account.objects.order_by("-pk")[1]
        self._once("closing of an account of 10,000 tasks", lambda: erasure.close_account(account=account))


def compare(found: list[tuple[int, dict[str, float]]]) -> Iterable[str]:
    """Table of the figures of several sizes, with the ratio of the last to the first."""
    (_, first), *_, (_, last) = found
    yield f"{'':<45}" + "".join(f"{tasks:>14,}" for tasks, _figures in found) + f"{'ratio':>8}"
    for name in first:
        row = "".join(f"{figures.get(name, float('nan')):>14,.1f}" for _tasks, figures in found)
        ratio = last.get(name, float("nan")) / first[name] if first[name] else float("nan")
        yield f"{name:<45}{row}{ratio:>8.2f}"


def _each_size(arguments: list[str], sizes: list[int], keep: bool) -> int:
    """Run each size in a process and a database of its own, then compare them."""
    import psycopg

    url = urlsplit(os.environ["SPEECHPORTAL_DATABASE_URL"])
    found, worst = [], 0
    with tempfile.TemporaryDirectory(prefix="speechportal-growth-") as folder:
        for size in sizes:
            name, file = f"growth_{size}", Path(folder) / f"{size}.json"
            with psycopg.connect(urlunsplit(url), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            own = urlunsplit(url._replace(path=f"/{name}"))
            command = [sys.executable, "-m", "tests.bench_growth", *arguments, "--tasks", str(size)]
            ended = subprocess.run(
                [*command, "--json", str(file)],
                env={**os.environ, "SPEECHPORTAL_DATABASE_URL": own},
                check=False,
            )
            worst = max(worst, ended.returncode)
            found.append((size, json.loads(file.read_text()) if file.exists() else {}))
            if not keep:
                with psycopg.connect(urlunsplit(url), autocommit=True) as connection:
                    connection.execute(f"DROP DATABASE {name}")
    print("\n".join(compare(found)))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_growth", description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1_000_000], help="one size, or several")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of each page and step")
    parser.add_argument("--only", action="append", help="only steps whose name has this part")
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--claims", type=int, default=5, help="of each worker")
    parser.add_argument("--rate", type=float, default=1000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=30, help="of the outbox")
    parser.add_argument("--announcers", type=int, default=2, help="processes")
    parser.add_argument("--senders", type=int, default=2, help="processes")
    parser.add_argument("--no-rates", dest="rates", action="store_false")
    parser.add_argument("--no-removals", dest="removals", action="store_false")
    parser.add_argument("--filled", action="store_true", help="the database is filled by an earlier run")
    parser.add_argument("--verbose", action="store_true", help="print the slowest query of each step")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    if len(options.tasks) > 1:
        at = sys.argv.index("--tasks")
        others = sys.argv[1:at] + sys.argv[at + 1 + len(options.tasks) :]
        return _each_size(others, options.tasks, keep=False)
    with tempfile.TemporaryDirectory(prefix="speechportal-growth-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["SPEECHPORTAL_SETTLE_SECONDS"] = "0"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        if connection.vendor != "postgresql":
            print("This needs PostgreSQL: run it by .ci/with-postgres", file=sys.stderr)
            return 2
        call_command("migrate", verbosity=0)
        growth = Growth(options)
        try:
            growth.run()
        finally:
            if options.json:
                Path(options.json).write_text(json.dumps(growth.figures))
    return 1 if growth.broken else 0


if __name__ == "__main__":
    sys.exit(main())
