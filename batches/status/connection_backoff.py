"""Back-off of a whole connection: one storage that is down must not keep workers from the others' files.

Faults of one file (it is gone, it changed, its name does not fit) are that task's affair. Every other fault
is the connection's: after it nothing of the connection is tried for a while, longer each time, and then by
one worker alone; the first success ends it. A connection that was edited since is tried at once.
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
PROBE = timedelta(seconds=60)  # How long one worker may try before the next is let through.
TOLERATED = 3  # Passing faults in a row before a batch is shown in Error.

PASSING = (Throttled, TimedOut, StorageFault)  # And the storage not answering without a reason.


def blocked(now: datetime) -> QuerySet[ConnectionBackoff]:
    """Connections to leave alone for now."""
    return ConnectionBackoff.unscoped.filter(retry_at__gt=now, connection__updated_at__lte=F("seen_at"))


def is_blocked(connection_id: int) -> bool:
    return blocked(timezone.now()).filter(connection=connection_id).exists()


def admit(connection_id: int | None) -> None:
    """Somebody tries a connection in back-off now: the others wait for the outcome."""
    now = timezone.now()
    due = ConnectionBackoff.unscoped.filter(connection=connection_id, retry_at__lte=now)
    due.update(retry_at=now + PROBE)


def passes_by_itself(error: StorageError) -> bool:
    """Whether a person need not look at it before it has come several times."""
    return isinstance(error, PASSING) or type(error) is Unreachable


def note(connection_id: int, error: StorageError, began_at: datetime) -> int:
    """Count a fault of a use that began at ``began_at``; returns how many there were in a row.

    Many workers that run into the same fault at once count it once.
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
            pass  # Somebody else has met it at the same moment.
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
    """A use of the connection whose outcome is noted."""
    began_at = timezone.now()
    try:
        yield
    except StorageError as error:
        note(connection_id, error, began_at)
        raise
    clear(connection_id)


def clear(connection_id: int) -> None:
    """The connection was used with success."""
    ConnectionBackoff.unscoped.filter(connection=connection_id).delete()
