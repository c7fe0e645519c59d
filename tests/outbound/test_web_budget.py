"""Web requests use a limited number of threads for slow remote servers; further ones are refused at once."""

from __future__ import annotations

import threading
import time

import pytest
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Account
from speechportal.outbound import client, web_budget
from speechportal.outbound.errors import Busy, TimedOut
from speechportal.outbound.transport import Policy
from speechportal.outbound.web_budget import Budget, Slots
from speechportal.storage.models import Connection
from tests.clients import Client
from tests.factories import make_account, make_connection, make_user
from tests.outbound.servers import answering, serving

LOCAL = Policy.allowing(["127.0.0.0/8"], http=True, ports=None)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.fixture(autouse=True)
def own_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_budget, "slots", Slots())
    monkeypatch.setattr(web_budget, "PATIENCE", 0.2)


def test_one_account_has_one_slot_and_leaves_room() -> None:
    first = Budget(account="acc_a")
    first.begin("drip.example")
    with pytest.raises(Busy):
        Budget(account="acc_a").begin("other.example")
    with pytest.raises(Busy):
        Budget(account="acc_b").begin("drip.example")
    other = Budget(account="acc_b")
    other.begin("healthy.example")
    with pytest.raises(Busy):
        Budget(account="acc_c").begin("third.example")
    first.end()
    Budget(account="acc_c").begin("third.example")


def test_a_request_takes_its_slot_once_and_has_one_time_for_all_calls() -> None:
    budget = Budget(seconds=0.3, account="acc_a")
    budget.begin("a.example")
    budget.begin("a.example")
    time.sleep(0.35)
    with pytest.raises(TimedOut):
        budget.begin("a.example")
    budget.end()
    Budget(account="acc_a").begin("a.example")


def test_workers_have_no_budget() -> None:
    assert web_budget.limited(60, "a.example") == 60


def test_a_slot_that_becomes_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_budget, "PATIENCE", 5.0)
    first = Budget(account="acc_a")
    first.begin("a.example")
    threading.Timer(0.1, first.end).start()
    began = time.monotonic()
    Budget(account="acc_a").begin("a.example")
    assert time.monotonic() - began < 3


PARAMETERS = {
    "s3": {"region": "us-east-1", "access_key": "k"},
    "azure": {"account_name": "calls"},
    "gcs": {},
    "sftp": {"host": "127.0.0.1", "port": "9", "username": "u", "host_key": "SHA256:x", "folder": ""},
}
SECRETS = {
    "s3": {"secret": "secret"},
    "azure": {"account_key": "a2V5"},
    "gcs": {"service_account": ""},
    "sftp": {"password": "secret"},
}


def connection_of(account: Account, provider: str = "s3") -> Connection:
    """Connection to an address on this machine that nothing listens on."""
    place = {"endpoint_url": "http://127.0.0.1:9", "bucket": "b", "root_path": ""}
    connection = make_connection(account, provider=provider, parameters={**place, **PARAMETERS[provider]})
    for name, value in SECRETS[provider].items():
        connection.set_secret(name, value)
    connection.save()
    return connection


@pytest.mark.django_db
@pytest.mark.parametrize("provider", list(PARAMETERS))
def test_the_folder_browser_says_503_and_why(settings: Settings, provider: str) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True
    alice = make_user("alice@example.com")
    account = make_account("Acme", alice)
    connection = connection_of(account, provider)
    browser = Client()
    browser.force_login(alice)
    page = f"/a/{account.uid}/connections/{connection.uid}"
    begun = time.monotonic()
    answer = browser.get(f"{page}/browse/")
    assert answer.status_code == 200
    if provider in {"s3", "sftp"}:
        assert "Nothing accepts connections" in answer.content.decode()
    assert time.monotonic() - begun < 5, "without the waits between retries"
    holder = Budget(account=account.uid)
    holder.begin("drip.example")
    folder = {"path": "", "name": "new"}
    for answer in (browser.get(f"{page}/browse/"), browser.post(f"{page}/folders/", folder)):
        assert answer.status_code == 503
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Retry-After"] == "5"
        assert "Other requests of this account to a storage are under way." in answer.json()["detail"]
    holder.end()


@pytest.mark.django_db
def test_the_api_says_503_and_why(settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True
    alice = make_user("alice@example.com")
    account = make_account("Acme", alice)
    connection = connection_of(account)
    from speechportal.accounts.tokens import api_tokens

    _token, plain = api_tokens.create_token(
        account=account, created_by=alice, name="Token", scopes=["connections:write"]
    )
    holder = Budget(account=account.uid)
    holder.begin("drip.example")
    headers = {"Authorization": f"Bearer {plain}"}
    answer = Client().get(f"/api/v1/connections/{connection.uid}/browse", headers=headers)
    assert answer.status_code == 503
    assert answer.json()["code"] == "storage_busy"
    assert answer["Retry-After"] == "5"
    holder.end()


def test_requests_of_the_guarded_client_are_counted() -> None:
    budget = Budget(account="acc_a")
    token = web_budget._budget.set(budget)
    try:
        with serving(answering(OK)) as server:
            assert client.post(f"http://127.0.0.1:{server.port}/", b"", policy=LOCAL).status == 200
        with pytest.raises(Busy):
            Budget(account="acc_a").begin("a.example")
    finally:
        budget.end()
        web_budget._budget.reset(token)
