"""Faults of the installation: tasks wait, none fails, and everybody sees the cause."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import django
import imageio_ffmpeg
import pytest
from django.db import connections
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.admin import fleet as fleet_panels
from batches.models import Batch, ServedModel, Task
from batches.operations import doctor
from batches.operations.doctor import Health
from batches.recognition.errors import DamagedMedia, EngineUnavailable, FfmpegUnavailable, HostExhausted
from batches.recognition.media import ffmpeg
from batches.recognition.media.decoding import decode
from batches.tasks import model_hosts, scheduling
from batches.worker import engines, host_faults, workspaces
from domains import offered_models
from speechportal.platform.models import NamedLease
from speechportal.settings import BASE_DIR
from speechportal.storage.models import Connection
from tests import factories
from tests.clients import Client
from tests.sample_speech import sample_folder
from tests.workbench import Engine, again_at_once, drop, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    settings.MAX_ATTEMPTS = 1
    return factories.make_batch(name="calls")


@pytest.fixture
def unwritable(settings: Settings, tmp_path: Path) -> Path:
    """Work folder that not even root can write to, since its parent is a file."""
    (tmp_path / "file").write_text("")
    settings.WORK_DIR = tmp_path / "file" / "work"
    return tmp_path / "file"


def wait_long(batch: Batch) -> None:
    Task.unscoped.filter(batch=batch).update(available_at=timezone.now() - timedelta(minutes=10))


def program(folder: Path, script: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_work_folder_that_cannot_be_written_fails_no_file(batch: Batch, unwritable: Path) -> None:
    drop(batch)
    for _ in range(4):
        task = work(Engine())
        assert (task.state, task.error_code, task.attempts) == (
            Task.State.WAITING,
            "work_folder_unwritable",
            0,
        )
        again_at_once()
    unwritable.unlink()
    assert work(Engine()).state == Task.State.COMPLETED


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'batches.formats.docx'"),
        FileNotFoundError(errno.ENOENT, "No such file", str(Path(django.__file__).parent / "gone.json")),
    ],
)
def test_code_that_is_gone_fails_no_file(
    batch: Batch, error: Exception, settings: Settings, tmp_path: Path
) -> None:
    def fail() -> None:
        raise error

    engine = Engine()
    engine.during["transcribe"] = fail
    model_hosts.report()
    drop(batch)
    for _ in range(3):
        task = work(engine)
        found = (task.state, task.error_code, task.attempts)
        assert found == (Task.State.WAITING, "installation_damaged", 0)
        again_at_once()
    assert set(ServedModel.objects.values_list("fault", flat=True)) == {"installation_damaged"}
    settings.BASE_DIR = tmp_path
    fault = host_faults.find()
    assert fault is not None
    assert (fault.code, str(tmp_path) in fault.detail) == ("installation_damaged", True)
    assert work(Engine()).state == Task.State.COMPLETED


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_machine_without_processes_or_open_files_fails_no_file(batch: Batch, error: Exception) -> None:
    def fail() -> None:
        raise error

    engine = Engine()
    engine.during["transcribe"] = fail
    model_hosts.report()
    drop(batch)
    for _ in range(3):
        task = work(engine)
        assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "host_exhausted", 0)
        again_at_once()
    assert set(ServedModel.objects.values_list("fault", flat=True)) == {"host_exhausted"}
    assert work(Engine()).state == Task.State.COMPLETED


def test_an_engine_that_does_not_start_is_a_fault_of_its_host(batch: Batch) -> None:
    def restart() -> None:
        raise EngineUnavailable("The process that runs the engine has ended.")

    def fail() -> None:
        raise EngineUnavailable("The models cannot be loaded: RuntimeError: libgomp", reason="RuntimeError")

    engine = Engine()
    model_hosts.report()
    drop(batch)
    for broken, fault in ((restart, ""), (fail, "engine_unavailable")):
        engine.during["transcribe"] = broken
        task = work(engine)
        assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "engine_unavailable", 0)
        assert set(ServedModel.objects.values_list("fault", flat=True)) == {fault}
        again_at_once()
    wait_long(batch)
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "engine_unavailable")


def test_a_host_with_a_fault_takes_no_task_and_the_batch_says_why(
    batch: Batch, unwritable: Path, client: Client
) -> None:
    drop(batch)
    wait_long(batch)
    fault = host_faults.find()
    assert fault is not None
    assert str(unwritable) in fault.detail
    model_hosts.report("cpu-1", fault=fault)
    assert scheduling.claim_next("cpu-1:1", served=model_hosts.served_here("cpu-1")) is None
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "work_folder_unwritable")
    assert str(unwritable) not in batch.cause  # members are not shown the machine's folders
    (row, *_others) = fleet_panels.hosts().rows
    assert row[0] == "cpu-1"
    assert str(unwritable) in row[1]
    assert any(figure.alarm for figure in fleet_panels.hosts().figures)
    said = [each for each in doctor.served_models() if each.health is Health.BAD]
    assert str(unwritable) in said[0].sentence
    assert said[0].advice == "Run on that host: manage.py doctor"
    answer = client.get("/readyz", {"role": "recognition"})
    assert (answer.status_code, answer.json()["problem"]) == (503, "work_folder_unwritable")

    # Another host without a fault takes the task, and the batch works again.
    model_hosts.report("cpu-2")
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    assert scheduling.claim_next("cpu-2:1", served=model_hosts.served_here("cpu-2")) is not None
    assert client.get("/readyz", {"role": "recognition"}).json()["problem"] == ""


def test_a_folder_of_the_engines_that_cannot_be_written_is_a_fault(
    settings: Settings, tmp_path: Path
) -> None:
    """As after a run by root."""
    settings.WORK_DIR = tmp_path
    (tmp_path / "recognition").write_text("")
    fault = host_faults.find()
    assert fault is not None
    assert (fault.code, fault.detail) == (
        "work_folder_unwritable",
        f"{tmp_path} cannot be written: File exists, in recognition.",
    )


def test_the_workspace_of_another_installation_in_the_same_folder_stays(
    batch: Batch, settings: Settings, tmp_path: Path
) -> None:
    settings.WORK_DIR = tmp_path / "work"
    task = drop(batch)
    killed, foreign, forgotten = (
        settings.WORK_DIR / name
        for name in (f"{task.uid}.0a1b2c3d", "tsk_theirs.0a1b2c3d", "tsk_old.0a1b2c3d")
    )
    for folder in (killed, foreign, forgotten):
        folder.mkdir(parents=True)
    os.utime(forgotten, (0, 0))
    workspaces.sweep()
    assert list(settings.WORK_DIR.iterdir()) == [foreign]


def test_once_it_is_mended_the_host_takes_tasks_again(batch: Batch, unwritable: Path) -> None:
    drop(batch)
    model_hosts.report("cpu-1", fault=host_faults.find())
    unwritable.unlink()
    assert host_faults.find() is None
    model_hosts.report("cpu-1")
    assert not ServedModel.objects.exclude(fault="").exists()
    assert scheduling.claim_next("cpu-1:1", served=model_hosts.served_here("cpu-1")) is not None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "may not be executed"),
        ("exit 127", "does not start: it ended with status 127"),
        ("echo ffmpeg version 2.8.17-0ubuntu0.1 Copyright", "too old"),
        ("echo libm.so.6: cannot open shared object file >&2; exit 127", "libm.so.6"),
    ],
)
def test_without_ffmpeg_a_file_is_not_called_unreadable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, words: str
) -> None:
    place = str(tmp_path / "none") if script is None else program(tmp_path, script)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: place)
    with pytest.raises(FfmpegUnavailable, match=words):
        decode(sample_folder() / "sample.wav")
    fault = host_faults.find()
    assert fault is not None
    assert (fault.code, words in fault.detail) == ("ffmpeg_unavailable", True)


@pytest.mark.parametrize(("has_threads", "error"), [(False, HostExhausted), (True, DamagedMedia)])
def test_without_a_thread_for_ffmpeg_a_file_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_threads: bool, error: type[Exception]
) -> None:
    """ffmpeg then ends with the status of EAGAIN, without sound; so it may for a damaged file."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if not has_threads:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    script = """case "$*" in
    -version) echo ffmpeg version 7.0; exit 0;;
    *-map*) exit 245;;
    esac
    printf "Input #0, wav, from 'sample':\n  Duration: 00:00:30.00, bitrate: 256 kb/s\n" >&2
    printf "  Stream #0:0: Audio: pcm_s16le, 16000 Hz, mono, s16, 256 kb/s\n" >&2
    exit 1"""
    place = program(tmp_path, script)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: place)
    with pytest.raises(error):
        decode(sample_folder() / "sample.wav")


def test_a_limit_of_address_space_below_ffmpegs_own_stays() -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30));"
        "from batches.recognition.media.decoding import decode; from pathlib import Path;"
        "print(decode(Path(sys.argv[1])).duration)"
    )
    command = [sys.executable, "-c", code, str(sample_folder() / "sample.wav")]
    ended = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "30000"


def test_a_sandbox_that_cannot_be_set_up_is_no_fault_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _parent: int) -> None:
        raise ValueError

    monkeypatch.setattr(ffmpeg, "confine", refuse)
    with pytest.raises(FfmpegUnavailable, match="its sandbox cannot be set up"):
        decode(sample_folder() / "sample.wav")


def test_a_task_that_meets_a_fault_marks_its_host(batch: Batch) -> None:
    def broken() -> None:
        raise FfmpegUnavailable("ffmpeg does not start: libm.so.6")

    model_hosts.report()
    engine = Engine()
    engine.during["transcribe"] = broken
    drop(batch)
    task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "ffmpeg_unavailable", 0)
    assert set(ServedModel.objects.values_list("fault", flat=True)) == {"ffmpeg_unavailable"}
    wait_long(batch)
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert batch.cause_code == "ffmpeg_unavailable"
    # After a while it is tried again, and a task that ends well shows that it is mended.
    ServedModel.objects.update(problem_at=timezone.now() - model_hosts.RETRY)
    model_hosts.report()
    assert work(Engine()).state == Task.State.COMPLETED
    pair = offered_models.resolve([], [])
    model_hosts.note_loaded(pair, pair)
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL


def test_the_recognition_cluster_waits_for_its_work_folder(
    unwritable: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.RECOGNITION_DEVICE, settings.RECOGNITION_WORKERS = "cpu", 1
    looked = []

    def mend_after_two(_seconds: float) -> None:
        looked.append(ServedModel.objects.filter(fault="work_folder_unwritable").count())
        if len(looked) == 2:
            unwritable.unlink()

    monkeypatch.setattr(time, "sleep", mend_after_two)
    monkeypatch.setattr(connections, "close_all", lambda: None)  # the test's transaction
    companion = engines.ClusterEngines()
    companion.close()
    assert len(looked) == 2
    assert all(looked)
    monkeypatch.setattr(engines, "_endpoints", ())


def test_readyz_says_per_role_what_is_wrong(client: Client, settings: Settings, tmp_path: Path) -> None:
    model_hosts.report("cpu-1")
    NamedLease.take("scheduler", timedelta(minutes=1))
    roles = client.get("/readyz").json()["roles"]
    assert set(roles) == {"web", "short", "recognition", "deliveries"}
    assert all(state == {"ready": True, "problem": ""} for state in roles.values())
    assert client.get("/readyz", {"role": "nobody"}).status_code == 503

    ServedModel.objects.all().delete()
    NamedLease._default_manager.update(last_run_at=timezone.now() - timedelta(minutes=9))
    roles = client.get("/readyz").json()["roles"]
    assert roles["recognition"] == {"ready": False, "problem": "no_worker"}
    assert roles["short"] == {"ready": False, "problem": "scheduler"}
    assert roles["web"]["ready"]
    assert client.get("/readyz").status_code == 200
    assert client.get("/readyz", {"role": "short"}).status_code == 503

    settings.DATA_DIR = tmp_path / "none"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["problem"]) == (503, "data_folder")


def test_a_key_that_opens_nothing_makes_the_portal_unready(client: Client, settings: Settings) -> None:
    from cryptography.fernet import Fernet

    connection = factories.make_connection(factories.make_account())
    connection.set_secret("canary", "secret_key")
    connection.save()
    assert Connection.unscoped.exclude(encrypted_secret="").exists()
    assert client.get("/readyz").status_code == 200
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["problem"]) == (503, "encryption_keys")
