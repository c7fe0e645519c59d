"""Diagnosis of an installation: what was checked, what was found, and what to do about it.

Each check returns findings and changes nothing. A check that raises is a finding itself, so that the other
checks still report theirs.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from enum import Enum
from pathlib import Path

import imageio_ffmpeg
from django.conf import settings
from django.core import checks
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from batches.models import ExecutionResult, Task
from batches.recognition.models.store import ModelStore, is_path
from batches.recognition.runtime import sandbox
from batches.tasks import model_hosts
from batches.tasks.scheduling import ServedModels
from batches.webhooks import delivery_lifecycle
from batches.worker import disk_space
from speechportal.platform import queue
from speechportal.platform.models import NamedLease
from speechportal.storage.errors import SecretUnreadable
from speechportal.storage.models import Connection
from speechportal.storage.services import check_connection

SCHEDULER_LATE = timedelta(minutes=3)
QUEUE_LATE = timedelta(minutes=15)
CLOCK_TOLERANCE = 30.0  # seconds; storages refuse requests that are 15 minutes off
FREE_BYTES = 5 * 1024**3


class Health(Enum):
    GOOD = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True)
class Finding:
    about: str
    health: Health
    sentence: str
    advice: str = ""


def good(about: str, sentence: str) -> Finding:
    return Finding(about, Health.GOOD, sentence)


def note(about: str, sentence: str, advice: str = "") -> Finding:
    return Finding(about, Health.NOTE, sentence, advice)


def bad(about: str, sentence: str, advice: str) -> Finding:
    return Finding(about, Health.BAD, sentence, advice)


def counted(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def examine() -> Iterator[Finding]:
    """Run all checks; without a database, those that need none."""
    found_database = list(_safely("database", database))
    yield from found_database
    needs_database: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("queue", clusters),
        ("queue", broker),
        ("storage", storage),
        ("keys", keys),
        ("models", served_models),
    ]
    others = [
        ("settings", configuration),
        ("pages", static_files),
        ("models", models),
        ("ffmpeg", ffmpeg),
        ("sandbox", confinement),
        ("clock", clock),
        ("mail", mail),
        ("disk", disk),
    ]
    broken = any(finding.health is Health.BAD for finding in found_database)
    for about, look in (*(() if broken else needs_database), *others):
        yield from _safely(about, look)


def _safely(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - any failure here is a finding
        yield bad(about, f"This check failed with {type(error).__name__}.", "See the log for details.")


def database() -> Iterator[Finding]:
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(connection.vendor, connection.vendor)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
    except DatabaseError:
        yield bad(
            "database",
            f"{name} does not answer.",
            "Check that it runs, and the host, name, user and password in SPEECHPORTAL_DATABASE_URL.",
        )
        return
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield bad("database", f"Not applied: {counted(len(pending), 'migration')}.", "Run: manage.py migrate")
    else:
        yield good("database", f"{name} answers; all migrations are applied.")
    if settings.PRODUCTION and connection.vendor == "sqlite":
        yield note(
            "database", "SQLite serves one machine only.", "Use PostgreSQL before you add another machine."
        )


def clusters() -> Iterator[Finding]:
    now = timezone.now()
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
    except Exception as error:  # noqa: BLE001 - each broker raises its own errors
        yield bad(
            "queue",
            f"{name} does not accept the queue's messages: {type(error).__name__}.",
            "Check that it runs, and the host, port and password in SPEECHPORTAL_REDIS_URL.",
        )
        return
    yield good("queue", f"{name} carries the queue's messages.")
    if messages > 1000:
        yield note("queue", f"{messages:,} short jobs are waiting.", "Raise SPEECHPORTAL_SHORT_WORKERS.")


def storage() -> Iterator[Finding]:
    for root in settings.STORAGE_LOCAL_ROOTS:
        if not root.is_dir():
            yield note(
                "storage",
                f"The local storage root {root} does not exist.",
                "Create it, or remove it from SPEECHPORTAL_STORAGE_LOCAL_ROOTS.",
            )
    faulty = 0
    connections = Connection.unscoped.filter(batches__deleted_at=None, batches__isnull=False).distinct()
    for each in connections.order_by("pk")[:200]:
        if problem := next(
            (finding for finding in check_connection(connection=each) if not finding.ok), None
        ):
            faulty += 1
            yield bad(
                "storage",
                f"{each.name} ({each.uid}): {problem.message}",
                "Members of its account can correct the connection.",
            )
    if not faulty:
        yield good(
            "storage",
            f"Checked and working: {counted(min(connections.count(), 200), 'connection')} of batches.",
        )


def keys() -> Iterator[Finding]:
    unreadable = 0
    for each in Connection.unscoped.exclude(encrypted_secret="").iterator(chunk_size=200):
        try:
            each.secrets()
        except SecretUnreadable:
            unreadable += 1
    if unreadable:
        yield bad(
            "keys",
            f"{counted(unreadable, 'stored secret')} cannot be decrypted with SPEECHPORTAL_ENCRYPTION_KEYS.",
            "Add the missing key, then run: manage.py rotate_keys",
        )
    else:
        yield good("keys", "Every stored secret can be decrypted.")
    if len(settings.ENCRYPTION_KEYS) > 1:
        yield note(
            "keys",
            "There are several encryption keys.",
            "After `manage.py rotate_keys`, only the first is needed.",
        )


def configuration() -> Iterator[Finding]:
    found = checks.run_checks(include_deployment_checks=settings.PRODUCTION)
    for message in found:
        make = bad if message.level >= checks.ERROR else note
        yield make("settings", str(message.msg), str(message.hint or ""))
    if not found:
        yield good("settings", f"The settings are valid (mode: {settings.MODE}).")


def static_files() -> Iterator[Finding]:
    """In production, pages refer to static files by the manifest that collectstatic writes."""
    if not settings.PRODUCTION:
        return
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").is_file():
        yield bad("pages", "The static files are not collected.", "Run: manage.py collectstatic --noinput")
        return
    yield good("pages", "The static files are collected.")


def models() -> Iterator[Finding]:
    """The files of the models that this machine serves."""
    store = ModelStore(settings.MODELS_DIR)
    served = ServedModels.of_settings()
    for name in sorted(served.whisper | served.speakers):
        if is_path(name):
            problems = [] if Path(name).exists() else [f"There is no model at {name}."]
        else:
            problems = store.verify(name)
        if problems:
            yield bad("models", problems[0], f"Run: manage.py models fetch {name}")
        else:
            yield good("models", f"{name} is complete.")
    offered = {*settings.WHISPER_MODELS, *settings.SPEAKER_MODELS}
    if unknown := sorted(set(settings.SERVED_MODELS) - offered):
        yield note(
            "models",
            f"SPEECHPORTAL_SERVED_MODELS names {', '.join(unknown)}, which is not offered.",
            "Add it to SPEECHPORTAL_WHISPER_MODELS or SPEECHPORTAL_SPEAKER_MODELS.",
        )


def served_models() -> Iterator[Finding]:
    """Whether some worker of the installation serves each model that is offered or waited for."""
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


def ffmpeg() -> Iterator[Finding]:
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (RuntimeError, OSError, subprocess.SubprocessError):
        yield bad(
            "ffmpeg", "ffmpeg does not run; no media can be decoded.", "Install the package imageio-ffmpeg."
        )
        return
    yield good("ffmpeg", answer.stdout.splitlines()[0])


# What each part of the sandbox keeps the readers of media files from, and what it needs.
SANDBOX = {
    sandbox.NETWORK: ("reach the network", "seccomp, or user namespaces (sysctl user.max_user_namespaces)"),
    sandbox.FILES: ("read files other than the media, models and libraries", "Landlock (Linux 5.13)"),
    sandbox.PROCESSES: (
        "send signals to other processes",
        "seccomp, or Landlock (Linux 6.12)",
    ),
}


def confinement() -> Iterator[Finding]:
    """Whether the engine process and ffmpeg can be confined here as intended."""
    gaps = sandbox.missing()
    for part in gaps:
        effect, need = SANDBOX[part]
        make = note if settings.ACCEPT_SANDBOX_GAPS else bad
        yield make(
            "sandbox",
            f"Processes that read media files can {effect}.",
            f"It takes {need}, also inside a container; or set SPEECHPORTAL_ACCEPT_SANDBOX_GAPS=true.",
        )
    if not gaps:
        yield good("sandbox", "Processes that read media files are confined.")


def clock() -> Iterator[Finding]:
    if time.time() < 1_760_000_000:
        yield bad("clock", "This machine's clock is years behind.", "Turn on time synchronisation.")
    elif connection.vendor != "postgresql":
        yield good("clock", "The database is on this machine and uses its clock.")
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            (theirs,) = cursor.fetchone()
        apart = abs(timezone.now().astimezone(UTC).timestamp() - float(theirs))
        if apart > CLOCK_TOLERANCE:
            yield bad(
                "clock",
                f"The clocks of this machine and the database are {apart:.0f} seconds apart; leases fail.",
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
        server = get_connection()
        server.open()
        server.close()
    except (OSError, socket.gaierror) as error:
        yield bad(
            "mail",
            f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT} refuses the sign-in: {type(error).__name__}.",
            "Check SPEECHPORTAL_EMAIL_HOST, _PORT, _USER, _PASSWORD and _TLS.",
        )
    else:
        yield good("mail", f"{settings.EMAIL_HOST} accepts the sign-in.")


def disk() -> Iterator[Finding]:
    for name, folder in (("data", settings.DATA_DIR), ("work files", settings.WORK_DIR)):
        free = disk_space.free_bytes(Path(folder))
        if folder == settings.WORK_DIR and not disk_space.enough():
            yield bad(
                "disk",
                f"{free / 1024**2:.0f} MiB are free for {name} ({folder}); no task is started here.",
                "Free disk space; the waiting tasks then start by themselves.",
            )
        elif free < FREE_BYTES:
            yield bad("disk", f"{free / 1024**3:.1f} GiB are free for {name} ({folder}).", "Free disk space.")
        else:
            yield good("disk", f"{free / 1024**3:.0f} GiB are free for {name}.")
