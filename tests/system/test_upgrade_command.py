"""`manage.py upgrade` on a running portal: success, a kill in the middle, and rollback from broken code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings

from speechportal.platform.upgrade import restarts
from tests.programs import required

pytestmark = pytest.mark.hosts
ROOT = Path(__file__).resolve().parents[2]
MIGRATION = """
import time
from django.db import migrations, models

def wait(apps, schema_editor):
    time.sleep({pause})

class Migration(migrations.Migration):
    dependencies = [("platform", "{last}")]
    operations = [
        migrations.RunPython(wait, migrations.RunPython.noop),
        migrations.CreateModel("Later", [("id", models.BigAutoField(primary_key=True))]),
    ]
"""


@dataclass
class Portal:
    """A checkout with its data folder and a running portal."""

    code: Path
    data: Path
    port: int

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
        return subprocess.run(command, cwd=self.code, check=True, capture_output=True, text=True).stdout

    def commit(self, name: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", name)
        self.git("tag", name)

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
        return {
            **kept,
            "SPEECHPORTAL_DATA_DIR": str(self.data),
            "SPEECHPORTAL_MODELS_DIR": str(settings.MODELS_DIR),
            "SPEECHPORTAL_BACKUP_PASSPHRASE": "correct horse battery staple",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.code, env=self.environ, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def upgrade(self, *arguments: str) -> tuple[int, str]:
        started = self.start("upgrade", *arguments)
        output = started.communicate(timeout=600)[0]
        return started.returncode, output

    def answer(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return str(answer.read().decode()).strip()
        except OSError:
            return ""

    def tables(self) -> set[str]:
        with sqlite3.connect(self.data / "portal.sqlite3") as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}

    def step(self) -> str:
        try:
            return str(json.loads((self.data / "upgrade.json").read_text())["step"])
        except FileNotFoundError:
            return ""


def wait_for(what: str, fact: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def write_versions(portal: Portal) -> None:
    """Tags "old" and "new", which has a migration and another answer, and "broken", which does not serve."""
    portal.git("init", "--quiet")
    portal.commit("old")
    migrations = portal.code / "speechportal" / "platform" / "migrations"
    last = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9000_later.py").write_text(MIGRATION.format(pause=2, last=last))
    health = portal.code / "speechportal" / "platform" / "health.py"
    health.write_text(health.read_text().replace('"ok\\n"', '"ok, new\\n"'))
    portal.commit("new")
    wsgi = portal.code / "speechportal" / "wsgi.py"
    wsgi.write_text('raise RuntimeError("this release does not start")\n')
    portal.commit("broken")
    portal.git("checkout", "--quiet", "--detach", "old")


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    required("git")
    code = tmp_path / "code"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, code / name)
    made = Portal(code, tmp_path / "data", free_port())
    write_versions(made)
    migrated = made.start("migrate", "--verbosity", "0")
    assert (migrated.communicate(timeout=240), migrated.returncode)[1] == 0
    bind = f"127.0.0.1:{made.port}"
    with (tmp_path / "first.log").open("w") as log:
        first = subprocess.Popen(
            [
                sys.executable,
                "manage.py",
                "run",
                "--bind",
                bind,
                "--only",
                "web",
                "short",
            ],
            cwd=code,
            env=made.environ,
            stdout=log,
            stderr=log,
        )
        wait_for("the portal does not start", lambda: made.answer() == "ok", 120)
        yield made
        for process in restarts.running(code):
            restarts.stop(process)
        first.wait(120)


def test_killed_while_it_migrates_it_goes_on_where_it_was(portal: Portal) -> None:
    first = portal.start("upgrade", "new")
    wait_for("it does not migrate", lambda: portal.step() == "migrate")
    time.sleep(1)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=240)
    assert portal.answer() == "ok"  # The old code serves all the while.
    code, output = portal.upgrade()
    assert code == 0, output
    assert "Continuing the upgrade" in output
    assert portal.answer() == "ok, new"
    assert "platform_later" in portal.tables()
    assert portal.git("rev-parse", "HEAD") == portal.git("rev-parse", "new")
    assert len(list((portal.data / "backups").glob("speechportal-*.backup"))) == 1
    assert len(restarts.running(portal.code)) == 1
    code, output = portal.upgrade("--back")
    assert code == 0, output
    assert portal.answer() == "ok"
    assert "platform_later" not in portal.tables()


def test_code_that_does_not_serve_is_taken_back(portal: Portal) -> None:
    code, output = portal.upgrade("broken", "--timeout", "30")
    assert code == 1, output
    assert "Going back" in output
    assert portal.answer() == "ok"
    assert "platform_later" not in portal.tables()
    assert portal.git("rev-parse", "HEAD") == portal.git("rev-parse", "old")
    assert portal.step() == ""
    assert not (portal.data / "upgrade-code").exists()


def test_killed_between_stop_and_start_the_next_try_starts_it(portal: Portal) -> None:
    first = portal.start("upgrade", "new")
    (served,) = restarts.running(portal.code)
    wait_for("it does not restart", lambda: not restarts.is_alive(served))
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=240)
    code, output = portal.upgrade()
    assert code == 0, output
    assert portal.answer() == "ok, new"
    assert len(restarts.running(portal.code)) == 1


def test_changed_files_and_other_settings_are_refused(portal: Portal) -> None:
    changed = portal.code / "README.md"
    before = changed.read_text()
    changed.write_text("changed")
    code, output = portal.upgrade("new")
    assert (code, "README.md" in output) == (1, True), output
    changed.write_text(before)
    code, output = portal.upgrade("no-such-tag")
    assert (code, "no commit or tag no-such-tag" in output) == (1, True), output
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHPORTAL_SETTLE_SECONDS", "7")
        environ = {**portal.environ, "SPEECHPORTAL_SETTLE_SECONDS": "7"}
        command = [sys.executable, "manage.py", "upgrade", "new"]
        ran = subprocess.run(
            command, cwd=portal.code, env=environ, capture_output=True, text=True, check=False
        )
    assert "SPEECHPORTAL_SETTLE_SECONDS" in ran.stderr
    assert portal.answer() == "ok"
