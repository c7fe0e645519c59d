"""Upgrades: a filled database of an earlier version is migrated to the present one, and back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db.migrations.loader import MigrationLoader

from tests.hosts.machines import postgresql_server
from tests.system.releases import RELEASES

ROOT = Path(__file__).resolve().parents[2]
SCENE = str(Path(__file__).with_name("upgrade_scene.py"))


def upgrade(release: str, folder: Path, **more: str) -> None:
    """upgrade_scene.py makes rows, migrates forth and back, and fails where they are not what they were."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    environ = {**kept, "SPEECHPORTAL_DATA_DIR": str(folder), "SPEECHPORTAL_LOG_LEVEL": "ERROR", **more}
    command = [sys.executable, "-W", "ignore", SCENE, release]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.parametrize("release", RELEASES)
def test_sqlite(tmp_path: Path, release: str) -> None:
    upgrade(release, tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql_server("127.0.0.1") as url:
        yield url


@pytest.mark.hosts
@pytest.mark.parametrize("release", RELEASES)
def test_postgresql(tmp_path: Path, release: str, server: str) -> None:
    name = f"release_{list(RELEASES).index(release)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    upgrade(release, tmp_path, SPEECHPORTAL_DATABASE_URL=server.replace("/postgres", f"/{name}"))


def test_every_migration_of_a_release_is_still_there() -> None:
    """Released migrations are never renamed or removed: installations depend on them."""
    known = set(MigrationLoader(None).disk_migrations)
    wanted = {(app, name) for where in RELEASES.values() for app, name in where.items() if name != "zero"}
    assert wanted <= known
