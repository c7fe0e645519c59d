"""Imports run one way, and each outside library has its one room."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("speechportal", "domains", "batches")


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Dotted names of every module that ``path`` imports, anywhere in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # Relative to the package that the file is in.
                package = path.relative_to(ROOT).parts[: -node.level]
                module = ".".join([*package, *filter(None, [module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def begins(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("speechportal", ("batches", "domains")),
        ("domains", ("batches",)),
        ("batches/recognition", ("django", "rest_framework", "django_q", "boto3", "speechportal", "domains")),
        ("batches/formats", ("django", "rest_framework", "django_q", "boto3", "speechportal", "domains")),
    ],
)
def test_imports_run_one_way(room: str, forbidden: tuple[str, ...]) -> None:
    paths = sources(room)
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name in imported(path)
        if begins(name, *forbidden)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "room"),
    [
        ("django_q", "speechportal/platform/queue.py"),
        ("boto3", "speechportal/storage/"),
        ("botocore", "speechportal/storage/"),
        ("storages", "speechportal/storage/"),
        ("whisper", "batches/recognition/"),
        ("pyannote", "batches/recognition/"),
        ("torch", "batches/recognition/"),
    ],
)
def test_an_outside_library_has_one_room(library: str, room: str) -> None:
    paths = {
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        for name in imported(path)
        if begins(name, library)
    }
    assert paths
    assert {path for path in paths if not path.startswith(room)} == set()


def test_models_and_lifecycle_do_not_know_their_users() -> None:
    users = ("views", "forms", "admin", "jobs", "api", "urls")
    inner = [
        *sources("batches/models"),
        *(ROOT / "batches" / name for name in ("lifecycle.py", "polling.py", "moving.py", "processing.py")),
        ROOT / "domains" / "models.py",
    ]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in inner
        for name in imported(path)
        if begins(name, "batches", "domains", "speechportal") and name.split(".")[-1] in users
    ]
    assert wrong == []


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
