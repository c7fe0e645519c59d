"""Throughput of webhook senders, and the effect of a receiver that hangs on the others.

    .venv/bin/python -m tests.bench_webhooks [--deliveries 10000] [--receivers 10] [--rounds 3]

Makes a database of its own (SPEECHPORTAL_DATABASE_URL to use another), starts receivers on loopback in a
process of their own, and sends the deliveries in three ways, in turns: all receivers answer; the last hangs;
there are only the others. Prints how many a second the others had, and the ratios of the medians of the times
until the last message has reached the others. Ends with status 1 when hanging costs them a tenth or more.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

HANG_SECONDS = 10
ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def receive(count: int, pipe: Pipe) -> None:
    """Run receivers in a process: sends their ports, then obeys ``("hang", bool)`` and ``("ask",)``."""
    asyncio.run(_receive(count, pipe))


async def _receive(count: int, pipe: Pipe) -> None:
    hanging = False
    times: list[list[float]] = [[] for _ in range(count)]

    def handler(number: int) -> Any:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                if hanging and number == count - 1:
                    await asyncio.sleep(HANG_SECONDS + 5)
                times[number].append(time.monotonic())
                writer.write(ANSWER)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        return answer

    servers = [
        await asyncio.start_server(handler(number), "127.0.0.1", 0, backlog=1000) for number in range(count)
    ]
    pipe.send([server.sockets[0].getsockname()[1] for server in servers])
    loop = asyncio.get_running_loop()
    while True:
        order = await loop.run_in_executor(None, pipe.recv)
        if order[0] == "hang":
            hanging = order[1]
            for seen in times:
                seen.clear()
        elif order[0] == "ask":
            pipe.send([(len(seen), max(seen, default=0.0)) for seen in times])
        else:
            return


def prepare(folder: str) -> None:
    environ = os.environ
    environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
    environ["SPEECHPORTAL_DATA_DIR"] = folder
    environ.setdefault("SPEECHPORTAL_DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    environ["SPEECHPORTAL_STORAGE_LOCAL_ROOTS"] = f"{folder}/storage"
    environ["SPEECHPORTAL_OUTBOUND_NETWORKS"] = "127.0.0.0/8"
    environ["SPEECHPORTAL_OUTBOUND_PORTS"] = "any"
    environ["SPEECHPORTAL_OUTBOUND_HTTP"] = "true"
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], check=True, cwd=root)
    import django

    django.setup()


def fill(ports: list[int], deliveries: int) -> list[int]:
    """Insert batches with completed tasks and their deliveries; returns the batches' keys."""
    from batches.models import Batch, Delivery, StoredTranscript, Task
    from batches.webhooks import payload
    from tests.factories import make_task
    from tests.webhooks.makers import DOCUMENT, make_hooked_batch

    def fresh(task: Task, order: int) -> Task:
        """Copy of the row ``task``."""
        names = [field.attname for field in Task._meta.concrete_fields if field.name not in {"id", "uid"}]
        values = {name: getattr(task, name) for name in names}
        return Task(**{**values, "task_order": order, "input_version": str(order)})

    def add(batch: Batch, count: int) -> None:
        first = make_task(batch, state=Task.State.COMPLETED, media_duration=5000)
        tasks = Task.unscoped.bulk_create(fresh(first, order) for order in range(2, count + 2))
        StoredTranscript.unscoped.bulk_create(
            StoredTranscript(task=task, stage=StoredTranscript.Stage.SPEAKERS, document=DOCUMENT)
            for task in tasks
        )
        event = "task.completed"
        Delivery.unscoped.bulk_create(
            Delivery(
                account=batch.account,
                batch=batch,
                task=task,
                event=event,
                about=task.uid,
                payload=payload.envelope(
                    event, task.created_at, {**payload.of_batch(batch), **payload.of_task(task, [])}
                ),
            )
            for task in tasks
        )

    batches = [make_hooked_batch(f"http://127.0.0.1:{port}/") for port in ports]
    for batch in batches:
        add(batch, deliveries // len(ports))
    return [batch.pk for batch in batches]


def again(batches: list[int]) -> None:
    """Make every delivery of these batches due again, and those of others not."""
    from django.utils import timezone

    from batches.models import Delivery, DeliveryAttempt, Webhook

    DeliveryAttempt.unscoped.all().delete()
    fresh = {"attempts": 0, "tries": 0, "next_attempt_at": timezone.now(), "ended_at": None}
    Delivery.unscoped.filter(batch__in=batches).update(
        state="waiting", lease_token=None, lease_expires_at=None, **fresh
    )
    Delivery.unscoped.exclude(batch__in=batches).update(
        state="delivered", lease_token=None, lease_expires_at=None, **{**fresh, "ended_at": timezone.now()}
    )
    healthy = {"failing_since": None, "last_failed_at": None, "held_until": None, "stopped_at": None}
    Webhook.unscoped.update(state="active", **healthy)


def measure(pipe: Pipe, chosen: list[int], others: list[int], *, hang: bool) -> tuple[float, int]:
    """Seconds until the other receivers have their last message, and the number of their messages."""
    from batches.webhooks.sender import Sender

    again(chosen)
    pipe.send(("hang", hang))
    begun = time.monotonic()
    done = time.monotonic()

    def finished() -> bool:
        nonlocal done
        if time.monotonic() - done < 0.5:
            return False
        done = time.monotonic()
        return not _left(others)

    Sender(linger=timedelta(seconds=0), stopping=finished).run(600)
    pipe.send(("ask",))
    seen = pipe.recv()[: len(others)]
    return max(last for _count, last in seen) - begun, sum(count for count, _last in seen)


def _left(batches: list[int]) -> bool:
    from batches.models import Delivery

    return Delivery.unscoped.filter(batch__in=batches, state__in=Delivery.OPEN).exists()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--receivers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receive, args=(options.receivers, theirs), daemon=True)
    process.start()
    ports = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        batches = fill(ports, options.deliveries)
        print(
            f"{options.deliveries} deliveries to {options.receivers} receivers, each with a transcript",
            flush=True,
        )
        others = batches[:-1]
        ways = {
            "all answer": (batches, False),
            "one hangs": (batches, True),
            "the others alone": (others, False),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, (chosen, hang) in ways.items():
                seconds, count = measure(ours, chosen, others, hang=hang)
                times[name].append(seconds)
                print(
                    f"  {name:<17} {count} in {seconds:6.2f} s: {count / seconds:5.0f} a second", flush=True
                )
    medians = {name: statistics.median(each) for name, each in times.items()}
    against_all = medians["one hangs"] / medians["all answer"]
    against_others = medians["one hangs"] / medians["the others alone"]
    print(f"one hangs / all answer: {against_all:.2f}   one hangs / the others alone: {against_others:.2f}")
    ours.send(("end",))
    process.terminate()
    return 0 if against_others < 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
