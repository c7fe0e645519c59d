"""Log lines tell whose they are, and hold no secret, whoever wrote them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings

from speechportal.platform import logs
from tests import factories
from tests.clients import Client


class Kept(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    yield from keeping(logs.LineFormatter("{levelname} {message}", style="{"))


@pytest.fixture
def objects() -> Iterator[list[str]]:
    yield from keeping(logs.JsonFormatter())


def keeping(formatter: logging.Formatter) -> Iterator[list[str]]:
    handler, root = Kept(formatter), logging.getLogger()
    root.addHandler(handler)
    yield handler.lines
    root.removeHandler(handler)


def test_a_line_carries_the_ids_of_its_context(lines: list[str]) -> None:
    with logs.context(request="r-1"):
        with logs.context():
            logs.bind(account="acc_1", task="tsk_1")
            logging.getLogger("batches.x").warning("inside")
        logging.getLogger("batches.x").warning("after")
    logging.getLogger("batches.x").warning("outside")
    assert lines == [
        "WARNING inside [request=r-1 account=acc_1 task=tsk_1]",
        "WARNING after [request=r-1]",
        "WARNING outside",
    ]


def test_json_has_them_as_fields_and_exceptions_on_one_line(objects: list[str]) -> None:
    with logs.context(batch="bat_1"):
        try:
            int("no good")
        except ValueError:
            logging.getLogger("batches.x").exception("failed at %s", "noon")
    (line,) = objects
    found = json.loads(line)
    assert (found["message"], found["batch"], found["level"]) == ("failed at noon", "bat_1", "ERROR")
    assert "'no good'" in found["exception"]
    assert "\n" not in line


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-token",
        "{'authorization': 'Basic canaryY2Fu'}",
        "password=canary&next=/",
        '{"secret": "canary"}',
        "GET https://s3.example/a?X-Amz-Signature=canary0123",
        "spk_canary0123456789abcdefghjkmnpqrstvwxyz0123456789",
        "whsec_canaryMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "postgresql://portal:canary@db.example/portal",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, lines: list[str], objects: list[str]) -> None:
    logging.getLogger("a.library").error("it said %s", text)
    assert "canary" not in lines[0] + objects[0]
    assert logs.GONE in lines[0]


def test_the_installation_s_own_secrets_are_taken_out_wherever_they_are(lines: list[str]) -> None:
    for secret in (settings.SECRET_KEY, *settings.ENCRYPTION_KEYS, *settings.API_TOKEN_PEPPERS):
        try:
            int(secret)
        except ValueError:
            logging.getLogger("a.library").exception("oops")
    assert len(lines) > 2
    everything = "".join(lines)
    assert not any(secret in everything for secret in (settings.SECRET_KEY, *settings.ENCRYPTION_KEYS))


@pytest.mark.django_db
def test_requests_lines_carry_request_and_account(
    client: Client, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    client.force_login(alice)

    def broken(*_args: object, **_kwargs: object) -> None:
        logging.getLogger("batches.x").warning("said in a view")

    monkeypatch.setattr("speechportal.accounts.privacy.views.AuditEntry.objects.for_account", broken)
    client.raise_request_exception = False
    response = client.get("/account/activity/")
    assert response.status_code == 500
    said = next(line for line in lines if "said in a view" in line)
    assert f"request={response.headers['X-Request-ID']}" in said
    assert f"account={account.uid}" in said
