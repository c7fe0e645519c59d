"""Connection back-off: a circuit breaker for each storage, so that one that is down does not occupy workers.

Errors of one file (missing, changed, invalid name) affect its task only. Any other storage error opens the
circuit: the connection is not used for a while, longer each time, and then by one worker as a probe; the
first success closes the circuit. A connection that was edited since is tried at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from batches.models import ConnectionBackoff
from batches.status.failures import CATALOGUE, Level
from speechportal.storage.errors import StorageError, StorageFault, Throttled, TimedOut, Unreachable

PAUSES = [timedelta(seconds=seconds) for seconds in (5, 15, 30, 60, 120, 300)]
PROBE = timedelta(seconds=60)  # time for one worker's probe before the next may try
TOLERATED = 3  # consecutive transient errors before a batch turns to Error

PASSING = (Throttled, TimedOut, StorageFault)  # transient, as is a plain Unreachable


def blocked(now: datetime) -> QuerySet[ConnectionBackoff]:
    """Back-offs in force: their connections are not used."""
    return ConnectionBackoff.unscoped.filter(retry_at__gt=now, connection__updated_at__lte=F("seen_at"))


def is_blocked(connection_id: int) -> bool:
    return blocked(timezone.now()).filter(connection=connection_id).exists()


def admit(connection_id: int | None) -> None:
    """Start a probe of a connection in back-off: the others wait for its outcome."""
    now = timezone.now()
    due = ConnectionBackoff.unscoped.filter(connection=connection_id, retry_at__lte=now)
    due.update(retry_at=now + PROBE)


def passes_by_itself(error: StorageError) -> bool:
    """Whether the error is transient: usually ends without a person's action."""
    return isinstance(error, PASSING) or type(error) is Unreachable


def note(connection_id: int, error: StorageError, began_at: datetime) -> int:
    """Count an error of a use that began at ``began_at``; returns the number of consecutive errors.

    Many workers that get the same error at once count it once. Errors of one file return 0.
    """
    if CATALOGUE[error.code].level is not Level.CONNECTION:
        return 0
    now = timezone.now()
    backoff = ConnectionBackoff.unscoped.filter(connection=connection_id).first()
    if backoff is None:
        try:
            with transaction.atomic():
                ConnectionBackoff.unscoped.create(
                    connection_id=connection_id, code=error.code, seen_at=now, retry_at=now + PAUSES[0]
                )
        except IntegrityError:
            pass  # Another process inserted it first.
        return 1
    if backoff.seen_at >= began_at:
        return backoff.failures
    pause = PAUSES[min(backoff.failures, len(PAUSES) - 1)]
    ConnectionBackoff.unscoped.filter(pk=backoff.pk, failures=backoff.failures).update(
        failures=backoff.failures + 1, code=error.code, seen_at=now, retry_at=now + pause
    )
    return backoff.failures + 1


@contextmanager
def watched(connection_id: int) -> Iterator[None]:
    """Context manager around a use of the connection: counts its error, or clears the back-off."""
    began_at = timezone.now()
    try:
        yield
    except StorageError as error:
        note(connection_id, error, began_at)
        raise
    clear(connection_id)


def clear(connection_id: int) -> None:
    """End the back-off after a successful use."""
    ConnectionBackoff.unscoped.filter(connection=connection_id).delete()
