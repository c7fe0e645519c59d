"""The settings of production, tried in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]


def production(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "SPEECHPORTAL_MODE": "production",
        "SPEECHPORTAL_DATA_DIR": str(tmp_path),
        "SPEECHPORTAL_SECRET_KEY": "k2-" + "ab3!x" * 12,
        "SPEECHPORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SPEECHPORTAL_API_TOKEN_PEPPERS": "pepper",
        "SPEECHPORTAL_ALLOWED_HOSTS": "portal.example",
        "SPEECHPORTAL_DATABASE_URL": "postgresql://portal@db.example/portal",
        "SPEECHPORTAL_BEHIND_PROXY": "true",
    }


def manage(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_production_passes_the_deployment_check(tmp_path: Path) -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", environ=production(tmp_path))
    assert result.returncode == 0, result.stderr


def test_https_without_a_proxy_that_says_so_is_warned_of(tmp_path: Path) -> None:
    environ = production(tmp_path) | {"SPEECHPORTAL_BEHIND_PROXY": "false"}
    result = manage("check", "--deploy", "--fail-level", "WARNING", environ=environ)
    assert result.returncode != 0
    assert "speechportal.W004" in result.stderr


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "ENCRYPTION_KEYS", "API_TOKEN_PEPPERS", "ALLOWED_HOSTS", "DATABASE_URL"]
)
def test_production_names_what_is_missing(tmp_path: Path, name: str) -> None:
    environ = production(tmp_path)
    del environ[f"SPEECHPORTAL_{name}"]
    result = manage("check", environ=environ)
    assert result.returncode != 0
    assert f"SPEECHPORTAL_{name}" in result.stderr


def test_a_bad_encryption_key_is_an_error_with_a_hint(tmp_path: Path) -> None:
    environ = production(tmp_path) | {"SPEECHPORTAL_ENCRYPTION_KEYS": "not a key"}
    result = manage("check", environ=environ)
    assert result.returncode != 0
    assert "speechportal.E001" in result.stderr
    assert "not a key" not in result.stderr


def test_a_storage_root_over_the_portals_own_data_is_an_error(tmp_path: Path) -> None:
    environ = production(tmp_path) | {"SPEECHPORTAL_STORAGE_LOCAL_ROOTS": str(tmp_path.parent)}
    result = manage("check", environ=environ)
    assert "speechportal.E004" in result.stderr
