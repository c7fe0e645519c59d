"""Pools of real engine processes for tests, and checks of processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.link import Limits
from batches.recognition.runtime.pool import EngineConfig, EnginePool


@contextmanager
def engines(scratch: Path, *, count: int = 1, files_at_once: int = 1, **options: Any) -> Iterator[EnginePool]:
    """Engine processes on the CPU, kept running by this process."""
    pool = EnginePool(
        EngineConfig(**options), devices=["cpu"] * count, files_at_once=files_at_once, scratch=scratch
    )
    with pool.running():
        yield pool


def client_of(pool: EnginePool, **limits: float) -> RecognitionClient:
    return RecognitionClient(pool.endpoints, limits=Limits(**limits))


def gone(pid: int, within: float = 10.0) -> bool:
    """Whether a process ends; a zombie counts as ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
