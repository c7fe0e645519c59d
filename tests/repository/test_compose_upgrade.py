"""`.deploy/upgrade`, with a stand-in for Docker: order of steps, rollback, and a kill in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = """#!/usr/bin/env bash
echo "$*" >> "$LOG"
if [ -n "${KILL:-}" ] && [[ "$*" == *"$KILL"* ]]; then kill -9 $PPID; exit 1; fi
if [ -n "${FAIL:-}" ] && [[ "$*" == *"$FAIL"* ]]; then exit 1; fi
case "$*" in
    *"image tag speechportal:previous "*) touch "$LOG.old" ;;
    *"up --detach --no-deps --no-build web"*) touch "$LOG.web" ;;
    *showmigrations*)
        if [ -n "${LOSE:-}" ] && grep -q "run --rm --no-deps -T setup" "$LOG"; then exit 1; fi
        echo "[X]  batches.0001_initial"
        if grep -q "run --rm --no-deps -T setup" "$LOG"; then echo "[X]  batches.0002_new"; fi ;;
    *pg_dump*) echo dump ;;
    *pg_restore*) cat > /dev/null; echo "TABLE django_migrations" ;;
    *"config --services"*) printf 'database\\nweb\\nworker\\n' ;;
    *"image inspect speechportal:cuda"*|*"image inspect speechportal:previous-cuda"*) exit 1 ;;
esac
"""
CURL = """#!/usr/bin/env bash
if [ -n "${UNREADY:-}" ] && [ ! -e "$LOG.old" ]; then echo '{"ready": false}'; else echo '{"ready": true}'; fi
"""


@dataclass
class Server:
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "docker.log"

    def upgrade(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [str(self.folder / ".deploy" / "upgrade"), "--timeout", "3", *arguments],
            env={"PATH": path, "LOG": str(self.log), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        prefix = "compose --file compose.yaml "
        return [line.removeprefix(prefix) for line in self.log.read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / ".deploy").mkdir()
    shutil.copy(ROOT / ".deploy" / "upgrade", tmp_path / ".deploy")
    (tmp_path / ".deploy" / ".env").write_text("PORTAL_HOST=portal.example.com\n")
    (tmp_path / "bin").mkdir()
    for name, text in (("docker", DOCKER), ("curl", CURL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return Server(tmp_path)


def test_it_dumps_builds_migrates_and_restarts_workers_last(server: Server) -> None:
    ended = server.upgrade()
    assert ended.returncode == 0, ended.stderr
    calls = server.calls()
    wanted = [
        "exec -T database pg_dump --username portal --format custom portal",
        "image tag speechportal:latest speechportal:previous",
        "build",
        "run --rm --no-deps -T setup",
        "up --detach --no-deps --no-build web",
        "up --detach --no-deps --no-build worker",
    ]
    assert [call for call in calls if call in wanted] == wanted
    (dump,) = (server.folder / ".deploy" / "backups").glob("*.dump")
    assert dump.read_text() == "dump\n"
    server.log.unlink()
    assert server.upgrade().returncode == 0
    assert not any("pg_dump" in call for call in server.calls())  # It is not a day old.


def test_a_web_host_that_does_not_get_ready_brings_the_previous_images_back(server: Server) -> None:
    ended = server.upgrade(UNREADY="yes")
    assert ended.returncode == 1
    assert "The previous images run" in ended.stderr
    calls = server.calls()
    back = calls.index("image tag speechportal:previous speechportal:latest")
    taken_back = [call for call in calls[:back] if call.endswith("migrate --noinput batches 0001_initial")]
    assert len(taken_back) == 1
    assert "up --detach --no-deps --no-build web worker" in calls[back:]
    assert not (server.folder / ".deploy" / "upgrade.state").exists()


def test_going_back_waits_for_a_database_that_does_not_answer(server: Server) -> None:
    ended = server.upgrade(UNREADY="yes", LOSE="the database")
    assert ended.returncode == 1
    assert "Run .deploy/upgrade again" in ended.stderr
    assert "image tag speechportal:previous speechportal:latest" not in server.calls()
    ended = server.upgrade(UNREADY="yes")
    assert "The previous images run" in ended.stderr
    assert any(call.endswith("migrate --noinput batches 0001_initial") for call in server.calls())


def test_killed_in_the_middle_it_keeps_the_images_that_served(server: Server) -> None:
    assert server.upgrade(KILL="run --rm --no-deps -T setup").returncode == -9
    ended = server.upgrade()
    assert ended.returncode == 0, ended.stderr
    tags = [call for call in server.calls() if call == "image tag speechportal:latest speechportal:previous"]
    assert len(tags) == 1  # A second time, the new image would be kept as the previous one.
    assert server.upgrade("--back").returncode == 1
    assert "image tag speechportal:previous speechportal:latest" in server.calls()


def test_images_that_cannot_be_built_change_nothing(server: Server) -> None:
    ended = server.upgrade(FAIL="compose.yaml build")
    assert ended.returncode == 1
    assert "Nothing was changed" in ended.stderr
    assert not any("up --detach" in call for call in server.calls())
