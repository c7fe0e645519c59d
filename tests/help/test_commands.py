"""Commands in the documentation: every one is run if possible, otherwise checked."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer
from standardwebhooks import Webhook

from batches.models import Task
from speechportal.accounts.tokens import api_tokens
from speechportal.cli import main as cli
from tests.factories import make_account, make_batch, make_user
from tests.help import markdown
from tests.help.markdown import ROOT, Block

# Programs that are not run here, and why.
NOT_RUN = {
    ".deploy/install": "needs a container engine; tests/repository/test_deploy.py runs it up to there",
    ".ci/with-postgres": "fills a database with ten million tasks",
    "docker": "needs a container engine; tests/repository/test_deploy.py reads the compose file",
    "sudo": "needs an installation with units; tests/repository/test_deploy.py runs .deploy/systemd/manage",
    "helm": "needs a cluster; tests/repository/test_helm_chart.py renders the chart with Helm",
    "export": "sets variables for the lines that follow",
    ".venv/bin/pip": "installs packages",
}
BLOCKS = markdown.blocks(*markdown.help_sources(), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
LANGUAGES = {"sh", "python", "json", "yaml", "text", ""}


def lines(block: Block) -> list[list[str]]:
    """The commands of a shell block, as words; a line that ends with a backslash goes on."""
    text = block.code.replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


SHELL = [(block.where, words) for block in BLOCKS if block.language == "sh" for words in lines(block)]


def test_blocks_say_what_they_are() -> None:
    assert len(BLOCKS) > 40
    assert {block.language for block in BLOCKS} <= LANGUAGES


def test_json_can_be_read() -> None:
    found = [block for block in BLOCKS if block.language == "json"]
    assert found
    for block in found:
        json.loads(block.code)


def test_yaml_can_be_read() -> None:
    found = [block for block in BLOCKS if block.language == "yaml"]
    assert found
    for block in found:
        assert yaml.safe_load(block.code)


def test_every_shell_command_is_checked_or_has_a_reason() -> None:
    checked = {"make", "curl", "speechportal", "python", ".venv/bin/python"}
    assert SHELL
    assert {words[0] for _where, words in SHELL} - checked - set(NOT_RUN) == set()


def test_commands_of_an_installation_with_units_are_commands_of_manage() -> None:
    found = [words for _where, words in SHELL if words[0] == "sudo"]
    assert found
    for words in found:
        assert words[1] == ".deploy/systemd/manage"
        assert words[2] in get_commands()


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [words[1] for _where, words in SHELL if words[0] == "make"]
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_management_commands_take_their_arguments() -> None:
    found = [words[2:] for _where, words in SHELL if words[1:2] == ["manage.py"]]
    assert len(found) > 10
    for name, *arguments in found:
        command = load_command_class(get_commands()[name], name)
        parser = command.create_parser("manage.py", name)
        assert isinstance(parser, CommandParser)
        parser.called_from_command_line = False  # So that it raises instead of leaving.
        parser.parse_args(arguments)


def test_modules_that_are_started_exist() -> None:
    modules = [words[2] for _where, words in SHELL if words[1:2] == ["-m"]]
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_one_line_programs_run(tmp_path: Path) -> None:
    programs = [words[2] for _where, words in SHELL if words[1:2] == ["-c"] and "sqlite3" not in words[2]]
    assert programs
    for program in programs:
        ended = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert len(ended.stdout.strip()) > 40


def test_the_command_line_takes_its_arguments() -> None:
    found = [words[1:] for _where, words in SHELL if words[0] == "speechportal"]
    assert len(found) >= 4
    for arguments in found:
        cli._parser().parse_args(arguments)


@pytest.mark.django_db(transaction=True)
def test_requests_are_answered(live_server: LiveServer, settings: Settings, tmp_path: Path) -> None:
    """All curl lines and API programs, against a portal with one batch."""
    settings.PUBLIC_URL = live_server.url
    user = make_user("alice@example.com")
    account = make_account("Alice’s", user)
    batch = make_batch(account)
    _token, plain = api_tokens.create_token(account=account, created_by=user, name="help", scopes=["write"])
    (tmp_path / "call.mp3").write_bytes(b"sound")
    (tmp_path / "call.wav").write_bytes(b"RIFF")
    assert batch.domain is not None
    environ = {
        "PATH": os.environ["PATH"],
        "SPEECHPORTAL_URL": live_server.url,
        "SPEECHPORTAL_TOKEN": plain,
        "BATCH": batch.uid,
        "DOMAIN_CODE": batch.domain.code,
        "DOMAIN": batch.domain.uid,
    }

    def run(command: list[str]) -> str:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout} {ended.stderr}"
        return ended.stdout

    # The same lines stand on the page of each language.
    # A transcription waits for a worker, which none is here: tests/api/test_openai_entry.py has one.
    requests = {
        block.code: block
        for block in BLOCKS
        if block.language == "sh" and "curl " in block.code and "/v1/audio/" not in block.code
    }
    assert len(requests) >= 4
    for code in requests:
        text = re.sub(r"^export .*\n", "", code, flags=re.MULTILINE)
        text = text.replace("curl ", "curl --silent --show-error --fail-with-body ")
        answer = run(["sh", "-ec", text])
        if "/uploads" in text:
            environ["UPLOAD_URL"] = json.loads(answer)["url"]
    assert Task.unscoped.filter(batch=batch, name__endswith="call.wav").exists()

    programs = {block.code for block in BLOCKS if block.language == "python" and "requests" in block.code}
    assert programs
    for program in programs:
        assert run([sys.executable, "-c", f"{program}\nprint(upload['url'])"]).startswith("http")


def test_a_message_is_verified_as_the_help_says() -> None:
    import datetime

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = '{"type": "webhook.test"}'
    now = datetime.datetime.now(tz=datetime.UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    programs = [block for block in BLOCKS if block.language == "python" and "standardwebhooks" in block.code]
    assert len(programs) >= 2
    for block in programs:
        names = {"secret": secret, "body": body, "headers": headers}
        exec(block.code, names)  # noqa: S102 - the documentation's own program
        assert names["message"] == {"type": "webhook.test"}
