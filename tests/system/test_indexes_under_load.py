"""An upgrade builds its indexes on PostgreSQL while others write, and mends what an interrupted one left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.hosts.machines import postgresql_server

pytestmark = pytest.mark.hosts
ROOT = Path(__file__).resolve().parents[2]
TABLE, INDEX = "accounts_auditentry", "audit_of_request"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql_server("127.0.0.1") as url:
        assert migrate(url).wait() == 0
        assert migrate(url, "accounts", "0009").wait() == 0
        yield url


def migrate(url: str, *to: str) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "manage.py", "migrate", "--verbosity", "0", *to],
        cwd=ROOT,
        env={**kept, "SPEECHPORTAL_DATABASE_URL": url},
    )


def is_valid(url: str) -> bool | None:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = %s",
            [INDEX],
        ).fetchone()
    return None if row is None else bool(row[0])


def test_others_write_while_an_index_is_built(server: str) -> None:
    with psycopg.connect(server) as slow, psycopg.connect(server, autocommit=True) as watcher:
        slow.execute(f"LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE")  # As somebody who writes.
        upgrade = migrate(server, "accounts", "0010")
        building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%'"
        end = time.monotonic() + 60
        while watcher.execute(building).fetchone() != (1,):
            assert time.monotonic() < end, "no index is built"
            assert upgrade.poll() is None
            time.sleep(0.1)
        with psycopg.connect(server) as another:
            another.execute(f"LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE NOWAIT")
        slow.commit()
    assert upgrade.wait(60) == 0
    assert is_valid(server) is True


def test_what_an_interrupted_build_left_is_built_anew_and_can_be_taken_back(server: str) -> None:
    assert migrate(server, "accounts", "0010").wait() == 0
    with psycopg.connect(server) as connection:
        unfinished = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
        connection.execute(unfinished, [INDEX])
        connection.execute("DELETE FROM django_migrations WHERE name = '0010_audit_of_request'")
    assert migrate(server, "accounts", "0010").wait() == 0
    assert is_valid(server) is True
    assert migrate(server, "accounts", "0009").wait() == 0
    assert is_valid(server) is None
