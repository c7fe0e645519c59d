"""Short version of the chaos suite, for every change: a few files, some faults, and the full count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.chaos
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_is_lost_and_nothing_doubled(database: str) -> None:
    size = ["--files", "8", "--no-speakers", "--minutes", "5"]
    faults = ["--seed", "7", "--rain", "25", "--pause", "10", "--kills", "1"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--database", database, *size, *faults],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=420,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-4000:]
