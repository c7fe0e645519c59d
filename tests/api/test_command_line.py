"""Members' command line, called as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from batches.models import Batch
from speechportal.accounts.tokens import api_tokens
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.api.work import worker
from tests.factories import make_account, make_batch, make_task, make_user


@pytest.fixture
def api(live_server: LiveServer, make_api: MakeApi, settings: Any) -> Api:
    settings.PUBLIC_URL = live_server.url
    settings.SETTLE_SECONDS = 0
    user = make_user()
    return make_api(make_account(owner=user), user, ["batches:write", "tasks:read"])


@pytest.fixture
def batch(api: Api) -> Batch:
    return make_batch(api.account, name="Phone calls")


class Shell:
    def __init__(self, url: str, token: str, folder: Path) -> None:
        self.environ = {**os.environ, "SPEECHPORTAL_URL": url, "SPEECHPORTAL_TOKEN": token}
        self.folder = folder

    def run(self, *arguments: str, status: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "speechportal.cli.main", *arguments],
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done


@pytest.fixture
def shell(live_server: LiveServer, api: Api, batch: Batch, tmp_path: Path) -> Shell:
    folder = tmp_path / "desk"
    folder.mkdir()
    for name in ("통화 1.mp3", "two.wav", "bad.mp3"):
        (folder / name).write_bytes(b"sound")
    return Shell(live_server.url, api.plain, folder)


def test_an_absolute_folder_is_refused(shell: Shell, batch: Batch) -> None:
    refused = shell.run("upload", "Phone calls", "통화 1.mp3", "--folder", "/monday", status=1)
    assert "--folder" in refused.stderr


def test_files_are_uploaded_waited_for_and_downloaded(shell: Shell, batch: Batch) -> None:
    with worker(batch):
        done = shell.run("upload", "Phone calls", "통화 1.mp3", "two.wav", "--folder", "monday", "--wait")
    assert done.stdout.splitlines()[:2] == ["monday/통화 1.mp3: uploaded", "monday/two.wav: uploaded"]
    assert sorted(done.stdout.splitlines()[2:]) == [
        "monday/two.wav: completed",
        "monday/통화 1.mp3: completed",
    ]
    done = shell.run("download", batch.uid, "--format", "srt", "--format", "txt", "--output", "results")
    assert len(done.stdout.splitlines()) == 4
    text = (shell.folder / "results" / "monday" / "two.wav.txt").read_text(encoding="utf-8")
    assert text.strip() == "Heard in monday/two.wav."
    assert "00:00:01,500" in (shell.folder / "results" / "monday" / "통화 1.mp3.srt").read_text("utf-8")
    shell.run("download", "Phone calls", "monday/two.wav")
    result = json.loads((shell.folder / "monday" / "two.wav.json").read_text("utf-8"))
    assert result["result"] == "COMPLETED"


def test_what_cannot_be_recognised_is_said_by_the_status(shell: Shell, batch: Batch) -> None:
    with worker(batch):
        done = shell.run("upload", "Phone calls", "bad.mp3", "--wait", status=3)
    assert "bad.mp3: failed" in done.stdout
    assert "not audio or video" in done.stderr
    assert "failed" in shell.run("tasks", "list", "Phone calls", "--state", "failed").stdout
    assert "bad.mp3: failed" in shell.run("download", "Phone calls", "bad.mp3", status=1).stderr
    late = shell.run("wait", "Phone calls", "never.mp3", "--timeout", "0.2", status=4)
    assert "not finished in time: never.mp3" in late.stderr


def test_batches_are_listed_for_people_and_for_programs(shell: Shell, batch: Batch) -> None:
    table = shell.run("batches", "list").stdout.splitlines()
    assert table[0].split() == ["ID", "NAME", "DOMAIN", "STATUS", "DONE", "FAILED", "WAITING"]
    assert table[1].startswith(f"{batch.uid}  Phone calls")
    [row] = map(json.loads, shell.run("batches", "list", "--json").stdout.splitlines())
    assert row["id"] == batch.uid


def test_a_reader_that_has_enough_is_no_fault(shell: Shell, batch: Batch) -> None:
    for _number in range(300):  # More than a pipe holds.
        make_task(batch)
    listing = f"{sys.executable} -m speechportal.cli.main tasks list {batch.uid} --json"
    environ = {**shell.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = ["/bin/bash", "-o", "pipefail", "-c", f"{listing} | head -n 1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_faults_are_said_in_plain_words(shell: Shell, api: Api, batch: Batch) -> None:
    assert "There is no batch “None”" in shell.run("upload", "None", "two.wav", status=1).stderr
    assert "No such file: three.wav" in shell.run("upload", "Phone calls", "three.wav", status=1).stderr
    shell.run("upload", "Phone calls", "two.wav")
    assert "waiting there already" in shell.run("upload", "Phone calls", "two.wav", status=1).stderr
    shell.run("upload", "Phone calls", "two.wav", "--replace")
    assert "SPEECHPORTAL_URL" in shell.run("batches", "list", status=1, SPEECHPORTAL_URL="").stderr
    nobody = shell.run("batches", "list", status=1, SPEECHPORTAL_URL="http://127.0.0.1:9")
    assert nobody.stderr == "speechportal: The portal cannot be reached: Connection refused\n"
    bare = shell.run("batches", "list", status=1, SPEECHPORTAL_URL="127.0.0.1:9")
    assert "must begin with https://" in bare.stderr
    told = shell.run("tasks", "list", "Phone calls", "--state", "done", status=1).stderr
    assert told.count("is not a valid choice") == 1
    api_tokens.revoke_token(token=api.token)
    assert "This API token was revoked." in shell.run("batches", "list", status=1).stderr
    shell.run("fly", status=2)
