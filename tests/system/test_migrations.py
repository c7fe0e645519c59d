"""Every migration can be taken back, and comes again: a release that fails can be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]
OWN_APPS = [label for label in ("batches", "storage", "domains", "accounts", "speechportal") if label]


def migrate(folder: Path, *arguments: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    environment = {**kept, "SPEECHPORTAL_DATA_DIR": str(folder)}
    ended = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.parametrize("start", ["0001"])
def test_all_that_came_after_the_first_release_is_reversible(tmp_path: Path, start: str) -> None:
    migrate(tmp_path)
    with_history = [
        label
        for label in OWN_APPS
        if len(list((Path(apps.get_app_config(label).path) / "migrations").glob("0*.py"))) > 1
    ]
    assert "batches" in with_history
    for label in with_history:
        migrate(tmp_path, label, start)
    migrate(tmp_path)
