"""Layering: packages import downwards, and each outside library has one importer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("speechportal", "domains", "batches")


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def test_packages_import_only_what_lies_below_them() -> None:
    """The contracts are in pyproject.toml."""
    checked = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_portal_starts_without_the_models_in_memory() -> None:
    """The web server must stay small: torch belongs to the child process."""
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'speechportal.settings';"
        "django.setup(); import speechportal.urls, batches.operations.jobs;"
        "print([name for name in ('torch', 'whisper', 'pyannote.audio') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_command_does_not_import_what_only_some_work_needs() -> None:
    """Imports are most of the time of a command such as ``doctor``."""
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'speechportal.settings';"
        "django.setup(); import speechportal.urls, batches.management.commands.doctor;"
        "unneeded = ('torch', 'docx', 'batches.postprocessing.detection', 'batches.postprocessing.digits');"
        "print([name for name in unneeded if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
