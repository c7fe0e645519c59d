"""Processes that the kernel ends for want of memory: their files wait, and the machine is named."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Task
from batches.operations import doctor
from batches.operations.doctor import Health
from batches.recognition.errors import EngineDied, HostExhausted, UnexpectedFailure
from batches.recognition.media.decoding import decode
from batches.recognition.options import Options
from batches.recognition.runtime import oom_kills
from batches.recognition.runtime.oom_kills import KERNEL_KILL, OomWatch
from batches.tasks import fleet, lifecycle, model_hosts, scheduling
from batches.worker import processing
from tests import factories
from tests.clients import Client
from tests.recognition.engine_pools import client_of, engines
from tests.sample_speech import sample_folder
from tests.workbench import Engine, again_at_once, drop, work

COUNTER = "sys/fs/cgroup/portal/memory.events"
V1 = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A root folder with the files of a control group of version 2; ``count`` raises its counter."""
    monkeypatch.setattr(oom_kills, "ROOT", tmp_path / "root")
    write(tmp_path / "root", "proc/self/cgroup", "0::/portal\n")
    raise_to(tmp_path / "root", 3)
    return tmp_path / "root"


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def raise_to(root: Path, count: int) -> None:
    write(root, COUNTER, f"low 0\noom 9\noom_kill {count}\noom_group_kill 0\n")


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS, settings.MAX_ATTEMPTS = 0, 2
    return factories.make_batch(name="calls")


@pytest.mark.parametrize(
    ("group", "counter", "text"),
    [
        ("0::/portal", "sys/fs/cgroup/portal/memory.events", "oom 1\noom_kill 7"),
        ("0::/host/path", "sys/fs/cgroup/memory.events", "oom_kill 7"),
        (
            "0::/\n4:cpu,memory:/docker/a",
            "sys/fs/cgroup/memory/memory.oom_control",
            "under_oom 0\noom_kill 7",
        ),
        ("0::/", "proc/vmstat", "pgfault 1\noom_kill 7"),
        ("", "proc/vmstat", "oom_kill 7"),
    ],
)
def test_the_counter_is_that_of_the_own_group_or_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str, counter: str, text: str
) -> None:
    monkeypatch.setattr(oom_kills, "ROOT", tmp_path)
    assert oom_kills.count() == 0
    write(tmp_path, "proc/self/cgroup", f"{group}\n" if group else "")
    write(tmp_path, counter, f"{text}\n")
    assert oom_kills.count() == 7


def test_a_rise_is_remembered_for_some_seconds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = OomWatch()
    assert not watch.rose_lately()
    raise_to(root, 4)
    assert watch.look()
    assert not watch.look()
    assert watch.rose_lately()
    monkeypatch.setattr(oom_kills, "RECENT_SECONDS", 0.0)
    assert not watch.rose_lately()


@pytest.mark.parametrize(("is_oom_kill", "error"), [(True, HostExhausted), (False, EngineDied)])
def test_an_engine_that_the_kernel_has_ended_is_no_fault_of_its_file(
    root: Path, tmp_path: Path, is_oom_kill: bool, error: type[Exception]
) -> None:
    with engines(tmp_path / "engines") as pool:
        client = client_of(pool)

        def kill(_share: float) -> None:
            if client.stage == "recognising" and client.engine_pid:
                if is_oom_kill:
                    raise_to(root, 4)  # The kernel counts before it kills.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(client.engine_pid, signal.SIGKILL)

        with client, pytest.raises(error, match="no memory left" if is_oom_kill else "SIGKILL"):
            client.transcribe(sample_folder() / "sample.wav", Options(), kill)


@pytest.mark.parametrize(("is_oom_kill", "error"), [(True, HostExhausted), (False, UnexpectedFailure)])
def test_an_ffmpeg_that_is_killed_does_not_make_its_file_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_oom_kill: bool, error: type[Exception]
) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "ffmpeg"))
    (tmp_path / "ffmpeg").write_text(
        '#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 7.0 && exit\nkill -9 $$\n'
    )
    (tmp_path / "ffmpeg").chmod(0o755)
    if is_oom_kill:
        counts = itertools.count()  # other threads may look as well
        monkeypatch.setattr(oom_kills, "count", lambda: next(counts))
    with pytest.raises(error):
        decode(sample_folder() / "sample.wav")


def lacking(engine: Engine) -> None:
    def die() -> None:
        raise HostExhausted(f"The engine process ended while recognising: {KERNEL_KILL}.")

    engine.during["transcribe"] = die


@pytest.mark.django_db
def test_while_no_file_is_completed_all_wait_however_often(batch: Batch, client: Client) -> None:
    engine = Engine()
    lacking(engine)
    model_hosts.report("test")
    drop(batch)
    for _ in range(lifecycle.DELAYS + 4):
        task = work(engine)
        assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "host_exhausted", 0)
        again_at_once()
    assert engine.alone == [False] + [True] * (len(engine.alone) - 1)

    # Between two attempts, too, the batch and /readyz say why.
    Task.unscoped.update(available_at=timezone.now() + timedelta(minutes=10))
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "host_exhausted")
    answer = client.get("/readyz", {"role": "recognition"})
    assert (answer.status_code, answer.json()["problem"]) == (503, "host_exhausted")

    again_at_once()
    assert work(Engine()).state == Task.State.COMPLETED
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    assert client.get("/readyz", {"role": "recognition"}).status_code == 200


@pytest.mark.django_db
def test_a_file_that_lacks_memory_while_others_are_completed_fails_in_the_end(
    batch: Batch, settings: Settings
) -> None:
    engine = Engine()
    lacking(engine)
    heavy = drop(batch, "heavy.mp3")
    batch.refresh_from_db()
    outcomes = []
    for number in range(lifecycle.DELAYS + settings.MAX_ATTEMPTS):
        again_at_once()
        claimed = scheduling.claim_next("test:6")
        assert claimed is not None
        processing.process(claimed, engine, lambda: False)  # type: ignore[arg-type] # the stand-in
        heavy.refresh_from_db()
        outcomes.append((heavy.state, heavy.error_code, heavy.attempts))
        light = factories.make_task(batch, name=f"{number}.mp3")
        Task.unscoped.filter(pk=heavy.pk).update(available_at=timezone.now() + timedelta(minutes=10))
        claimed = scheduling.claim_next("test:7")
        assert claimed is not None
        assert claimed.task_id == light.pk
        lifecycle.finish(claimed)
    waited = (Task.State.WAITING, "host_exhausted", 0)
    assert outcomes[: lifecycle.DELAYS] == [waited] * lifecycle.DELAYS
    assert outcomes[lifecycle.DELAYS :] == [
        (Task.State.WAITING, "engine_died", 1),
        (Task.State.FAILED, "engine_died", 2),
    ]
    assert "no memory left" in heavy.error_message


@pytest.mark.django_db
def test_a_worker_that_the_kernel_has_ended_costs_its_file_no_attempt(batch: Batch) -> None:
    for lacks_memory, expected in ((False, ("worker_died", 1)), (True, ("host_exhausted", 0))):
        task = factories.make_task(batch)
        claimed = scheduling.claim_next("cpu-1:7")
        assert claimed is not None
        if lacks_memory:
            at = timezone.now().isoformat(timespec="seconds")
            fleet.report([], workers=1, restarts=[fleet.Restart(at, "worker", KERNEL_KILL)], host="cpu-1")
        Task.unscoped.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
        assert lifecycle.reap() == 1
        task.refresh_from_db()
        assert (task.error_code, task.attempts) == expected
        Task.unscoped.filter(pk=task.pk).delete()


@pytest.mark.django_db
def test_the_doctor_names_hosts_without_memory() -> None:
    assert [each for each in doctor.limits() if each.health is Health.BAD] == []
    now = timezone.now()
    for host, minutes in (("cpu-1", 3), ("cpu-2", 90)):
        at = (now - timedelta(minutes=minutes)).isoformat(timespec="seconds")
        fleet.report([], workers=1, restarts=[fleet.Restart(at, "cpu", KERNEL_KILL)], host=host)
    (finding,) = (each for each in doctor.limits() if each.health is Health.BAD)
    assert finding.sentence.startswith("On cpu-1 the kernel has ended recognition for want of memory")
    assert "more memory" in finding.advice


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Control group (version 1) that may use 64 MB of memory."""
    group = V1 / f"speechportal-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
        with contextlib.suppress(OSError):  # There may be no account of swap space.
            (group / "memory.memsw.limit_in_bytes").write_text(str(64 << 20))
    except OSError:
        pytest.skip("no control group can be made here")
    yield group
    group.rmdir()


def test_the_kernel_counts_the_process_that_it_ends(small_group: Path) -> None:
    code = (
        "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()));"
        "kept = [bytearray(b'x') * (8 << 20) for _ in range(1000)]"
    )
    before = oom_kills.count()
    vmstat = Path("/proc/vmstat").read_text()
    ended = subprocess.run([sys.executable, "-c", code, str(small_group)], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    counters = [dict(line.split() for line in text.splitlines()) for text in (
        vmstat, Path("/proc/vmstat").read_text(), (small_group / "memory.oom_control").read_text()
    )]  # fmt: skip
    assert int(counters[1]["oom_kill"]) > int(counters[0]["oom_kill"])
    assert counters[2]["oom_kill"] == "1"
    assert oom_kills.count() >= before
