"""Planted secrets do not appear in logs, error pages, debug reports, audit trail or admin.

(tests/admin/test_pages.py looks at every page of the admin for them.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.conf import settings as configured
from django.http import HttpRequest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from batches.intake import polling
from speechportal.accounts.models import AuditEntry
from speechportal.accounts.tokens import api_tokens
from speechportal.platform.logs import LineFormatter
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db
CANARY = "canary7d41c0ffee"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(LineFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler, root = Kept(), logging.getLogger()
    names = ("speechportal", "batches", "domains", "django", "botocore", "urllib3")
    before = {name: logging.getLogger(name).level for name in ("", *names)}
    root.addHandler(handler)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_a_wrong_password_is_in_no_log(client: Client, lines: list[str]) -> None:
    client.post("/login/", {"username": "alice@example.com", "password": CANARY})
    assert any("alice@example.com" in line for line in lines)
    assert not any(CANARY in line for line in lines)


def test_a_storage_secret_is_in_no_log_even_at_debug_level(lines: list[str]) -> None:
    batch = factories.make_batch()
    connection = batch.connection
    assert connection is not None
    connection.provider = "s3"
    connection.parameters = {
        "endpoint_url": "http://127.0.0.1:1",
        "region": "us-east-1",
        "bucket": "calls",
        "access_key": "AKIA",
    }
    connection.set_secret(CANARY)
    connection.save()
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert any(batch.uid in line and "poll failed" in line for line in lines)
    assert not any(CANARY in line or connection.encrypted_secret in line for line in lines)
    assert CANARY not in f"{batch.cause}{batch.cause_details}"


def test_a_token_is_in_no_log_and_in_no_answer(client: Client, lines: list[str]) -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    _token, plain = api_tokens.create_token(account=account, created_by=alice, name="build", scopes=["read"])
    for given in (plain, plain[:-1], f"{plain}x"):
        response = client.get("/api/v1/batches", headers={"authorization": f"Bearer {given}"})
        assert plain[10:] not in response.content.decode()
    # The two wrong ones are logged as refused.
    assert len([line for line in lines if "/api/v1/batches" in line]) >= 2
    assert not any(plain[10:40] in line for line in lines)


def test_no_audit_entry_holds_a_secret(client: Client) -> None:
    alice = factories.make_user("alice@example.com", CANARY)
    account = factories.make_account(owner=alice)
    connection = factories.make_connection(account)
    connection.provider = "s3"
    connection.parameters = {
        "endpoint_url": "http://127.0.0.1:1",
        "region": "us-east-1",
        "bucket": "calls",
        "access_key": "AKIA",
    }
    connection.set_secret(CANARY)
    connection.save()
    token, plain = api_tokens.create_token(account=account, created_by=alice, name="build", scopes=["read"])
    everything = " ".join(str(entry.__dict__) for entry in AuditEntry.unscoped.all())
    assert "connection.changed" in everything
    for secret in (CANARY, alice.password, connection.encrypted_secret, plain[10:], token.digest):
        assert secret not in everything


def test_the_debug_report_hides_settings_and_passwords() -> None:
    """Never sent in production, but shown if debug mode is turned on by mistake."""
    request: HttpRequest = RequestFactory().post("/login/", {"username": "alice", "password": CANARY})
    request.META["HTTP_AUTHORIZATION"] = f"Bearer {CANARY}"
    try:
        int("x")
    except ValueError as error:
        report = ExceptionReporter(request, ValueError, error, error.__traceback__)
    text = report.get_traceback_text()
    for secret in (configured.SECRET_KEY, *configured.ENCRYPTION_KEYS, *configured.API_TOKEN_PEPPERS):
        assert secret not in text
    assert CANARY not in text


def test_the_error_page_tells_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.raise_request_exception = False
    alice = factories.make_user("alice@example.com")
    factories.make_account(owner=alice)
    client.force_login(alice)

    def broken(*_args: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr("speechportal.accounts.privacy.views.AuditEntry.objects.for_account", broken)
    response = client.get("/account/activity/")
    assert response.status_code == 500
    assert CANARY not in response.content.decode()
    assert "RuntimeError" not in response.content.decode()
