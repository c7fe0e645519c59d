"""Checks of the installation's work: queue, storages, encryption keys, models, mail, clocks."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.core.mail import get_connection
from django.db import connection
from django.db.models import Count, Model
from django.utils import timezone

from batches.models import ExecutionResult, Task
from batches.models.delivery import Webhook
from batches.models.notifications import ChatChannel
from batches.operations.doctor.findings import Background, Finding, bad, counted, good, note
from batches.status.failures import INPUT_TAKEN
from batches.tasks import model_hosts
from batches.webhooks import delivery_lifecycle
from speechportal import encryption
from speechportal.accounts.sign_in.second_factor import AuthenticatorApp
from speechportal.accounts.single_sign_on.account_providers import AccountProvider
from speechportal.platform import database_clock, queue
from speechportal.platform.models import NamedLease
from speechportal.storage.backends.base import Finding as StorageFinding
from speechportal.storage.errors import SecretUnreadable, StorageError
from speechportal.storage.models import Connection
from speechportal.storage.services import OPEN

# Secrets besides those of connections.
ENCRYPTED_COLUMNS: tuple[tuple[type[Model], str], ...] = (
    (Webhook, "encrypted_secret"),
    (Webhook, "encrypted_previous_secret"),
    (ChatChannel, "encrypted_url"),
    (AuthenticatorApp, "encrypted_secret"),
    (AccountProvider, "encrypted_secret"),
)

SCHEDULER_LATE = timedelta(minutes=3)
QUEUE_LATE = timedelta(minutes=15)
CLOCK_TOLERANCE = 30.0  # seconds; storages refuse requests that are 15 minutes off
STORAGE_SECONDS = 3.0  # timeout for all connections together
MAIL_SECONDS = 4.0  # after which the mail server does not answer
MOST_CONNECTIONS = 200
MOST_BATCHES = 20  # that are named for one reason


def clusters() -> Iterator[Finding]:
    now = database_clock.now()
    lease = NamedLease._default_manager.filter(name="scheduler").first()
    age = now - lease.last_run_at if lease and lease.last_run_at else None
    if age is None or age > SCHEDULER_LATE:
        last = "has never run" if age is None else f"last ran {int(age.total_seconds() // 60)} minutes ago"
        yield bad(
            "queue",
            f"The scheduler {last}; no batch is being polled.",
            "Start `manage.py run`, or the short cluster: `manage.py cluster short`.",
        )
    else:
        yield good("queue", "The scheduler runs.")
    waiting = Task.unscoped.filter(state=Task.State.WAITING, available_at__lt=now - QUEUE_LATE)
    stuck = waiting.filter(account__suspended_at=None, batch__paused_at=None, batch__status="normal")
    if stuck.exists() and not Task.unscoped.filter(state__in=Task.LEASED).exists():
        yield bad(
            "queue",
            "Tasks have waited for 15 minutes and none is in progress.",
            "Start the recognition cluster: `manage.py cluster recognition`. If it runs, restart it.",
        )
    if lacking := Task.unscoped.filter(state=Task.State.WAITING, error_code="work_disk_full").count():
        yield bad(
            "queue",
            f"A worker's disk is full; waiting for it: {counted(lacking, 'task')}.",
            "Free disk space on that machine.",
        )
    if delivery_lifecycle.sendable(now).filter(next_attempt_at__lt=now - QUEUE_LATE).exists():
        yield bad(
            "queue",
            "Webhook deliveries are more than 15 minutes late.",
            "Start the cluster: `manage.py cluster deliveries`.",
        )
    if ExecutionResult.unscoped.filter(written_at=None, created_at__lt=now - QUEUE_LATE).exists():
        yield note(
            "queue", "Execution results are more than 15 minutes late.", "See the storage findings below."
        )


def broker() -> Iterator[Finding]:
    name = "Redis" if settings.REDIS_URL else "The database"
    try:
        messages = queue.queued_messages("short")
        queue.try_writing("short")
    except Exception as error:  # noqa: BLE001 - each broker raises its own errors
        full = "maxmemory" in str(error)
        yield bad(
            "queue",
            f"{name} does not accept the queue's messages: {'its memory is full' if full else _kind(error)}.",
            "Raise its maxmemory, or look what else is stored there."
            if full
            else "Check that it runs, and the host, port and password in SPEECHPORTAL_REDIS_URL.",
        )
        return
    yield good("queue", f"{name} carries the queue's messages.")
    if messages > 1000:
        yield note("queue", f"{messages:,} short jobs are waiting.", "Raise SPEECHPORTAL_SHORT_WORKERS.")


def _kind(error: Exception) -> str:
    return type(error).__name__


def storage() -> Iterator[Finding]:
    for root in settings.STORAGE_LOCAL_ROOTS:
        if not root.is_dir():
            yield note(
                "storage",
                f"The local storage root {root} {'is no folder' if root.exists() else 'does not exist'}.",
                "Create it, or remove it from SPEECHPORTAL_STORAGE_LOCAL_ROOTS.",
            )
    yield from _taken_inputs()
    connections = Connection.unscoped.filter(batches__deleted_at=None, batches__isnull=False).distinct()
    found = list(connections.select_related("account").order_by("pk")[:MOST_CONNECTIONS])
    background = Background(time.monotonic() + STORAGE_SECONDS)
    looks = [(each, background.start(_check_of(each))) for each in found]
    faulty = late = 0
    for each, look in looks:
        result = look()
        if result is None:
            late += 1
            continue
        each.note_check(result)
        if problem := next((finding for finding in result if not finding.ok), None):
            faulty += 1
            yield bad(
                "storage",
                f"{each.name} ({each.uid}): {problem.message}",
                "Members of its account can correct the connection.",
            )
    if late:
        yield note(
            "storage",
            f"Not answered within {STORAGE_SECONDS:.0f} seconds: {counted(late, 'connection')}.",
            "The page of a connection checks it for as long as it takes.",
        )
    if not faulty and len(found) > late:
        checked = counted(len(found) - late, "connection")
        yield good("storage", f"Checked and working: {checked} of batches.")
    elif not found:
        yield good("storage", "No batch has a connection to check.")


def _taken_inputs() -> Iterator[Finding]:
    """Batches whose inputs something else has lately moved, probably another installation."""
    lately = Task.unscoped.filter(
        state=Task.State.FAILED, error_code=INPUT_TAKEN, finished_at__gt=timezone.now() - timedelta(days=1)
    )
    rows = lately.order_by().values("batch__name", "batch__uid").annotate(n=Count("pk"))
    for row in rows.order_by("-n")[:MOST_BATCHES]:
        yield bad(
            "storage",
            f"{row['batch__name']} ({row['batch__uid']}): something else has moved inputs of the last day"
            f" ({counted(row['n'], 'file')}), probably another installation that watches the same path.",
            "Let one installation alone watch it: pause or delete the batch in the other.",
        )


def _check_of(each: Connection) -> Callable[[], list[StorageFinding]]:
    """Prepare the check of a storage, so that it can run in a thread without the database."""
    try:
        return functools.partial(each.store().check, "")
    except StorageError as error:
        finding = StorageFinding("open", OPEN, error)
        return lambda: [finding]


def _unreadable_secrets() -> int:
    """Number of stored secrets that cannot be read, without transcripts: there may be millions."""
    unreadable = 0
    for each in Connection.unscoped.exclude(encrypted_secret="").iterator(chunk_size=200):
        try:
            each.secrets()
        except SecretUnreadable:
            unreadable += 1
    for model, column in ENCRYPTED_COLUMNS:
        stored = model._base_manager.exclude(**{column: ""}).values_list(column, flat=True)
        unreadable += sum(not encryption.is_readable(secret) for secret in stored.iterator(200))
    return unreadable


def keys() -> Iterator[Finding]:
    if unreadable := _unreadable_secrets():
        yield bad(
            "keys",
            f"{counted(unreadable, 'stored secret')} cannot be decrypted with SPEECHPORTAL_ENCRYPTION_KEYS.",
            "Add the missing key, then run: manage.py rotate_keys",
        )
    else:
        yield good("keys", "Every stored secret can be decrypted (transcripts were not tried).")
    if len(settings.ENCRYPTION_KEYS) > 1:
        yield note(
            "keys",
            "There are several encryption keys.",
            "After `manage.py rotate_keys`, only the first is needed.",
        )


def served_models() -> Iterator[Finding]:
    """Check whether a worker of the installation serves each model that is offered or required."""
    waited_for = set(model_hosts.waiting_for_models().values())
    missing = model_hosts.missing_models({*settings.WHISPER_MODELS, *settings.SPEAKER_MODELS} | waited_for)
    for each in missing:
        sentence = f"No worker serves {each.name}. {each.reason}".strip()
        if each.name in waited_for:
            yield bad("models", f"{sentence} Tasks wait for it.", each.remedy)
        else:
            yield note("models", sentence, each.remedy)
    if not missing:
        hosts = model_hosts.live_rows().order_by().values("host").distinct().count()
        yield good("models", f"Workers on {hosts} machine(s) serve every model that is offered.")


def clock() -> Iterator[Finding]:
    if time.time() < 1_760_000_000:
        yield bad("clock", "This machine's clock is years behind.", "Turn on time synchronisation.")
    elif connection.vendor != "postgresql":
        yield good("clock", "The database is on this machine and uses its clock.")
    elif (apart := abs(database_clock.ahead())) > CLOCK_TOLERANCE:
        yield bad(
            "clock",
            f"The clocks of this machine and the database are {apart:.0f} seconds apart;"
            " hosts may look stopped, and work may start late.",
            "Turn on time synchronisation on both.",
        )
    else:
        yield good("clock", "This machine's clock and the database's agree.")


def mail() -> Iterator[Finding]:
    if not settings.EMAIL_HOST:
        yield note(
            "mail",
            "No mail is sent: there is no mail server.",
            "Set SPEECHPORTAL_EMAIL_HOST, or pass on invitation links by hand.",
        )
        return
    try:
        server = get_connection(timeout=MAIL_SECONDS)
        server.open()
        server.close()
    except (OSError, socket.gaierror) as error:
        # smtplib raises an error of its own where the server accepts the connection and says nothing.
        silent = isinstance(error, TimeoutError) or "timed out" in str(error)
        what = "does not answer" if silent else f"refuses the sign-in: {type(error).__name__}"
        yield bad(
            "mail",
            f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT} {what}.",
            "Check SPEECHPORTAL_EMAIL_HOST, _PORT, _USER, _PASSWORD and _TLS.",
        )
    else:
        yield good("mail", f"{settings.EMAIL_HOST} accepts the sign-in.")
