"""Role changes, with a confirmation page; invitations and tokens end with the role of their creator."""

from __future__ import annotations

import re
from typing import Any

import pytest

from speechportal.accounts.members import invitations
from speechportal.accounts.models import Account, ApiToken, Invitation, Membership, User
from speechportal.accounts.tokens import api_tokens
from tests.clients import Client
from tests.factories import add_member, make_account, make_user

pytestmark = pytest.mark.django_db
OWNER, MANAGER, VIEWER = Membership.Role.OWNER, Membership.Role.MANAGER, Membership.Role.VIEWER


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def account(alice: User) -> Account:
    return make_account("Acme", alice)


@pytest.fixture
def bob(account: Account) -> Membership:
    bob = make_user("bob@example.com")
    membership = add_member(account, bob, OWNER)
    invitations.invite(account=account, email="dora@example.com", role="viewer", by=bob)
    api_tokens.create_token(account=account, created_by=bob, name="Nightly", scopes=["read"])
    return membership


@pytest.fixture
def browser(alice: User, account: Account) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def page(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_a_list_has_buttons_and_no_selects(browser: Client, bob: Membership) -> None:
    text = page(browser.get("/account/"))
    assert f"/account/members/{bob.pk}/role/" in text
    assert '<select name="role" data-submits' not in text
    assert "data-submits" not in text


def test_the_question_says_what_it_means(browser: Client, bob: Membership, alice: User) -> None:
    text = page(browser.get(f"/account/members/{bob.pk}/role/"))
    assert "change and remove every member, you included" in text
    assert "dora@example.com" in text
    assert "Nightly" in text
    assert "your own role" not in text
    own = Membership.objects.get(user=alice)
    assert "This is your own role" in page(browser.get(f"/account/members/{own.pk}/role/"))
    bob.refresh_from_db()
    assert bob.role == OWNER, "asking changes nothing"


def test_a_demotion_withdraws_invitations_and_keeps_tokens(browser: Client, bob: Membership) -> None:
    browser.post(f"/account/members/{bob.pk}/role/", {"role": VIEWER})
    bob.refresh_from_db()
    assert bob.role == VIEWER
    assert not Invitation.unscoped.exists()
    assert ApiToken.unscoped.get().revoked_at is None


def test_tokens_are_revoked_on_request(browser: Client, bob: Membership) -> None:
    browser.post(f"/account/members/{bob.pk}/role/", {"role": MANAGER, "revoke_tokens": "on"})
    assert ApiToken.unscoped.get().revoked_at is not None


def test_a_promotion_ends_nothing(browser: Client, account: Account, bob: Membership) -> None:
    Membership.objects.filter(pk=bob.pk).update(role=MANAGER)
    browser.post(f"/account/members/{bob.pk}/role/", {"role": OWNER, "revoke_tokens": "on"})
    assert Invitation.unscoped.count() == 1
    assert ApiToken.unscoped.get().revoked_at is None


def test_a_removal_withdraws_invitations(browser: Client, bob: Membership) -> None:
    assert "dora@example.com" in page(browser.get(f"/account/members/{bob.pk}/remove/"))
    browser.post(f"/account/members/{bob.pk}/remove/", {"revoke_tokens": "on"})
    assert not Membership.objects.filter(pk=bob.pk).exists()
    assert not Invitation.unscoped.exists()
    assert ApiToken.unscoped.get().revoked_at is not None


def test_an_owner_who_demotes_themselves_goes_home(browser: Client, bob: Membership, alice: User) -> None:
    own = Membership.objects.get(user=alice)
    answer = browser.post(f"/account/members/{own.pk}/role/", {"role": VIEWER}, follow=True)
    assert answer.status_code == 200
    own.refresh_from_db()
    assert own.role == VIEWER


@pytest.mark.parametrize("role", [OWNER, MANAGER, VIEWER])
def test_no_tab_leads_to_a_page_that_refuses(account: Account, role: str) -> None:
    carol = make_user()
    add_member(account, carol, role)
    client = Client()
    client.force_login(carol)
    text = page(client.get("/account/notifications/", follow=True))
    tabs = re.findall(r'href="([^"]+)"', text.split('<nav class="tabs first"')[1].split("</nav>")[0])
    assert len(tabs) == (7 if role == OWNER else 4)
    for address in tabs:
        assert client.get(address, follow=True).status_code == 200, address
