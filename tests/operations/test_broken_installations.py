"""Broken installations as an outsider would have them: named with the remedy, and no file fails."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest
from django.core.management import CommandError, call_command
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from pytest_django.fixtures import Settings

from batches.models import Task
from batches.operations import doctor
from batches.operations.doctor import Health, machine
from batches.operations.doctor import work as work_checks
from batches.tasks import lifecycle
from speechportal.platform import queue
from speechportal.platform.database_errors import explain_in_a_line, explain_message, is_of_the_installation
from tests import factories
from tests.clients import Client
from tests.operations.test_wrong_settings import POSTGRESQL, manage
from tests.workbench import Engine, again_at_once, drop, work

READ_ONLY = InternalError("cannot execute UPDATE in a read-only transaction")
NO_RIGHTS = ProgrammingError("permission denied for table batches_task")
NO_COLUMN = ProgrammingError('column batches_task.newer does not exist\nLINE 1: SELECT "batches_task"')


def bad(check: str) -> list[doctor.Finding]:
    return [each for each in getattr(doctor, check)() if each.health is Health.BAD]


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (READ_ONLY, True),
        (NO_RIGHTS, True),
        (NO_COLUMN, True),
        (OperationalError("the connection is lost"), True),
        (InternalError("invalid page in block 7 of relation base/1/2"), True),
        (DatabaseError("database disk image is malformed"), True),
        (InternalError("current transaction is aborted"), False),
        (ProgrammingError('syntax error at or near "SELEC"'), False),
        (IntegrityError("UNIQUE constraint failed"), False),
        (DataError("value too long"), False),
        (ValueError("no such table"), False),
    ],
)
def test_faults_of_a_database_are_told_from_those_of_a_query(error: Exception, is_fault: bool) -> None:
    assert is_of_the_installation(error) is is_fault


@pytest.mark.django_db
@pytest.mark.parametrize("error", [READ_ONLY, NO_RIGHTS, NO_COLUMN])
def test_a_database_that_takes_no_changes_or_lacks_columns_fails_no_file(
    error: Exception, settings: Settings
) -> None:
    """After a failover to a standby, or while two versions of the portal work on one database."""
    settings.SETTLE_SECONDS, settings.MAX_ATTEMPTS = 0, 1

    def fail() -> None:
        raise error

    engine = Engine()
    engine.during["transcribe"] = fail
    drop(factories.make_batch())
    for _ in range(lifecycle.DELAYS + 2):
        task = work(engine)
        assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "database_fault", 0)
        again_at_once()
    assert work(Engine()).state == Task.State.COMPLETED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (READ_ONLY, "PostgreSQL takes no changes: it is a standby, or read-only. Name the primary"),
        (NO_RIGHTS, "permission denied for table batches_task. Make it their owner"),
    ],
)
def test_such_a_database_is_one_line_for_any_command(error: DatabaseError, words: str) -> None:
    assert words in " ".join(explain_message(str(error), POSTGRESQL))
    assert explain_in_a_line(error)


def test_a_folder_as_the_database_is_called_one(tmp_path: Path) -> None:
    told = manage(tmp_path, "migrate", DATABASE_URL=f"sqlite:///{tmp_path}")
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith(f"The database {tmp_path} is a folder. Name a file in SPEECHPORTAL_DATABASE_URL")


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no users with rights")
def test_a_user_that_may_only_read_is_named(client: Client) -> None:
    assert bad("database") == []
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE reads_only; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads_only")
        cursor.execute("SET LOCAL ROLE reads_only")
    (finding,) = bad("database")
    assert "permission denied for table batches_" in finding.sentence
    assert client.get("/readyz").json()["problem"] == "database_read_only"
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


@pytest.fixture
def small_redis(tmp_path: Path) -> Iterator[str]:
    """Redis without memory for anything."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxmemory", "1"]
    server = subprocess.Popen([program, *options, "--dir", tmp_path], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()


def test_a_redis_whose_memory_is_full_is_named(tmp_path: Path, small_redis: str) -> None:
    told = manage(tmp_path, "migrate", "--verbosity", "0")
    assert told.returncode == 0, told.stderr
    told = manage(tmp_path, "doctor", REDIS_URL=small_redis)
    assert "Redis does not accept the queue's messages: its memory is full." in told.stdout
    assert "Raise its maxmemory" in told.stdout


@pytest.mark.django_db
def test_a_redis_that_can_only_be_read_stops_the_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    assert queue._broker_answers("short")

    def refuse(_cluster: str) -> None:
        raise ConnectionError("You can't write against a read only replica.")

    monkeypatch.setattr(queue, "try_writing", refuse)
    assert not queue._broker_answers("short")


def test_a_cluster_that_cannot_use_redis_ends_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        told = manage(tmp_path, "cluster", "short", REDIS_URL=address)
    (line,) = told.stderr.strip().splitlines()
    assert (told.returncode, "Redis does not accept" in line) == (1, True)
    assert "SPEECHPORTAL_REDIS_URL" in line


def test_an_ffmpeg_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    assert machine.HANGS < doctor.SECONDS
    monkeypatch.setattr(machine, "HANGS", 0.5)
    (finding,) = bad("ffmpeg")
    assert "does not answer within" in finding.sentence


def test_a_mail_server_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    assert work_checks.MAIL_SECONDS < doctor.SECONDS
    monkeypatch.setattr(work_checks, "MAIL_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        (finding,) = bad("mail")
    assert " does not answer." in finding.sentence


def test_a_file_in_place_of_the_models_folder_is_named(settings: Settings, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    settings.MODELS_DIR.write_text("")
    (finding,) = bad("models")
    assert finding.sentence == f"{settings.MODELS_DIR} is not a folder."
    assert "SPEECHPORTAL_MODELS_DIR" in finding.advice
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        call_command("models", "fetch", "base")
