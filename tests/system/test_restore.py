"""Backup and restore, with the commands in the help, and the results that the help promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests.hosts.machines import postgresql_server

ROOT = Path(__file__).resolve().parents[2]
BACKUP, RESTORE = (rf"\.venv/bin/python manage\.py {name} portal\.backup$" for name in ("backup", "restore"))
SCENE = str(Path(__file__).with_name("restore_scene.py"))


def help_line(wanted: str) -> str:
    page = (ROOT / "templates" / "help" / "en" / "backups.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^{wanted}.*$", page.partition("## Rotating")[0], re.MULTILINE)
    return str(line)


class Installation:
    """A data folder and a database; storages and models are the same for all of them."""

    def __init__(self, folder: Path, storage: Path, database: str = "") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
        self.environ = {
            **kept,
            "SPEECHPORTAL_DATA_DIR": str(folder),
            "SPEECHPORTAL_STORAGE_LOCAL_ROOTS": str(storage),
            "SPEECHPORTAL_MODELS_DIR": str(settings.MODELS_DIR),
            "SPEECHPORTAL_SETTLE_SECONDS": "0",
            "SPEECHPORTAL_LEASE_SECONDS": "5",
            "SPEECHPORTAL_BACKUP_PASSPHRASE": "correct horse battery staple",
            **({"SPEECHPORTAL_DATABASE_URL": database} if database else {}),
        }

    def run(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def scene(self, step: str, **environ: str) -> dict[str, Any]:
        ended = self.run([sys.executable, "-W", "ignore", SCENE, step], **environ)
        assert ended.returncode == 0, ended.stderr[-3000:]
        found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return found

    def shell(self, line: str, backup: Path) -> None:
        """Run a command line of the help, with this installation's paths."""
        line = line.replace("var/", f"{self.folder}/").replace("portal.backup", str(backup))
        ended = self.run(["sh", "-c", line.replace(".venv/bin/python", sys.executable)])
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storages").mkdir()
    return tmp_path / "storages"


@pytest.fixture
def databases() -> Iterator[list[str]]:
    """Two of one PostgreSQL server: one in use, and an empty one."""
    with postgresql_server("127.0.0.1") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE restored")
        yield [url, url.replace("/postgres", "/restored")]


def test_sqlite(tmp_path: Path, storage: Path) -> None:
    old, new = (Installation(tmp_path / name, storage) for name in ("old", "new"))
    go_through(old, new, tmp_path / "copy", help_line(BACKUP), help_line(RESTORE))


@pytest.mark.hosts
def test_postgresql(tmp_path: Path, storage: Path, databases: list[str]) -> None:
    old = Installation(tmp_path / "old", storage, databases[0])
    new = Installation(tmp_path / "new", storage, databases[1])
    go_through(old, new, tmp_path / "copy", help_line(BACKUP), help_line(RESTORE))


def go_through(old: Installation, new: Installation, backup: Path, save: str, restore: str) -> None:
    made = old.scene("make")
    old.shell(save, backup)
    left = old.scene("later")["files"]
    new.shell(restore, backup)
    for secret in (old.folder / "secrets").iterdir():
        assert (new.folder / "secrets" / secret.name).read_text() == secret.read_text()
    # Of an installation at rest the doctor finds one thing wrong: that it is at rest.
    told = new.run([sys.executable, "-W", "ignore", "manage.py", "doctor"])
    wrong = [line for line in told.stdout.splitlines() if line.startswith("BAD")]
    assert [line.split()[1] for line in wrong] == ["queue"], told.stdout + told.stderr
    assert "has never run" in wrong[0]

    found = new.scene("go_on", TOKEN=made["token"])
    assert found["before"] == {
        "done.mp3": "completed",
        "under-way.mp3": "in_progress",
        "finished-later.mp3": "waiting",
        "waiting.mp3": "waiting",
    }
    assert found["after"] == {
        "done.mp3": "completed",
        "under-way.mp3": "completed",
        "finished-later.mp3": "failed",
        "waiting.mp3": "completed",
    }
    assert found["causes"] == [["finished-later.mp3", "result_in_storage"]]
    assert found["charges"] == ["done.mp3", "under-way.mp3", "waiting.mp3"]
    assert sorted(found["told"]) == [
        ["task.completed", "done.mp3"],
        ["task.completed", "under-way.mp3"],
        ["task.completed", "waiting.mp3"],
        ["task.failed", "finished-later.mp3"],
    ]
    # Nothing in the storage is lost, what was finished after the backup least of all.
    names = ("done", "finished-later", "unknown")
    assert {f"out/{name}.mp3.json" for name in names} <= set(left)
    stays = {name for name in left if name.startswith(("out/", "in/calls/"))}
    assert stays <= set(found["files"])
    for name in ("under-way", "waiting"):
        assert {f"out/{name}.mp3.json", f"in/calls/{name}.mp3"} <= set(found["files"])
    assert json.loads(found["storage_secret"]) == {"secret": "the secret of the storage"}
    assert found["webhook_secret"] == made["webhook_secret"]
    assert found["token_of"]
    assert found["signs_in"]

    command = [sys.executable, "manage.py", "adopt_results", "--reason", "restored"]
    assert "1 results adopted; 0 tasks left" in new.run(command).stdout
    adopted = new.scene("look")
    assert set(adopted["states"].values()) == {"completed"}
    assert adopted["charges"] == ["done.mp3", "finished-later.mp3", "under-way.mp3", "waiting.mp3"]
    assert ["task.completed", "finished-later.mp3"] in adopted["told"]
