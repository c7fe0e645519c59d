"""Mandatory two-factor sign-in: without it a member has no access to the account, nor have their tokens."""

from __future__ import annotations

import json

import pytest
from django.core import mail
from django.urls import reverse
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Account, AuditEntry, Membership, User
from speechportal.accounts.sign_in import second_factor
from speechportal.accounts.tokens import api_tokens
from tests.accounts.queued import work_off
from tests.clients import Client
from tests.factories import add_member, make_account, make_user
from tests.safety.authenticators import code

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com", "correct horse battery")


@pytest.fixture
def bob() -> User:
    return make_user("bob@example.com", "correct horse battery")


@pytest.fixture
def account(alice: User, bob: User) -> Account:
    account = make_account("Ours", alice)
    add_member(account, bob, Membership.Role.MANAGER)
    return account


def give_app(user: User) -> None:
    app = second_factor.begin(user.pk)
    assert second_factor.verify(app, code(app))


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    app = second_factor.app_of(user.pk)
    if app is not None:
        session = client.session
        session[second_factor.SESSION_KEY] = app.pk
        session.save()
    return client


def require(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(two_factor_required=True)


def test_only_an_owner_with_a_second_factor_makes_it_a_duty(
    account: Account, alice: User, bob: User, settings: Settings
) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    path, fields = f"/a/{account.uid}/account/settings/", {"name": "Ours", "two_factor_required": "on"}
    assert b"Set up a second factor for yourself first" in browser(alice).post(path, fields).content
    give_app(alice)
    owner = browser(alice)
    assert bob.email in owner.get(path).content.decode()
    owner.post(path, fields)
    assert Account.objects.get(pk=account.pk).two_factor_required
    entry = AuditEntry.unscoped.filter(action="account.changed", account=account).latest("pk")
    assert entry.changes["two_factor_required"] == [False, True]
    mail.outbox.clear()
    work_off()
    [told] = [each for each in mail.outbox if "asks for two-factor" in each.subject]
    assert told.to == [bob.email]
    members = owner.get(f"/a/{account.uid}/account/").content.decode()
    assert members.count("missing") == 1


def test_who_has_none_is_led_to_set_one_up_and_then_goes_on(account: Account, bob: User) -> None:
    other = make_account("Elsewhere")
    add_member(other, bob, Membership.Role.OWNER)
    require(account)
    client = browser(bob)
    for path in ("batches/", "account/", "usage/", "domains/new/"):
        page = client.get(f"/a/{account.uid}/{path}")
        assert page.status_code == 403
        assert reverse("two_factor_on") in page.content.decode()
        assert f'<a href="/a/{other.uid}/">' in page.content.decode()
    assert client.post(f"/a/{account.uid}/batches/pause/").status_code == 403
    assert client.get(f"/a/{other.uid}/batches/").status_code == 200
    assert client.get("/profile/security/").status_code == 200
    give_app(bob)
    assert browser(bob).get(f"/a/{account.uid}/batches/").status_code == 200


def test_their_tokens_are_refused_until_then(account: Account, bob: User) -> None:
    _token, plain = api_tokens.create_token(
        account=account, created_by=bob, name="Nightly", scopes=["batches:read"]
    )
    headers = {"Authorization": f"Bearer {plain}"}
    assert Client().get("/api/v1/batches", headers=headers).status_code == 200
    require(account)
    refused = Client().get("/api/v1/batches", headers=headers)
    assert refused.status_code == 403
    assert json.loads(refused.content)["code"] == "two_factor_missing"
    give_app(bob)
    assert Client().get("/api/v1/batches", headers=headers).status_code == 200


def test_who_has_no_password_fulfils_it_by_the_company(account: Account) -> None:
    kim = make_user("kim@example.com")
    add_member(account, kim, Membership.Role.VIEWER)
    require(account)
    assert browser(kim).get(f"/a/{account.uid}/batches/").status_code == 200


def test_owners_read_by_the_api_who_is_missing(account: Account, alice: User, bob: User) -> None:
    give_app(alice)
    require(account)
    _token, plain = api_tokens.create_token(
        account=account, created_by=alice, name="Audit", scopes=["members:read"]
    )
    found = Client().get("/api/v1/members", headers={"Authorization": f"Bearer {plain}"}).json()
    assert {each["email"]: each["two_factor"] for each in found["results"]} == {
        alice.email: True,
        bob.email: False,
    }
