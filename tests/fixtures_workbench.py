"""Fixtures for tests that process tasks with a stand-in for the engine, and for those that start a portal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workbench import Engine

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def engine() -> Engine:
    """Stand-in engine that records its calls."""
    return Engine()


@pytest.fixture(scope="session")
def migrated_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Create a data folder with a SQLite database; the slow migrations run once."""
    made = tmp_path_factory.mktemp("installation") / "data"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**kept, "SPEECHPORTAL_DATA_DIR": str(made)},
        check=True,
    )

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(made, folder))

    return copy
