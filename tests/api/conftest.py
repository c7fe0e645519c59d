"""Alice owns an account and Bob manages it, Vera may look; Charlie is a stranger with his own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from speechportal.accounts import tokens
from speechportal.accounts.models import Account, Membership, User
from tests.api.client import Api
from tests.factories import add_member, make_account, make_user

MakeApi = Callable[..., Api]


@pytest.fixture
def make_api(db: None) -> MakeApi:
    """An API client for a member; ``scopes`` and the other fields of a token can be given."""

    def make(account: Account, user: User, scopes: list[str] | None = None, **fields: Any) -> Api:
        token, plain = tokens.create_token(
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
