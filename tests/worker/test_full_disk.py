"""Full disk: no task fails, nothing is lost, and work continues once there is space.

Limits on the size of files (RLIMIT_FSIZE) and on the pages of a SQLite database make it so without root.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from pytest_django.fixtures import Settings

from batches.models import Batch, Charge, Task
from batches.operations import doctor, jobs
from batches.recognition.errors import WorkDiskFull
from batches.recognition.media.decoding import decode
from batches.recognition.transcript import OnSegments, Transcript
from batches.tasks import lifecycle, scheduling
from batches.worker import outcomes, processing
from batches.worker.prefetch import Prefetcher
from tests.factories import make_batch, make_task
from tests.sample_speech import sample_folder
from tests.workbench import Engine, Progress, again_at_once, drop, files, work

pytestmark = pytest.mark.django_db
EVERYTHING = 1024**3  # MB: more than any disk has


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", speakers=True)


def test_sound_that_finds_no_room_is_not_taken_for_the_end_of_the_file() -> None:
    sample = sample_folder() / "sample.wav"
    with no_file_longer_than(200_000), pytest.raises(WorkDiskFull):
        decode(sample)
    assert decode(sample).duration == 30_000


def test_a_download_that_finds_no_room_waits(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch, content=b"sound" * 1000)
    fetch = processing.fetch

    def fetch_without_room(*arguments: Any) -> Path:
        with no_file_longer_than(1000):
            return fetch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(processing, "fetch", fetch_without_room)
        task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "work_disk_full", 0)
    assert engine.calls == []
    again_at_once()
    assert work(engine).state == Task.State.COMPLETED


def test_however_often_it_is_met_no_file_fails(batch: Batch, engine: Engine, settings: Settings) -> None:
    def full() -> None:
        raise WorkDiskFull

    settings.MAX_ATTEMPTS = 2
    engine.during["transcribe"] = full
    drop(batch)
    for delays in range(1, 6):
        task = work(engine)
        assert (task.state, task.error_code, task.delays) == (Task.State.WAITING, "work_disk_full", delays)
        again_at_once()
    engine.during.clear()
    assert work(engine).state == Task.State.COMPLETED
    assert Charge.unscoped.count() == 1


def test_a_file_that_would_fill_the_disk_is_not_fetched(
    batch: Batch, engine: Engine, settings: Settings
) -> None:
    drop(batch)
    claim = scheduling.claim_next("test")
    assert claim is not None
    settings.WORK_FREE_MB = EVERYTHING
    processing.process(claim, engine, lambda: False)  # type: ignore[arg-type] # the stand-in
    task = Task.unscoped.get()
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "work_disk_full", 0)


def test_nothing_is_started_without_room_and_the_log_says_so(
    batch: Batch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    make_task(batch)
    settings.WORK_FREE_MB = EVERYTHING
    with caplog.at_level(logging.ERROR):
        jobs.recognise_next()
        Prefetcher("test", lambda: False).look()
    assert Task.unscoped.get().state == Task.State.WAITING
    assert "no task is started" in caplog.text


def test_the_doctor_says_so(batch: Batch, settings: Settings) -> None:
    make_task(batch, error_code="work_disk_full", error_message="Full.")
    settings.WORK_FREE_MB = EVERYTHING
    said = [finding.sentence for look in (doctor.clusters, doctor.disk) for finding in look()]
    assert any("disk is full; waiting for it: 1 task" in sentence for sentence in said)
    assert any("no task is started here" in sentence for sentence in said)


class Talkative(Engine):
    """Engine that returns a transcript larger than the space left in the database."""

    def transcribe(
        self,
        path: Path,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        transcript = super().transcribe(path, options, on_progress, alone=alone)
        transcript.segments[0].text = "Good morning" * 300_000
        return transcript


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="a PostgreSQL server's disk is not the portal's")
def test_a_full_disk_of_the_database_loses_nothing(batch: Batch, settings: Settings) -> None:
    settings.MAX_ATTEMPTS = 1  # A fault that counted would fail the task.
    engine = Talkative()
    drop(batch)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count")
        (before,) = cursor.fetchone()
        cursor.execute("PRAGMA max_page_count = 1")  # It takes the least that is possible: what there is.
    task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "database_fault", 0)
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA max_page_count = {before}")
    again_at_once()
    assert work(engine).state == Task.State.COMPLETED
    assert Charge.unscoped.count() == 1
    assert files(batch) == {"out/a.mp3.json", "in/calls/a.mp3"}


def test_the_task_goes_back_as_soon_as_the_database_takes_it(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first three attempts to release the task are refused as well."""
    refusals = iter(range(4))
    release, heartbeat = lifecycle.release, lifecycle.heartbeat

    def refuse() -> None:
        if next(refusals, None) is not None:
            raise OperationalError("database or disk is full")

    def heartbeat_refused(*arguments: object) -> None:
        refuse()
        heartbeat(*arguments)  # type: ignore[arg-type] # passed on

    def release_refused(*arguments: object, **options: object) -> None:
        refuse()
        release(*arguments, **options)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(outcomes, "DATABASE_PAUSE", 0.0)
    monkeypatch.setattr(
        "batches.worker.outcomes.connection.close", lambda: None
    )  # The test's own transaction.
    monkeypatch.setattr(lifecycle, "heartbeat", heartbeat_refused)
    monkeypatch.setattr(lifecycle, "release", release_refused)
    drop(batch)
    task = work(engine)
    assert (task.state, task.error_code) == (Task.State.WAITING, "database_fault")


def test_a_work_folder_that_is_not_there_yet_is_looked_at_where_it_will_be(
    settings: Settings, tmp_path: Path
) -> None:
    settings.WORK_DIR = tmp_path / "not" / "there"
    settings.WORK_FREE_MB = 0
    jobs.recognise_next()
    assert not settings.WORK_DIR.exists()
