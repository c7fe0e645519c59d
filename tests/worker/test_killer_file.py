"""A file that crashes its engine every time: its attempts run out, and the other files are completed.

The engine processes, the workers' clients and the tasks are real; the file's doing is a SIGKILL.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django.fixtures import Settings

from batches.models import Charge, ResultFile, Task
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import EnginePool
from batches.recognition.transcript import Transcript
from batches.tasks import scheduling
from batches.worker import processing
from tests.factories import make_batch
from tests.recognition.engine_pools import engines
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample
from tests.workbench import again_at_once, drop

pytestmark = pytest.mark.django_db(transaction=True)
NEIGHBOURS, WORKERS = 5, 3
IN_HAND = {"finding speech", "recognising"}


class Client(RecognitionClient):
    """A worker's client; the engine that has the killer file in hand is killed."""

    def __init__(self, pool: EnginePool, killer: bytes, deaths: list[int]) -> None:
        super().__init__(pool.endpoints)
        self._killer, self._deaths = killer, deaths

    def transcribe(
        self, path: Path, options: Any, on_progress: Callable[[float], None] | None = None, **how: Any
    ) -> Transcript:
        kills = path.read_bytes() == self._killer

        def progress(share: float) -> None:
            if kills and self.stage in IN_HAND and self.engine_pid not in self._deaths:
                self._deaths.append(self.engine_pid)
                os.kill(self.engine_pid, signal.SIGKILL)
            if on_progress:
                on_progress(share)

        return super().transcribe(path, options, progress, **how)


def work_until_nothing_waits(client: Client, errors: list[BaseException]) -> None:
    try:
        while (lease := scheduling.claim_next("test")) is not None:
            processing.process(lease, client, lambda: False)
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        errors.append(error)
    finally:
        client.close()
        connections.close_all()


def test_it_fails_after_its_attempts_and_its_neighbours_complete(settings: Settings, tmp_path: Path) -> None:
    settings.SETTLE_SECONDS, settings.MAX_ATTEMPTS = 0, 3
    sound = load_sample()
    speech = write_wav(tmp_path / "speech.wav", sound[6 * 16_000 : 14 * 16_000]).read_bytes()
    killer = write_wav(tmp_path / "killer.wav", sound[6 * 16_000 : 15 * 16_000]).read_bytes()
    batch = make_batch(formats=["json"], language="en-US", speakers=False)
    poison = drop(batch, "killer.wav", killer)
    for number in range(NEIGHBOURS):
        drop(batch, f"{number}.wav", speech)
    deaths: list[int] = []
    errors: list[BaseException] = []
    with engines(tmp_path / "engines", files_at_once=WORKERS) as pool:
        for _ in range(settings.MAX_ATTEMPTS + 1):
            again_at_once()
            threads = [
                threading.Thread(target=work_until_nothing_waits, args=(Client(pool, killer, deaths), errors))
                for _ in range(WORKERS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(600)
                assert not thread.is_alive()
    assert errors == []
    poison.refresh_from_db()
    assert (poison.state, poison.error_code) == (Task.State.FAILED, "engine_died")
    assert poison.attempts == settings.MAX_ATTEMPTS
    assert "SIGKILL" in poison.error_message
    # Once in company at most, then alone each time.
    assert settings.MAX_ATTEMPTS <= len(deaths) <= settings.MAX_ATTEMPTS + 1

    others = Task.unscoped.filter(batch=batch).exclude(pk=poison.pk)
    assert Counter(others.values_list("state", "attempts")) == {(Task.State.COMPLETED, 1): NEIGHBOURS}
    assert Charge.unscoped.filter(task__in=others).count() == NEIGHBOURS
    assert ResultFile.unscoped.filter(task__in=others).values("task").distinct().count() == NEIGHBOURS
    assert not Charge.unscoped.filter(task=poison).exists()
