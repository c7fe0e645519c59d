"""Queue jobs: each takes IDs, re-reads its row, calls one function, and returns if the row was deleted."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from datetime import timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.utils import timezone

from batches.billing import budget_alerts, settled
from batches.intake import notifications, poll_schedule, polling
from batches.models import TaskTrace
from batches.notifications import sending
from batches.operations.privacy import retention
from batches.reports import execution_results
from batches.status import account_holds
from batches.tasks import fleet, lifecycle, model_hosts, scheduling
from batches.tasks.leases import Lease
from batches.transcripts import reprocessing, search
from batches.webhooks import callbacks, delivery_lifecycle, endpoint
from batches.webhooks.sender import Sender
from batches.worker import disk_space, engines, moving, processing
from batches.worker.loaded_models import LoadedModels
from batches.worker.prefetch import Prefetcher
from domains.offered_models import ModelPair
from speechportal.platform import logs, queue, tracing
from speechportal.platform.models import NamedLease
from speechportal.storage.errors import StorageError

logger = logging.getLogger(__name__)

SCHEDULER_SECONDS = 50  # The queue's schedule starts the job every minute.
RECOGNISE_SECONDS = 3600  # Then the job ends and a new one starts, far below the cluster's timeout.
OUTAGE_SECONDS = 60  # pause of the scheduler beyond a worker's lease that means an outage of all processes
REPROCESS_SECONDS = 60  # Then the scheduler starts another one.
SEND_SECONDS = 120  # Then the job ends and a new one starts.
_models = LoadedModels()  # models loaded by this worker
_terminated = False


def run_scheduler() -> None:
    """Scheduler: finds all work that is due, every few seconds for most of a minute.

    A named lease ensures that one process at a time runs it.
    """
    pause = min(settings.POLL_SECONDS, 15)
    lease = timedelta(seconds=2 * pause + 10)
    was_outage = _is_outage()
    holder = NamedLease.take("scheduler", lease)
    if holder is None:
        return
    if was_outage:
        lifecycle.reap(outage=True)
    end = time.monotonic() + SCHEDULER_SECONDS
    while not queue.stopping():
        for step in (
            _reap,
            account_holds.reconcile,
            model_hosts.reconcile,
            _poll_due,
            _report_due,
            _move_due,
            _wake,
            _deliver_due,
            _queue_missed_callbacks,
            _settle_charges,
            _notify_budgets,
            _reprocess_due,
            _notify_members,
            _forget,
        ):
            try:
                step()
            except Exception:
                logger.exception("scheduler step %s failed", step.__name__)
        if time.monotonic() + pause > end or not NamedLease.keep("scheduler", holder, lease):
            break
        time.sleep(pause)
    NamedLease.give("scheduler", holder)


def _is_outage() -> bool:
    """Whether the scheduler has paused for so long that no worker can have renewed its lease either.

    The database or all machines were away; one scheduler's death is made up for within a minute.
    """
    return NamedLease.is_idle("scheduler", timedelta(seconds=settings.LEASE_SECONDS + OUTAGE_SECONDS))


def _reap() -> None:
    if reaped := lifecycle.reap():
        logger.warning("released %d tasks whose worker's lease had expired", reaped)


def _poll_due() -> None:
    for batch_id in poll_schedule.claim_due():
        queue.enqueue(poll_schedule.JOB, batch_id)


def _report_due() -> None:
    execution_results.collect_idle()
    for result_id in execution_results.due():
        write_execution_result(result_id)


def _move_due() -> None:
    for task_id in moving.due():
        move_input(task_id)


def _settle_charges() -> None:
    if NamedLease.take("settle charges", timedelta(minutes=2)):
        settled.settle()


def _notify_budgets() -> None:
    budget_alerts.note_steps()


def _notify_members() -> None:
    if NamedLease.take("notifications", timedelta(seconds=55)):
        queue.enqueue("batches.operations.jobs.send_notifications")


def send_notifications() -> None:
    """Send due mails and chat messages. In the queue `short`, since a chat service may be slow."""
    sending.send_due()


def _wake() -> None:
    if fleet.pause_problem():
        return
    if waiting := scheduling.claimable()[: queue.most_wake_ups()].count():
        queue.wake_recognition(waiting)


def _deliver_due() -> None:
    now = timezone.now()
    if reaped := delivery_lifecycle.reap(now):
        logger.warning("released %d deliveries whose sender's lease had expired", reaped)
    endpoint.tidy()
    if delivery_lifecycle.is_any_ready(now):
        queue.wake_deliveries()


def _queue_missed_callbacks() -> None:
    callbacks.queue_missed()


def _reprocess_due() -> None:
    if reprocessing.due():
        queue.enqueue(reprocessing.JOB)


def reprocess_transcripts() -> None:
    """Apply text rules to the transcripts that are due, for a few minutes."""
    end = time.monotonic() + REPROCESS_SECONDS
    while (found := reprocessing.due()) and not queue.stopping():
        for transcript_id in found:
            reprocessing.reprocess(transcript_id)
            if time.monotonic() > end or queue.stopping():
                return


def _forget() -> None:
    if NamedLease.take("retention", timedelta(days=1)):
        queue.enqueue("batches.operations.jobs.enforce_retention")


def enforce_retention() -> None:
    retention.enforce()
    while search.index_older() and not queue.stopping():
        pass  # Rows of earlier releases; none is left a day after an upgrade.


def poll(batch_id: int) -> None:
    with logs.context():
        polling.poll(batch_id, queued=True)


def take_notified(batch_id: int, keys: list[str]) -> None:
    with logs.context():
        notifications.take(batch_id, keys)


def take_sns_message(connection_id: int, message: dict[str, Any]) -> None:
    with logs.context():
        notifications.take_message(connection_id, message)


def write_execution_result(result_id: int) -> None:
    try:
        execution_results.write(result_id)
    except StorageError as error:
        logger.warning("execution result %s could not be written yet: %s", result_id, error.code)


def move_input(task_id: int) -> None:
    try:
        moving.move_input(task_id)
    except StorageError as error:
        logger.warning("task %s: the input could not be moved yet: %s", task_id, error.code)


def send_deliveries() -> None:
    """Send due deliveries for a while, then wake another sender if any are left."""
    Sender(stopping=queue.stopping).run(SEND_SECONDS)
    if not queue.stopping():
        _deliver_due()


def recognise_next() -> None:
    """Claim and process the next task, then any prefetched ones; then wake other workers."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    if not disk_space.enough():
        logger.error(
            "less than %d MB are free in %s; no task is started", settings.WORK_FREE_MB, settings.WORK_DIR
        )
        return
    if not fleet.may_claim():
        return
    served, begun = model_hosts.served_here(), time.time()
    lease = scheduling.claim_next(worker, served=served, loaded=_models.preferred)
    if lease is None:
        return
    tracing.record("claim", TaskTrace.parent_of(lease.task_id), begun, worker=worker)
    _wake()  # Each worker that starts wakes others, so that all machines are soon busy.
    previous = signal.signal(signal.SIGTERM, _on_terminate)
    client = engines.worker_client()
    prefetcher = Prefetcher(worker, _should_stop, client, _models)
    end = time.monotonic() + RECOGNISE_SECONDS
    try:
        while lease is not None:
            late = time.monotonic() > end
            with logs.context():
                before, pair = _models.pair, _pair_of(lease)
                _models.use(pair)
                processing.process(lease, client, _should_stop, None if late else prefetcher.look)
            model_hosts.note_loaded(pair, before)
            lease = None if _should_stop() else prefetcher.take()
    finally:
        prefetcher.close()
        signal.signal(signal.SIGTERM, previous)
    if _terminated:  # The task was released; now end, as the signal asked.
        os.kill(os.getpid(), signal.SIGTERM)
    if not queue.stopping():
        _wake()


def _pair_of(lease: Lease) -> ModelPair:
    whisper, speakers = lease.row.values_list("whisper_model", "speaker_model").first() or ("", "")
    return ModelPair(whisper, speakers)


def _on_terminate(_signal: int, _frame: FrameType | None) -> None:
    global _terminated
    _terminated = True


def _should_stop() -> bool:
    return _terminated or queue.stopping()
