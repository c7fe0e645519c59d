"""Sentry: errors are reported with their place and without secrets, to a server on this machine.

The portal runs in a process of its own, on a database without tables, so that its pages break by themselves.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Handler, serving

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary7d41c0ffee"
ERRORS = f"""
import logging, os
os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
import django
django.setup()
from django.conf import settings
from tests.clients import Client
from speechportal.platform import logs

settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
headers = {{"authorization": "Bearer {CANARY}", "referer": "http://other/?t={CANARY}", "host": "127.0.0.1"}}
client = Client(raise_request_exception=False, headers=headers)
client.cookies["sessionid"] = "{CANARY}"
assert client.get("/invitations/{CANARY}/?sig={CANARY}").status_code == 500
assert client.post("/login/", {{"username": "alice@example.com", "password": "{CANARY}"}}).status_code == 500
assert client.get("/login/", headers={{"host": "{CANARY}.example"}}).status_code == 400

def breaks(password):
    raise ValueError(f"alice@example.com said secret={{password}} with {{settings.ENCRYPTION_KEYS[0]}}")

with logs.context(account="acc_1", task="tsk_1"):
    try:
        breaks("{CANARY}")
    except ValueError:
        logging.getLogger("batches.x").exception("task %s broke: password=%s", "tsk_1", "{CANARY}")
logging.getLogger("batches.x").warning("no error, and password={CANARY}")
"""


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """Sentry server: its DSN, and what it receives."""
    received: list[bytes] = []

    class Sentry(Handler):
        def asked(self) -> None:
            body = self.body()
            received.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.answer(b"{}")

    with serving(Sentry) as place:
        yield f"http://public@{place}/1", received


def python(program: str, tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={**kept, "SPEECHPORTAL_DATA_DIR": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def events_in(received: list[bytes]) -> list[dict[str, Any]]:
    """The events of the envelopes: each is a header, then an item's header and the item, a line each."""
    items = [(json.loads(body.splitlines()[1]), body.splitlines()[2]) for body in received]
    return [json.loads(item) for about, item in items if about["type"] == "event"]


def test_errors_are_reported_without_secrets(tmp_path: Path, sentry: tuple[str, list[bytes]]) -> None:
    dsn, received = sentry
    (tmp_path / "dsn").write_text(dsn)
    ended = python(ERRORS, tmp_path, SPEECHPORTAL_SENTRY_DSN_FILE=str(tmp_path / "dsn"))
    assert ended.returncode == 0, ended.stderr[-3000:]
    events = events_in(received)
    assert len(events) == len(received)  # Nothing but errors is sent.
    routes = {event["transaction"] for event in events if "transaction" in event}
    assert {"/invitations/[removed]/", "/login/"} <= routes
    (told,) = [event for event in events if event["logger"] == "batches.x"]
    assert {name: told["tags"][name] for name in ("account", "task")} == {"account": "acc_1", "task": "tsk_1"}
    (exception,) = told["exception"]["values"]
    assert exception["type"] == "ValueError"
    assert exception["stacktrace"]["frames"][-1]["function"] == "breaks"
    everything = b"".join(received).decode()
    keys = [path.read_text() for path in (tmp_path / "secrets").iterdir()]
    assert len(keys) == 3
    for secret in (CANARY, "alice@example.com", *keys):
        assert secret not in everything


def test_without_a_dsn_sentry_is_not_even_imported(tmp_path: Path) -> None:
    program = "import django, sys; django.setup(); print('sentry_sdk' in sys.modules)"
    told = python(program, tmp_path, DJANGO_SETTINGS_MODULE="speechportal.settings")
    assert told.stdout.strip() == "False", told.stderr


def test_a_dsn_that_is_none_is_named_and_stops_nothing(tmp_path: Path) -> None:
    program = (
        "import django; django.setup(); from speechportal.checks import check_sentry;"
        "print([error.msg for error in check_sentry(None)])"
    )
    told = python(
        program,
        tmp_path,
        DJANGO_SETTINGS_MODULE="speechportal.settings",
        SPEECHPORTAL_SENTRY_DSN="https://sentry.example",
    )
    assert told.stdout.strip() == "['SPEECHPORTAL_SENTRY_DSN is not a DSN.']", told.stderr
