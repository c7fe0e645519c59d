"""Rates: claims by many workers at once, and a sustained rate of messages through the outbox."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROCESSES = 8  # that hold the threads of the workers
RECEIVERS = 100  # batches whose messages are sent


def _postmaster() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        return int(cursor.fetchone()[0].split()[0])


def _cpu(postmaster: int) -> tuple[float, float]:
    """CPU seconds of PostgreSQL's processes and of ours, as far as they have ended."""
    ticks = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(map(int, ticks[11:15])) / os.sysconf("SC_CLK_TCK"), used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Run:
    """What processes sent, the seconds it took, and the CPU seconds of PostgreSQL and of the processes."""

    answers: list[Any]
    seconds: float
    database: float
    clients: float


def _in_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> Run:
    """Run ``work(queue, start, *arguments)`` in one process each."""
    from django.db import connections

    postmaster = _postmaster()
    connections.close_all()
    time.sleep(1)
    before = _cpu(postmaster)
    context = multiprocessing.get_context("fork")
    answers, start = context.Queue(), context.Event()
    processes = [context.Process(target=work, args=(answers, start, *given)) for given in arguments]
    for process in processes:
        process.start()
    for _ in processes:
        assert answers.get() == "ready"
    started = time.perf_counter()
    start.set()
    found = [answers.get() for _ in processes]
    taken = time.perf_counter() - started
    for process in processes:
        process.join()
    time.sleep(1)  # until PostgreSQL's processes have ended too
    database, clients = (after - start for after, start in zip(_cpu(postmaster), before, strict=True))
    return Run(found, taken, database, clients)


def _claimer(answers: Any, start: Any, threads: int, each: int) -> None:
    from django.db import connection

    from batches.tasks import scheduling

    claims: list[tuple[int | None, float]] = []
    barrier = threading.Barrier(threads + 1)

    def worker() -> None:
        connection.ensure_connection()
        barrier.wait()
        start.wait()
        for _ in range(each):
            begun = time.perf_counter()
            lease = scheduling.claim_next("bench:1")
            claims.append((lease.task_id if lease else None, time.perf_counter() - begun))
        connection.close()

    running = [threading.Thread(target=worker) for _ in range(threads)]
    for thread in running:
        thread.start()
    barrier.wait()
    answers.put("ready")
    for thread in running:
        thread.join()
    answers.put(claims)


def claims(workers: int, each: int) -> tuple[dict[str, float], str]:
    """Claim with ``workers`` at once, each with a connection of its own."""
    from batches.models import Task

    waiting = Task.unscoped.filter(state=Task.State.WAITING).count()
    threads = max(1, workers // PROCESSES)
    run = _in_processes(_claimer, [(threads, each)] * PROCESSES)
    claimed = [claim for of_process in run.answers for claim in of_process]
    tasks = [task for task, _wait in claimed if task is not None]
    waits = sorted(wait for _task, wait in claimed)
    figures = {
        "claims a second": len(tasks) / run.seconds,
        "CPU of PostgreSQL for a claim, ms": 1000 * run.database / len(claimed),
        "CPU of workers for a claim, ms": 1000 * run.clients / len(claimed),
        "half of the claims within, s": waits[len(waits) // 2],
        "99 % of the claims within, s": waits[int(len(waits) * 0.99)],
    }
    Task.unscoped.filter(pk__in=tasks).update(
        state=Task.State.WAITING, stage="", lease_token=None, lease_expires_at=None, reserved=None
    )
    wanted = min(threads * PROCESSES * each, waiting)
    wrong = "" if len(tasks) == len(set(tasks)) == wanted else f"{len(set(tasks))} of {wanted} were claimed"
    return figures, wrong


def _announcer(answers: Any, start: Any, number: int, rate: float, seconds: float) -> None:
    """Announce ``rate`` messages a second, as workers do at the end of a task, or as many as there can be."""
    from django.db import transaction

    from batches.models import Batch
    from batches.webhooks.events import WebhookTest
    from batches.webhooks.outbox import announce

    batches = list(Batch.unscoped.exclude(webhook_url="").select_related("account").order_by("pk"))
    run = uuid.uuid4().hex[:8]
    answers.put("ready")
    start.wait()
    begun, made = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        if made > passed * rate:
            time.sleep(min(made / rate - passed, 0.05))
            continue
        with transaction.atomic():
            announce(batches[(made + number) % len(batches)], WebhookTest(f"{run}{made}", "", str(made)))
        made += 1
    answers.put(("announced", made, time.perf_counter() - begun))


def _sender(answers: Any, start: Any, seconds: float) -> None:
    """The product's sender, whose requests are answered at once."""
    from batches.webhooks import sender
    from batches.webhooks.delivery_lifecycle import Outcome

    def answered(message: sender.Message, allowed: Any, timeout: float) -> Outcome:
        return Outcome(message.delivery_id, message.attempt, message.url, message.started_at, 1, 204)

    sender.attempt = answered
    answers.put("ready")
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sender.Sender(stopping=lambda: time.monotonic() > end).run(seconds)
    answers.put(("sent", 0, 0.0))


def outbox(rate: float, seconds: float, announcers: int, senders: int) -> tuple[dict[str, float], str]:
    """Announce at a rate for a while, and send at the same time; then what is left over."""
    from batches.models import Batch, Delivery, DeliveryAttempt, Webhook
    from batches.webhooks import endpoint

    Webhook.unscoped.all().delete()  # The keys of an earlier run, with which they were encrypted, are gone.
    open_ones = Delivery.unscoped.filter(state__in=Delivery.OPEN)
    DeliveryAttempt.unscoped.filter(delivery__in=open_ones).delete()
    open_ones.delete()
    for batch in Batch.unscoped.live().order_by("pk")[:RECEIVERS]:
        batch.webhook_url = "http://127.0.0.1:1/"
        batch.save(update_fields=["webhook_url"])
        endpoint.address_changed(batch)
    arguments = [(number, rate / announcers, seconds) for number in range(announcers)]
    work = [(_announcer, each) for each in arguments]
    work += [(_sender, (seconds,))] * senders  # type: ignore[list-item] # another signature
    run = _in_processes(_either, list(work))
    announced = sum(count for what, count, _took in run.answers if what == "announced")
    longest = max(took for _what, _count, took in run.answers)
    left = Delivery.unscoped.filter(state__in=Delivery.OPEN).count()
    failed = Delivery.unscoped.filter(event="webhook.test", state=Delivery.State.FAILED).count()
    figures = {
        "messages announced a second": announced / longest,
        "messages recorded as sent a second": (announced - left) / longest,
        "messages left over": float(left),
        "CPU of PostgreSQL for a message, ms": 1000 * run.database / announced,
        "CPU of both sides for a message, ms": 1000 * run.clients / announced,
    }
    return figures, f"{failed} messages failed" if failed else ""


def _either(answers: Any, start: Any, run: Callable[..., None], given: tuple[Any, ...]) -> None:
    run(answers, start, *given)
