"""Task outcomes after an error: each kind of error fails the task, releases it, or makes it wait."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone

from batches.models import Batch, Task, TaskAttempt
from batches.recognition.errors import (
    EngineDied,
    EngineUnavailable,
    HostExhausted,
    InstallationDamaged,
    ModelUnavailable,
    RecognitionError,
    WorkDiskFull,
    WorkFolderUnwritable,
    is_exhausted,
)
from batches.status import batch_status, connection_backoff, failures
from batches.status.failures import Failure, Level, failure_of
from batches.tasks import fleet, lifecycle, model_hosts
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.tasks.model_hosts import HostFault
from batches.tasks.scheduling import PROBE
from batches.worker import adoption, disk_space, installation, moving, work_folder
from batches.worker.workspaces import media_of, workspace_of
from domains.offered_models import ModelPair
from speechportal.platform import database_errors
from speechportal.storage.errors import (
    AccessDenied,
    Changed,
    NotFound,
    ObjectError,
    StorageError,
    StorageFault,
)

logger = logging.getLogger(__name__)

DATABASE_PAUSE = 2.0  # seconds between two attempts to write to a failing database
DATABASE_PATIENCE = 120.0  # seconds after the lease in which they go on


def after_recognition_error(lease: Lease, task: Task, error: RecognitionError) -> None:
    """Fail the task if the error is permanent or was its last attempt; release it otherwise."""
    if isinstance(error, HostExhausted) and _exhausts_its_host(task):
        error = EngineDied(f"Other files are completed on the same machine. {error.message}")
    failure = failure_of(error)
    logger.warning("task %s: %s: %s", task.uid, error.code, error.message)
    if isinstance(error, ModelUnavailable):
        pair = ModelPair(task.whisper_model, task.speaker_model)
        model_hosts.note_problem(pair, str(error.details.get("name", "")), error.message)
    elif error.code in failures.HOST_FAULTS and not _is_restart(error):
        model_hosts.note_fault(HostFault(error.code, error.message))
    # A fault of the installation, which the operator must repair, counts no attempt. Others do.
    counts = failure.reason is None or failure.reason.level is not Level.INSTALLATION
    if error.permanent or (counts and task.attempts >= settings.MAX_ATTEMPTS):
        _fail(lease, task, failure)
    else:
        release(lease, task, failure, count_attempt=counts)


def _exhausts_its_host(task: Task) -> bool:
    """Whether it is this file that exhausts its machine, rather than the machine that lacks something.

    So it is after it was held up :data:`~batches.tasks.lifecycle.DELAYS` times in a row, if other files were
    completed on the same machine since its last attempt. While none is, the file waits however long it takes.
    """
    if task.delays < lifecycle.DELAYS:
        return False
    last = TaskAttempt.unscoped.filter(task=task).order_by("-pk").first()
    if last is None:
        return False
    host = task.worker.rpartition(":")[0]
    since = {"finished_at__gt": last.ended_at, "batch__last_finished_at__gt": last.ended_at}
    return Task.unscoped.filter(fleet.on_host(host), state=Task.State.COMPLETED, **since).exists()


def after_storage_error(lease: Lease, task: Task, error: StorageError, began_at: datetime) -> None:
    """Fail the task if the error concerns only its input; otherwise back off the connection or batch."""
    logger.warning("task %s: storage error: %s", task.uid, error.code)
    if isinstance(error, (NotFound, Changed)):
        try:
            failure = _what_became_of_the_input(task)
        except StorageError as second:
            error = second
        else:
            _fail(lease, task, failure)
            return
    if type(error) is AccessDenied and _others_can_be_read(task):
        error = ObjectError(error.key, answer=error.answer)
    failure = failure_of(error)
    if isinstance(error, ObjectError):
        _fail(lease, task, failure)
        return
    if task.connection_id is not None:
        connection_backoff.note(task.connection_id, error, began_at)
    if error.permanent:
        batch_status.set_error(task.batch_id, failure)
        Batch.unscoped.filter(pk=task.batch_id).update(held_until=timezone.now() + PROBE)
    release(lease, task, failure, count_attempt=False)


def after_database_error(lease: Lease, task: Task, error: Exception, stopping: Callable[[], bool]) -> None:
    """Release the task once the database, which was down, locked or full, is writable again.

    Gives up some time after the lease has expired: the periodic job then reaps the task.
    """
    logger.error("task %s: database error: %s", task.uid, type(error).__name__)
    failure = failures.failure("database_fault")
    # Missing tables or rights are no fault that a file can cause.
    counts = isinstance(error, OperationalError | InterfaceError) and task.delays >= lifecycle.DELAYS
    if counts and task.attempts >= settings.MAX_ATTEMPTS:
        _fail(lease, task, failure)
        return
    end = time.monotonic() + settings.LEASE_SECONDS + DATABASE_PATIENCE
    while True:
        try:
            release(lease, task, failure, count_attempt=counts)
        except DatabaseError as again:
            if not database_errors.is_of_the_installation(again):
                raise
            if time.monotonic() > end or stopping():
                raise
            connection.close()
            time.sleep(DATABASE_PAUSE)
        else:
            return


def after_unexpected_error(lease: Lease, task: Task, error: Exception) -> None:
    """Release the task. A fault of this machine counts no attempt; after the last attempt the task fails."""
    if (fault := _host_fault(error)) is not None:
        logger.error("task %s: %s %s", task.uid, fault.message, error)
        model_hosts.note_fault(HostFault(fault.code, f"{fault.message} {error}"))
        release(lease, task, failure_of(fault), count_attempt=False)
        return
    logger.error("task %s: unexpected error", task.uid, exc_info=error)
    failure = failures.failure("internal_error", error=type(error).__name__)
    if task.attempts >= settings.MAX_ATTEMPTS:
        _fail(lease, task, failure)
    else:
        release(lease, task, failure, count_attempt=True)


def _host_fault(error: Exception) -> RecognitionError | None:
    """Fault of this machine that an unexpected error means, if any."""
    if disk_space.is_lacking(error):
        return WorkDiskFull()
    if work_folder.is_not_writable(error):
        return WorkFolderUnwritable()
    if is_exhausted(error):
        return HostExhausted()
    return InstallationDamaged() if installation.is_damage(error) else None


def _is_restart(error: RecognitionError) -> bool:
    """Whether the engine is unavailable only while its cluster restarts."""
    return isinstance(error, EngineUnavailable) and not error.details


def confirm_cancel(lease: Lease, task: Task) -> None:
    """Confirm a cancellation that the worker has noticed, and move the input."""
    lifecycle.confirm_cancel(lease)
    move_input(task)


def release_unstarted(lease: Lease, forget: Callable[[Path], None]) -> None:
    """Release a task that was claimed and not started. ``forget`` is called with the path of its input."""
    task = Task.unscoped.select_related("connection").get(pk=lease.task_id)
    workspace = workspace_of(task, lease)
    forget(media_of(task, workspace))
    shutil.rmtree(workspace, ignore_errors=True)
    release(lease, task)


def release(lease: Lease, task: Task, failure: Failure | None = None, *, count_attempt: bool = False) -> None:
    """Release a task to be claimed again, or confirm a cancellation that came meanwhile."""
    try:
        lifecycle.release(lease, failure, count_attempt=count_attempt)
    except CancelRequested:
        confirm_cancel(lease, task)
    except LeaseLost:
        pass


def _fail(lease: Lease, task: Task, failure: Failure) -> None:
    try:
        lifecycle.fail(lease, failure)
    except CancelRequested:
        lifecycle.confirm_cancel(lease)
    except LeaseLost:
        return
    move_input(task)


def move_input(task: Task) -> None:
    """Move the input of a task in its final state; after an error the scheduler repeats the move."""
    try:
        moving.move_input(task.pk)
    except StorageError as error:
        logger.warning("task %s: the input could not be moved yet: %s", task.uid, error.code)


def _others_can_be_read(task: Task) -> bool:
    """Whether a probe file can be written, read and moved; if so, only this input is unreadable."""
    if task.connection is None or task.settings is None:
        return False
    try:
        findings = task.connection.store().check(task.settings.result_path)
    except StorageError:
        return False
    return all(finding.ok for finding in findings)


def _what_became_of_the_input(task: Task) -> Failure:
    """Failure reason for an input that is not in the storage. Raises StorageFault if it exists after all.

    The input is looked up a second time, so that one wrong response does not fail a task.
    """
    looks = [task.connection.store().stat(task.input_key) for _ in range(2)] if task.connection else []
    if not any(looks):
        if adoption.find_result(task) is not None:
            return failures.failure("result_in_storage")
        if (moved := adoption.find_moved_input(task)) is not None:
            return failures.failure(failures.INPUT_TAKEN, key=moved.key)
        return failures.failure("input_missing")
    versions = {look.version if look else "" for look in looks}
    if len(versions) > 1 or task.input_version in versions:
        raise StorageFault(task.input_key)
    return failures.failure("input_replaced")
