"""Wrong settings: one line for each, at the start of any command, and what the doctor says of the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core import checks
from pytest_django.fixtures import Settings

from batches.operations import doctor
from batches.operations.doctor import Health
from batches.operations.doctor.database import _why
from speechportal.env import Env
from speechportal.settings import BASE_DIR

POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": "db.example",
    "PORT": "5432",
    "USER": "portal",
    "NAME": "speech",
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
        ("DATABASE_URL", "postgresql://u:se/cret@h:5432/n", "are written as %40"),
        ("DATABASE_URL", "postgresql://u:se#cret@h:5432/n", "written as"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, name: str, value: str, words: str) -> None:
    told = manage(tmp_path, "doctor", **{name: value})
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("Wrong setting: SPEECHPORTAL_")
    assert words in line
    assert "cret" not in line  # no part of the password


def test_a_password_with_an_at_sign_is_read() -> None:
    from speechportal.env import database

    assert database("postgresql://portal:p@ss@h:5432/n")["PASSWORD"] == "p@ss"
    assert database("postgresql://portal:p%2Fs@h:5432/n")["PASSWORD"] == "p/s"


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
    sentence, advice = _why(message, POSTGRESQL)
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
