"""Job queue, the only module that imports django-q2.

Three clusters: ``recognition`` runs long work, one file per worker; ``deliveries`` sends webhooks, many at
once; ``short`` runs everything else, so that a poll never waits behind an hour of audio or a slow receiver.
A message names a function and ids. Messages are only wake-ups: all pending work is in the database, so a
message that is lost, doubled or late does no harm. The scheduler picks up whatever a lost message missed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta
from typing import Any, Literal, Protocol

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.utils.module_loading import import_string

from speechportal.platform.models import NamedLease
from speechportal.platform.process_locks import KernelLock
from speechportal.platform.processes import die_with_parent, semaphore_problem

logger = logging.getLogger(__name__)

ClusterName = Literal["short", "recognition", "deliveries"]
PERIODIC_JOB = "batches.operations.jobs.run_scheduler"

# Shared memory with the workers, which are forked from the cluster's main process. Without a lock, since a
# killed worker would never release it.
_stopping = multiprocessing.RawValue("b", 0)


class Companion(Protocol):
    """Additional work of a cluster's main process, such as engine processes.

    Created before the workers are forked. ``workers`` is the number of workers that the cluster needs.
    """

    workers: int

    def tick(self) -> None: ...
    def close(self) -> None: ...


COMPANION_SECONDS = 0.5  # between two calls of a companion's tick
HEARTBEAT_SECONDS = 15.0  # between two heartbeats of a cluster
SILENT = timedelta(seconds=45)  # without a heartbeat of any of its processes, after which a cluster is down


def enqueue(function: str, *args: Any, cluster: ClusterName = "short") -> None:
    """Queue a call of ``function`` (dotted path).

    With the database as broker, the message belongs to the current transaction. With Redis, it is sent when
    the transaction commits; if Redis is down, the scheduler finds the work later.
    """
    from django_q.conf import Conf
    from django_q.tasks import async_task

    if Conf.ORM:
        async_task(function, *args, cluster=cluster)
        return

    def send() -> None:
        try:
            async_task(function, *args, cluster=cluster)
        except Exception as error:  # noqa: BLE001 - the transaction has been committed
            logger.warning(
                "%s was not queued, the scheduler will find the work: %s", function, type(error).__name__
            )

    transaction.on_commit(send)


def queued_messages(cluster: ClusterName) -> int:
    """Number of messages that no worker has fetched yet."""
    from django_q.brokers import get_broker

    return int(get_broker(cluster).queue_size())


def try_writing(cluster: ClusterName) -> None:
    """Write to Redis what is soon forgotten. Raises its error where it is full, or a read-only replica.

    With the database as broker there is nothing to try.
    """
    if settings.REDIS_URL:
        from django_q.brokers import get_broker

        get_broker(cluster).set_stat("speechportal:check", "1", 60)


def wake_recognition(waiting: int) -> None:
    """Wake enough recognition workers for ``waiting`` tasks."""
    _wake("recognition", "batches.operations.jobs.recognise_next", min(waiting, most_wake_ups()))


def most_wake_ups() -> int:
    """Limit of queued wake-up messages for recognition; each worker that starts a task wakes others."""
    return int(settings.RECOGNITION_WORKERS * max(settings.FILES_AT_ONCE, 1))


def wake_deliveries() -> None:
    """Wake one worker that sends deliveries."""
    _wake("deliveries", "batches.operations.jobs.send_deliveries", 1)


def cluster_problem(name: ClusterName) -> str:
    """Problem, in a word, of a cluster that ran before and sends no heartbeat; empty if it works.

    "shared_memory" and "broker" are reasons that this process sees as well.
    """
    if not NamedLease.is_idle(_heartbeat_name(name), SILENT):
        return ""
    if semaphore_problem():
        return "shared_memory"
    return "no_worker" if _broker_answers(name) else "broker"


def _heartbeat_name(cluster: ClusterName) -> str:
    return f"cluster {cluster}"


def _broker_answers(cluster: ClusterName) -> bool:
    try:
        queued_messages(cluster)
        try_writing(cluster)
    except Exception as error:  # noqa: BLE001 - each broker has its own exceptions
        logger.warning("the queue's broker is not available: %s", type(error).__name__)
        return False
    return True


def _wake(cluster: ClusterName, function: str, wanted: int) -> None:
    try:
        missing = wanted - queued_messages(cluster)
    except Exception as error:  # noqa: BLE001 - each broker has its own exceptions
        logger.warning("the queue's broker is not available: %s", type(error).__name__)
        return
    for _ in range(missing):
        enqueue(function, cluster=cluster)


def install_schedules(**_kwargs: Any) -> None:
    """Create or update the schedules; called by ``migrate`` and at start-up."""
    from django_q.models import Schedule

    Schedule.objects.update_or_create(
        name="scheduler",
        defaults={
            "func": PERIODIC_JOB,
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "repeats": -1,
            "cluster": "short",
        },
    )


def stopping() -> bool:
    """Whether this worker's cluster was asked to stop: long work should release its task."""
    return bool(_stopping.value)


def run_cluster(name: ClusterName) -> None:
    """Run a cluster in this process until SIGTERM or SIGINT. ``Q_CLUSTER_NAME`` must be set to ``name``."""
    from django_q import cluster
    from django_q.cluster import Cluster
    from django_q.conf import Conf
    from django_q.queues import Queue

    class SurvivingQueue(Queue):  # type: ignore[misc] # django-q2 ships no types
        """Queue whose lock is released when its holder is killed; an idle worker holds it while it waits."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._rlock, self._wlock = KernelLock(), KernelLock()

    class PortalCluster(Cluster):  # type: ignore[misc] # django-q2 ships no types
        def sig_handler(self, signum: int, frame: Any) -> None:
            _stopping.value = 1
            super().sig_handler(signum, frame)

    if os.environ.get("Q_CLUSTER_NAME") != name:
        raise RuntimeError(f"Q_CLUSTER_NAME is not {name}: start clusters with `manage.py cluster {name}`.")
    # After a kill -9 of the main process, its child processes would continue as orphans.
    os.register_at_fork(after_in_child=lambda: die_with_parent(signal.SIGTERM))
    cluster.Queue = SurvivingQueue
    install_schedules()
    if name == "short":
        enqueue(PERIODIC_JOB)  # django-q2's scheduler would start it only after half a minute.
    companion: Companion | None = None
    if path := settings.CLUSTER_COMPANIONS.get(name):
        companion = import_string(path)()
        Conf.WORKERS = companion.workers
    running = PortalCluster()
    running.start()
    ended = threading.Event()
    # A thread, since a broker that does not answer must not hold up the companion.
    threading.Thread(target=_send_heartbeats, args=(name, ended), name="heartbeat", daemon=True).start()
    try:
        _look_after(companion, running)
    finally:
        ended.set()


def _look_after(companion: Companion | None, cluster: Any) -> None:
    """Call the companion until the cluster has stopped.

    Runs in the main thread: the companion's child processes end with the thread that started them.
    """
    try:
        while cluster.sentinel.is_alive():
            try:
                if companion is not None:
                    companion.tick()
            except Exception:
                logger.exception("the cluster's companion failed; trying again")
            time.sleep(COMPANION_SECONDS)
    finally:
        if companion is not None:
            companion.close()


def _send_heartbeats(name: ClusterName, ended: threading.Event) -> None:
    send_heartbeat(name)
    while not ended.wait(HEARTBEAT_SECONDS):
        send_heartbeat(name)


def send_heartbeat(name: ClusterName) -> None:
    """Note that a cluster runs and reaches its broker, for :func:`cluster_problem`."""
    try:
        if _broker_answers(name):
            NamedLease.note_run(_heartbeat_name(name))
    except DatabaseError as error:
        logger.warning("no heartbeat was sent: %s", type(error).__name__)
    finally:
        connections.close_all()
