"""API clients of Alice (owner), Bob (manager), Vera (viewer) and Charlie, who has another account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from speechportal.accounts.models import Account, Membership, User
from speechportal.accounts.tokens import api_tokens
from tests.api.client import Api
from tests.api.clova_calls import Receiver
from tests.factories import add_member, make_account, make_user

MakeApi = Callable[..., Api]


@pytest.fixture
def make_api(db: None) -> MakeApi:
    """An API client for a member; ``scopes`` and the other fields of a token can be given."""

    def make(account: Account, user: User, scopes: list[str] | None = None, **fields: Any) -> Api:
        token, plain = api_tokens.create_token(
            account=account, created_by=user, name="test", scopes=scopes or ["write"], **fields
        )
        return Api(account, user, token, plain)

    return make


@pytest.fixture
def account(db: None) -> Account:
    return make_account("Alice's account", make_user("alice@example.com"))


@pytest.fixture
def alice(account: Account, make_api: MakeApi) -> Api:
    return make_api(account, account.members.get(email="alice@example.com"))


@pytest.fixture
def bob(account: Account, make_api: MakeApi) -> Api:
    user = make_user("bob@example.com")
    add_member(account, user, Membership.Role.MANAGER)
    return make_api(account, user)


@pytest.fixture
def vera(account: Account, make_api: MakeApi) -> Api:
    user = make_user("vera@example.com")
    add_member(account, user, Membership.Role.VIEWER)
    return make_api(account, user)


@pytest.fixture
def charlie(make_api: MakeApi) -> Api:
    user = make_user("charlie@example.com")
    return make_api(make_account("Charlie's account", user), user)


@pytest.fixture
def loopback_is_allowed(settings: Any) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    settings.OUTBOUND_HTTP = True
    settings.OUTBOUND_PORTS = []


@pytest.fixture
def receiver(loopback_is_allowed: None) -> Iterator[str]:
    Receiver.posted, Receiver.headers_of, Receiver.status = [], [], 200
    Receiver.arrived.clear()
    Receiver.hanging = Receiver.most_hanging = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
