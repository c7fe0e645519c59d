"""Invalid settings: one line for each at the start of any command; ``doctor`` reports the others."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, OperationalError, ProgrammingError, connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django.fixtures import Settings

from batches.operations import doctor
from batches.operations.doctor import Health
from speechportal.env import Env, stored_secret
from speechportal.platform import temporary_folder
from speechportal.platform.database_errors import explain_in_a_line, explain_message
from speechportal.service_urls import database, redis
from speechportal.settings import BASE_DIR
from tests.clients import Client

POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "db.example",
    "PORT": "5432",
    "USER": "portal",
    "NAME": "speech",
    "OPTIONS": {"connect_timeout": "3"},
}


def manage(folder: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    own = {f"SPEECHPORTAL_{name}": value for name, value in {"DATA_DIR": str(folder), **given}.items()}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        cwd=BASE_DIR,
        env={**kept, **own},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("POLL_SECONDS", "60s", "SPEECHPORTAL_POLL_SECONDS must be a whole number, not '60s'."),
        ("MODE", "prod", "must be one of embedded, production"),
        ("DATABASE_URL", "mysql://u:p@h/n", "starts with 'mysql'"),
        ("DATABASE_URL", "postgresql://u:se/qwx@h:5432/n", "are written as %40"),
        ("DATABASE_URL", "postgresql://u:se#qwx@h:5432/n", "written as"),
        ("DATABASE_URL", "postgresql://u:p@s/qwx@h:5432/n", "/ is written as %2F"),
        ("DATABASE_URL", "sqlite:///srv/portal.sqlite3", "sqlite:////srv/portal.sqlite3"),
        ("DATA_DIR", "/proc/portal", "/proc/portal cannot be read or written"),
        ("DATA_DIR", "/dev/null", "cannot be read or written: Not a directory."),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, name: str, value: str, words: str) -> None:
    told = manage(tmp_path, "doctor", **{name: value})
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("Wrong setting: SPEECHPORTAL_")
    assert words in line
    assert "qwx" not in line  # no part of the password


FORMS = [
    ("TIME_ZONE", "Asia/Soul", "Is Asia/Seoul meant?"),
    ("PRICE_PER_FILE", "0,10", "must be a price with a point, such as 0.10, not '0,10'."),
    ("CURRENCY", "won", "such as KRW"),
    ("RECOGNITION_DEVICE", "gpu0", "must be auto, cpu, cuda, cuda:1 or cuda:0,cuda:1, not 'gpu0'."),
    ("PUBLIC_URL", "portal.example.com", "must be an address such as https://portal.example.com"),
    ("ALLOWED_HOSTS", "a.example,https://b.example:443", "without https:// and a port"),
    ("EMAIL_HOST", "smtp://mail.example.com", "must be a host name such as mail.example.com"),
    ("OIDC_ISSUER", "login.example.com", "must be an address"),
    ("GATEWAY_EMAIL_HEADER", "X Forwarded", "must be the name of a header"),
    ("OUTBOUND_CA_FILE", "/nonexistent.pem", "cannot be read: No such file or directory."),
]
READ_EACH = """
import json, os, sys
from django.core.exceptions import ImproperlyConfigured
told = []
for name, value in json.load(sys.stdin):
    os.environ["SPEECHPORTAL_" + name] = value
    try:
        import speechportal.settings
        told.append("")
    except ImproperlyConfigured as error:
        told.append(str(error))
    del os.environ["SPEECHPORTAL_" + name]
    for module in [each for each in sys.modules if each.startswith("speechportal.settings")]:
        del sys.modules[module]
print(json.dumps(told))
"""


def test_the_form_of_text_settings_is_checked(tmp_path: Path) -> None:
    given = [[name, value] for name, value, _words in FORMS]
    read = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_EACH],
        cwd=BASE_DIR,
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "SPEECHPORTAL_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(read.stdout)
    assert len(told) == len(FORMS)
    for sentence, (name, _value, words) in zip(told, FORMS, strict=True):
        assert sentence.startswith(f"SPEECHPORTAL_{name}"), sentence
        assert words in sentence


def test_a_wrong_setting_is_json_where_that_is_asked_for(tmp_path: Path) -> None:
    told = manage(tmp_path, "doctor", "--json", POLL_SECONDS="60s")
    document = json.loads(told.stdout)
    assert (told.returncode, document["good"]) == (1, False)
    assert "'60s'" in document["findings"][0]["sentence"]


def test_an_unusable_database_is_one_line_for_any_command(tmp_path: Path) -> None:
    told = manage(tmp_path, "fleet", DATABASE_URL="postgresql://portal:x@127.0.0.1:1/speech")
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("Nothing accepts connections at 127.0.0.1:1. Start PostgreSQL there")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("no such table: batches_batch"), "Run: manage.py migrate"),
        (ProgrammingError('relation "batches_batch" does not exist'), "Run: manage.py migrate"),
        (ProgrammingError('invalid connection option "x"'), "Correct what follows the question mark."),
        (DatabaseError("file is not a database"), "is damaged, or is no SQLite database. Restore a backup"),
        (DatabaseError("database disk image is malformed"), "is damaged"),
        (OperationalError("database or disk is full"), "is full or fails. Free disk space"),
        (OperationalError("unable to open database file"), "must not be mounted read-only"),
    ],
)
def test_each_error_of_a_database_has_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: DatabaseError, words: str
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "django.db.backends.sqlite3")
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "portal.sqlite3"))
    assert words in explain_in_a_line(error)


def test_a_faulty_query_keeps_its_traceback() -> None:
    assert explain_in_a_line(ProgrammingError('syntax error at or near "SELEC"')) == ""
    assert explain_in_a_line(IntegrityError("UNIQUE constraint failed: batches_batch.name")) == ""


def test_a_relative_path_is_refused_in_production() -> None:
    environment = {"SPEECHPORTAL_DATA_DIR": "data", "SPEECHPORTAL_STORAGE_LOCAL_ROOTS": "/srv,calls"}
    assert Env(environment).path("DATA_DIR", Path("/x")) == Path("data").resolve()
    env = Env(environment, production=True)
    with pytest.raises(ImproperlyConfigured, match="DATA_DIR must be an absolute path, not 'data'"):
        env.path("DATA_DIR", Path("/x"))
    with pytest.raises(ImproperlyConfigured, match="LOCAL_ROOTS must be an absolute path, not 'calls'"):
        env.paths("STORAGE_LOCAL_ROOTS", "")


def test_a_database_of_a_newer_version_is_named(db: None) -> None:
    assert [finding.health for finding in doctor.database()] == [Health.GOOD]
    MigrationRecorder(connection).record_applied("batches", "9999_newer")
    (finding,) = doctor.database()
    assert finding.health is Health.BAD
    assert "batches.9999_newer" in finding.sentence


def test_a_password_with_an_at_sign_is_read() -> None:
    assert database("postgresql://portal:p@ss@h:5432/n")["PASSWORD"] == "p@ss"
    assert database("postgresql://portal:p%2Fs@h:5432/n")["PASSWORD"] == "p/s"


def test_a_secret_that_cannot_be_stored_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_bytes(b"\xff\xfe")
    with pytest.raises(ImproperlyConfigured, match="is damaged"):
        stored_secret(tmp_path / "secret_key", "new")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "encryption_key").write_text("\n")
    with pytest.raises(ImproperlyConfigured, match="encryption_key is empty: restore it from a backup"):
        stored_secret(tmp_path / "encryption_key", "new")
    env = Env({"SPEECHPORTAL_SECRET_KEY_FILE": str(tmp_path / "binary")})
    with pytest.raises(ImproperlyConfigured, match="it is no text"):
        env.text("SECRET_KEY")


@pytest.mark.parametrize("url", ["http://h/0", "redis://:secret@h:99999/0", "h:6379"])
def test_an_address_that_is_no_redis_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="SPEECHPORTAL_REDIS_URL must be") as raised:
        redis(url)
    assert "secret" not in str(raised.value)


def test_options_of_libpq_in_the_environment_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade bounds by them how long a migration waits for a lock."""
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=4s")
    found = database("postgresql://u:p@h:5432/n")["OPTIONS"]
    assert isinstance(found, dict)
    assert found["options"].endswith(" -c lock_timeout=4s")


def test_a_misspelt_variable_is_named_with_the_nearest() -> None:
    environment = {
        "SPEECHPORTAL_POLL_SECOND": "3",
        "SPEECHPORTAL_QWERTY": "1",
        "SPEECHPORTAL_POLL_SECONDS_FILE": "/x",
        "SPEECHPORTAL_TOKEN": "of the command-line client",
    }
    env = Env({name: value for name, value in environment.items() if not name.endswith("_FILE")})
    env.integer("POLL_SECONDS", 30)
    env.environ = environment
    assert env.unknown() == [
        ("SPEECHPORTAL_POLL_SECOND", "SPEECHPORTAL_POLL_SECONDS"),
        ("SPEECHPORTAL_QWERTY", ""),
    ]


def messages(*, deploy: bool = False) -> dict[str | None, str]:
    return {each.id: each.msg for each in checks.run_checks(include_deployment_checks=deploy)}


def test_the_system_checks_see_an_unknown_engine_debug_and_https_without_a_proxy(settings: Settings) -> None:
    assert not {"speechportal.E007", "speechportal.W003", "speechportal.W004"} & set(messages())
    settings.RECOGNITION_ENGINE = "fast-whisper"
    settings.PRODUCTION = settings.DEBUG_ASKED_FOR = settings.HTTPS = True
    settings.BEHIND_PROXY = False
    found = messages()
    assert "'fast-whisper'" in found["speechportal.E007"]
    assert "SPEECHPORTAL_DEBUG" in found["speechportal.W003"]
    assert "HTTPS is required" in found["speechportal.W004"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            (
                'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  password '
                'authentication failed for user "portal"'
            ),
            "does not accept the user 'portal'",
        ),
        (
            (
                'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  database '
                '"speech" does not exist'
            ),
            "has no database 'speech'",
        ),
        ("failed to resolve host 'db.example': [Errno -2] Name or service not known", "'db.example'"),
        (
            (
                'connection failed: server at "10.0.0.5", port 5433 failed: Connection refused\n'
                "\tIs the server running on that host and accepting TCP/IP connections?"
            ),
            "Nothing accepts connections at db.example:5432",
        ),
        ("connection timeout expired", "did not answer within 3 seconds"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.9"', "refuses connections of this kind"),
        ("FATAL:  sorry, too many clients already", "has no connection left"),
        ("FATAL:  the database system is starting up", "the database system is starting up"),
    ],
)
def test_each_fault_of_the_database_has_its_sentence(message: str, words: str) -> None:
    sentence, advice = explain_message(message, POSTGRESQL)
    assert words in sentence
    assert advice


def test_the_doctor_answers_within_five_seconds_without_a_database(tmp_path: Path) -> None:
    start = time.monotonic()
    told = manage(tmp_path, "doctor", "--json", DATABASE_URL="postgresql://portal:x@127.0.0.1:1/speech")
    seconds = time.monotonic() - start
    document = json.loads(told.stdout)
    assert not document["good"]
    first = document["findings"][0]
    assert (first["about"], first["state"]) == ("database", "bad")
    assert first["sentence"] == "Nothing accepts connections at 127.0.0.1:1."
    assert {"disk", "ffmpeg", "models"} <= {each["about"] for each in document["findings"]}
    assert "Traceback" not in told.stderr
    assert seconds < 30  # five for the checks; a busy machine takes its time to start


def test_a_check_that_takes_long_is_named(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    def mail() -> None:
        time.sleep(30)

    monkeypatch.setattr(doctor, "mail", mail)
    start = time.monotonic()
    findings = list(doctor.examine(seconds=0.5))
    assert time.monotonic() - start < 20
    (late,) = [each for each in findings if "check of mail takes longer" in each.sentence]
    assert late.health is Health.NOTE
    assert "--seconds" in late.advice


@pytest.mark.parametrize("name", ["DATA_DIR", "WORK_DIR"])
def test_a_folder_that_cannot_be_written_is_named(settings: Settings, tmp_path: Path, name: str) -> None:
    assert [finding.health for finding in doctor.folders()] == [Health.GOOD]
    (tmp_path / "file").write_text("no folder")
    setattr(settings, name, tmp_path / "file" / "below")
    (finding,) = doctor.folders()
    assert finding.health is Health.BAD
    assert str(tmp_path / "file" / "below") in finding.sentence


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has no file of its own to protect")
def test_a_database_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, client: Client, db: None
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # Root may write to any.
    (finding, *_others) = doctor.database()
    assert finding.health is Health.BAD
    assert "is read-only." in finding.sentence
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["problem"]) == (503, "database_read_only")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no standby")
def test_a_standby_as_the_database_is_named(client: Client, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    (finding, *_others) = doctor.database()
    assert (finding.health, "takes no changes" in finding.sentence) == (Health.BAD, True)
    assert client.get("/readyz").json()["problem"] == "database_read_only"


def test_a_folder_for_temporary_files_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client, db: None
) -> None:
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(temporary_folder, "FREE_BYTES", 1 << 60)
    (full,) = doctor.folders()
    assert " MiB are free" in full.sentence
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    (finding,) = doctor.folders()
    assert finding.health is Health.BAD
    assert f"{tmp_path / 'none'}, cannot be used: No such file or directory." in finding.sentence
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["problem"]) == (503, "temporary_folder")


def test_a_locale_without_unicode_is_named_and_ends_no_command(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "doctor"],
        cwd=BASE_DIR,
        env={
            "PATH": os.environ["PATH"],
            "SPEECHPORTAL_DATA_DIR": str(tmp_path / "통화"),
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Names of files are read as ascii, not as UTF-8" in told.stdout
    assert "Traceback" not in told.stderr


def test_shared_memory_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lock() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing, "Lock", lock)
    (finding,) = doctor.folders()
    assert (finding.health, "/dev/shm" in finding.sentence) == (Health.BAD, True)
    monkeypatch.setenv("Q_CLUSTER_NAME", "short")
    with pytest.raises(CommandError, match="cannot be used: Read-only file system"):
        call_command("cluster", "short", skip_checks=True)


def test_an_address_that_the_web_server_cannot_have_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"127.0.0.1:{port}: Address already in use"):
            call_command("run", bind=f"127.0.0.1:{port}", skip_checks=True)
    for bind in ("127.0.0.1:http", "8000", "127.0.0.1:99999"):
        with pytest.raises(CommandError, match="--bind is ADDRESS:PORT"):
            call_command("run", bind=bind, skip_checks=True)
