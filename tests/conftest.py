"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

pytest_plugins = ["tests.fixtures_storage"]


@pytest.fixture(autouse=True)
def own_folders(settings: Settings, tmp_path: Path) -> None:
    """No test writes into the installation's folders; the models are read from there."""
    settings.WORK_DIR = tmp_path / "work"
    settings.STORAGE_LOCAL_ROOTS = [tmp_path / "storage"]
    (tmp_path / "storage").mkdir()
