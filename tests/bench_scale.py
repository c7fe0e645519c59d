"""``python -m tests.bench_scale``: the portal at scale, each time beside the bare operation.

Polling is measured against an S3 server that answers listings of as many objects as wanted (its answers
are made up, its pages of 1,000 are S3's), beside bare boto3 listing and Django's bulk insert of the same
rows. Everything runs on the database of ``SPEECHPORTAL_DATABASE_URL``, or on a SQLite file of its own:
``.ci/with-postgres .venv/bin/python -m tests.bench_scale`` measures PostgreSQL. Ends with status 1 when a
promise is broken.
"""

from __future__ import annotations

import argparse
import http.server
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = 1000
MODIFIED = "2026-01-01T00:00:00.000Z"


class Listing(http.server.BaseHTTPRequestHandler):
    """S3 server that lists ``in/``: N media files in ``/bucket-N/``, and one folder of finished ones."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        given = parse_qs(address.query)
        count = int(address.path.strip("/").split("-")[1])
        marker = given.get("marker", [""])[0]
        start = int(marker.removeprefix("in/").removesuffix(".mp3")) + 1 if marker else 0
        end = min(start + PAGE, count)
        rows = [
            f"<Contents><Key>in/{number:07}.mp3</Key><LastModified>{MODIFIED}</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><Size>1000</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(start, end)
        ]
        # Folders sort behind the digits: they are on the last page.
        more = f"<NextMarker>in/{end - 1:07}.mp3</NextMarker>" if end < count else ""
        folder = "" if more else "<CommonPrefixes><Prefix>in/calls/</Prefix></CommonPrefixes>"
        body = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>in/</Prefix><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{''.join(rows)}"
            f"{folder}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing, to keep the benchmark's output clean."""


def serve(ready: Any) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    ready.put(server.server_address[1])
    server.serve_forever()


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def forget(rows: Any) -> None:
    """Delete rows without the checks for references: there are none."""
    rows._raw_delete("default")


class Bench:
    def __init__(self, port: int, rounds: int) -> None:
        self.port = port
        self.rounds = rounds
        self.broken: list[str] = []
        self.slowest = (0.0, "")

    def promise(self, fact: bool, sentence: str) -> None:
        print(f"  {'kept  ' if fact else 'BROKEN'}  {sentence}", flush=True)
        if not fact:
            self.broken.append(sentence)

    def batch(self, objects: int) -> Any:
        from speechportal.storage.models import Connection
        from speechportal.storage.providers import Provider
        from tests.factories import make_account, make_batch

        account = make_account()
        connection = Connection(
            account=account,
            name=f"{objects} objects",
            provider=Provider.S3,
            parameters={
                "endpoint_url": f"http://127.0.0.1:{self.port}",
                "region": "us-east-1",
                "bucket": f"bucket-{objects}",
                "access_key": "access",
            },
        )
        connection.set_secret("secret")
        connection.save()
        return make_batch(account, name="calls", connection=connection)

    def polling(self, objects: int) -> None:
        """Time the two polls that a new file needs, beside listing and inserting the same rows."""
        from batches.intake import polling
        from batches.models import PendingFile, Task

        print(f"Polling a path with {objects:,} new objects", flush=True)
        ratios: dict[str, list[float]] = {"first look": [], "second look": []}
        for _ in range(self.rounds):
            batch = self.batch(objects)
            bare_arrivals = seconds(partial(self._bare, batch, arrivals=True))
            forget(PendingFile.unscoped.all())
            first = seconds(partial(polling.poll, batch.pk))
            bare_tasks = seconds(partial(self._bare, batch, arrivals=False))
            forget(Task.unscoped.filter(batch=batch))
            second = seconds(partial(polling.poll, batch.pk))
            made = Task.unscoped.filter(batch=batch).count()
            assert made == objects, made
            forget(Task.unscoped.filter(batch=batch))
            print(f"    first {first:.2f} s : bare {bare_arrivals:.2f} s", end="")
            print(f"    second {second:.2f} s : bare {bare_tasks:.2f} s", flush=True)
            ratios["first look"].append(first / bare_arrivals)
            ratios["second look"].append(second / bare_tasks)
        for name, measured in ratios.items():
            ratio = statistics.median(measured)
            self.promise(ratio <= 1.5, f"{name}: {ratio:.2f} x bare listing and bulk insert (1.5 at most)")

    def _bare(self, batch: Any, *, arrivals: bool) -> None:
        import boto3

        from batches.models import PendingFile, Task

        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="access",
            aws_secret_access_key="secret",
        )
        order = 0
        pages = client.get_paginator("list_objects").paginate(
            Bucket=batch.connection.parameters["bucket"], Prefix="in/", Delimiter="/"
        )
        for page in pages:
            if arrivals:
                PendingFile.unscoped.bulk_create(
                    PendingFile(
                        batch=batch,
                        key=row["Key"],
                        version=row["ETag"].strip('"'),
                        size=row["Size"],
                        modified_at=row["LastModified"],
                    )
                    for row in page["Contents"]
                )
                continue
            rows = []
            for row in page["Contents"]:
                order += 1
                rows.append(
                    Task(
                        account_id=batch.account_id,
                        batch=batch,
                        connection_id=batch.connection_id,
                        task_order=order,
                        input_key=row["Key"],
                        input_version=row["ETag"].strip('"'),
                        input_size=row["Size"],
                        input_modified_at=row["LastModified"],
                        name=row["Key"].removeprefix("in/"),
                    )
                )
            Task.unscoped.bulk_create(rows)

    def polling_beside(self, finished: int) -> None:
        """Time the polls of three new files, with and without a history."""
        from batches.intake import polling
        from batches.models import Task

        print(f"Polling three new files, with {finished:,} finished ones in the batch's folder", flush=True)
        times: dict[str, list[float]] = {"none": [], "many": []}
        full = self.batch(3)
        self.fill(full, finished)
        for _ in range(30):
            for name, batch in (("none", self.batch(3)), ("many", full)):
                forget(Task.unscoped.filter(batch=batch, input_key__startswith="in/0"))
                polling.poll(batch.pk)
                times[name].append(seconds(partial(polling.poll, batch.pk)))
        none, many = (min(times[name]) for name in ("none", "many"))
        self.promise(many <= 1.25 * none, f"{1000 * many:.1f} ms, with none {1000 * none:.1f} ms (as fast)")
        self.full = full

    def fill(self, batch: Any, count: int) -> None:
        """Insert completed tasks, by doubling one inside the database."""
        from django.db import connection

        from batches.models import Batch, Task
        from tests.factories import make_task

        first = make_task(batch, "done/0.mp3", state=Task.State.COMPLETED, media_duration=60_000)
        names = [str(field.column) for field in Task._meta.concrete_fields if field.column != "id"]
        made = 1
        while made < count:
            step = min(made, count - made)
            copied = {
                "uid": f"'tsk_{batch.pk}x' || (task_order + {made})",
                "task_order": f"task_order + {made}",
                "input_key": f"'in/done/' || (task_order + {made}) || '.mp3'",
                "name": f"'done/' || (task_order + {made}) || '.mp3'",
            }
            columns = ", ".join(copied.get(name, name) for name in names)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO batches_task ({', '.join(names)}) SELECT {columns} FROM batches_task"  # noqa: S608 - no word of it comes from outside
                    " WHERE batch_id = %s AND task_order < %s",
                    [batch.pk, first.task_order + step],
                )
            made += step
        Batch.unscoped.filter(pk=batch.pk).update(last_task_order=made)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def claiming(self, waiting: int, workers: int) -> None:
        from batches.models import Task
        from batches.tasks import scheduling
        from tests.factories import make_batch

        print(f"Claiming with {workers} workers", flush=True)
        rate: dict[int, float] = {}
        for count in (waiting // 20, waiting):
            batch = make_batch()
            self._waiting(batch, count)
            claimed: list[int] = []
            waits: list[float] = []
            each = 40

            def work(claimed: list[int] = claimed, waits: list[float] = waits, each: int = each) -> None:
                from django.db import connection

                for _ in range(each):
                    started = time.perf_counter()
                    claim = scheduling.claim_next("bench")
                    waits.append(time.perf_counter() - started)
                    assert claim is not None
                    claimed.append(claim.task_id)
                connection.close()

            threads = [threading.Thread(target=work) for _ in range(workers)]
            started = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            taken = time.perf_counter() - started
            waits.sort()
            rate[count] = len(claimed) / taken
            doubled = len(claimed) - len(set(claimed))
            print(
                f"    {count:6,} waiting: {rate[count]:.0f} claims a second, a claim takes"
                f" {1000 * waits[len(waits) // 2]:.1f} ms, 99 % {1000 * waits[int(len(waits) * 0.99)]:.1f} ms"
            )
            self.promise(doubled == 0, f"no task is claimed twice among {len(claimed)}")
            forget(Task.unscoped.filter(batch=batch))
        few, many = rate.values()
        self.promise(many >= 0.75 * few, f"{many / few:.2f} x the rate that {waiting // 20} waiting have")

    def _waiting(self, batch: Any, count: int) -> None:
        from django.utils import timezone

        from batches.models import Task

        Task.unscoped.bulk_create(
            [
                Task(
                    account_id=batch.account_id,
                    batch=batch,
                    connection_id=batch.connection_id,
                    task_order=order,
                    input_key=f"in/{order}.mp3",
                    input_version="1",
                    input_size=1,
                    input_modified_at=timezone.now(),
                    name=f"{order}.mp3",
                )
                for order in range(1, count + 1)
            ],
            batch_size=1000,
        )

    def lists(self) -> None:
        """Time the lists of portal and API over the batch with a million tasks (database time)."""
        from django.urls import reverse

        from batches.models import Task
        from speechportal.accounts.tokens.api_tokens import create_token
        from tests.clients import Client
        from tests.factories import add_member, make_user

        batch = self.full
        user = make_user("bench@example.com", "password")
        add_member(batch.account, user, "owner")
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(user)
        _token, plain = create_token(account=batch.account, created_by=user, name="bench", scopes=["read"])
        program = Client(headers={"host": "127.0.0.1", "authorization": f"Bearer {plain}"})
        count = Task.unscoped.filter(batch=batch).count()
        print(f"Pages over {count:,} tasks, database time", flush=True)
        detail, listing = reverse("batches:detail", args=[batch.uid]), reverse("batches:list")
        api = f"/api/v1/tasks?batch={batch.uid}"
        for name, asker, address in (
            ("list of batches", client, listing),
            ("list of tasks", client, detail),
            ("failed tasks", client, f"{detail}?state=failed"),
            ("the middle of the tasks", client, f"{detail}?before=500000"),
            ("page of the API", program, api),
            ("failed tasks by the API", program, f"{api}&state=failed"),
        ):
            spent, queries, status = self._database_time(partial(asker.get, address))
            assert status == 200, (name, status)
            self.promise(spent < 0.1, f"{name}: {1000 * spent:.1f} ms in {queries} queries (100 ms at most)")
            if spent >= 0.1:
                print(f"          {1000 * self.slowest[0]:.1f} ms: {self.slowest[1]}")

    def _database_time(self, call: Callable[[], Any]) -> tuple[float, int, int]:
        """Lowest of three times, after a warm-up."""
        from tests.query_times import query_times

        best, queries, status = float("inf"), 0, 0
        for _ in range(4):
            with query_times() as spent:
                status = call().status_code
            total = sum(took for took, _ in spent)
            if total < best:
                best, queries, self.slowest = total, len(spent), max(spent)
        return best, queries, status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_scale", description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of polling; the median counts")
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--only", choices=["polling", "history", "claiming"], action="append")
    options = parser.parse_args()
    only = options.only or ["polling", "history", "claiming"]
    with tempfile.TemporaryDirectory(prefix="speechportal-scale-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_SETTLE_SECONDS"] = "0"
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        ready = multiprocessing.Queue()  # type: ignore[var-annotated] # of ports
        server = multiprocessing.Process(target=serve, args=(ready,), daemon=True)
        server.start()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        bench = Bench(ready.get(), options.rounds)
        try:
            if "polling" in only:
                bench.polling(options.objects)
            if "claiming" in only:
                bench.claiming(options.waiting, options.workers)
            if "history" in only:
                bench.polling_beside(options.finished)
                bench.lists()
        finally:
            server.terminate()
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
