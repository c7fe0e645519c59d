"""Account ID in URLs: pages, forms and links use the account of their own tab."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.urls import reverse
from pytest_django.fixtures import Settings

from batches.billing import budget_alerts
from batches.models import Batch
from domains.models import Domain
from speechportal.accounts import addresses
from speechportal.accounts.models import Account, ApiToken, Invitation, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_charge, make_task, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def first(alice: User) -> Account:
    return make_account("First", alice)


@pytest.fixture
def second(alice: User) -> Account:
    return make_account("Second", alice)


@pytest.fixture
def browser(alice: User, first: Account, second: Account) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def at(account: Account, path: str) -> str:
    return f"/a/{account.uid}{path}"


def test_a_form_writes_to_the_account_it_was_opened_in(
    browser: Client, first: Account, second: Account
) -> None:
    assert browser.get(at(first, "/account/settings/")).status_code == 200
    assert browser.get(at(second, "/")).status_code == 200  # the second tab
    browser.post(at(first, "/account/settings/"), {"name": "Renamed", "monthly_budget": "7"})
    browser.post(at(first, "/domains/new/"), {"name": "Calls", "code": "calls", "plan": "basic"})
    browser.post(at(first, "/account/invite/"), {"email": "dora@example.com", "role": "viewer"})
    browser.post(at(first, "/account/tokens/"), {"name": "Nightly", "everywhere": "read", "days": "30"})
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.name, first.monthly_budget) == ("Renamed", Decimal(7))
    assert (second.name, second.monthly_budget) == ("Second", None)
    for model in (Domain, Invitation, ApiToken):
        assert [row.account for row in model.unscoped.all()] == [first], model


def test_links_of_a_page_stay_in_its_account(browser: Client, first: Account, second: Account) -> None:
    browser.get(at(second, "/"))
    page = browser.get(at(first, "/batches/")).content.decode()
    for name in ("home", "batches:list", "batches:create", "domains:list", "account_members", "usage:list"):
        assert f'href="{addresses.path(first.uid, name)}"' in page
        assert f'href="{addresses.path(second.uid, name)}"' not in page


def test_a_deep_link_opens_another_of_ones_own_accounts(
    browser: Client, first: Account, second: Account
) -> None:
    batch = make_batch(second, name="elsewhere")
    browser.get(at(first, "/"))
    page = browser.get(at(second, f"/batches/{batch.uid}/"))
    assert page.status_code == 200
    assert "elsewhere" in page.content.decode()
    assert browser.get(at(first, f"/batches/{batch.uid}/")).status_code == 404


def test_an_address_without_account_opens_the_one_used_last(
    browser: Client, first: Account, second: Account
) -> None:
    for used in (second, first):
        browser.get(at(used, "/batches/"))
        browser.get(at(second, "/"), headers={"HX-Request": "true"})  # a fragment that reloads by itself
        answer = browser.get("/batches/?q=a%20b", without_account=True)
        assert answer["Location"] == at(used, "/batches/?q=a%20b")
    assert f'href="{at(first, "/batches/")}"' in browser.get("/profile/").content.decode()


def test_a_form_without_account_is_refused(browser: Client, first: Account, second: Account) -> None:
    answer = browser.post("/account/settings/", {"name": "Whose?"}, without_account=True)
    assert answer.status_code == 409
    assert "Nothing was saved" in answer.content.decode()
    assert sorted(Account.objects.values_list("name", flat=True)) == ["First", "Second"]


def test_a_strangers_account_is_not_found(browser: Client) -> None:
    charlies = make_account("Charlie’s", make_user("charlie@example.com"))
    batch = make_batch(charlies)
    for path in ("/", "/batches/", f"/batches/{batch.uid}/", "/account/", "/usage/"):
        assert browser.get(at(charlies, path)).status_code == 404
    browser.post(at(charlies, "/batches/pause/"), {"ids": batch.uid})
    assert Batch.unscoped.get().paused_at is None
    assert browser.get("/a/acc_nobodys/batches/").status_code == 404


def test_a_role_counts_in_its_own_account(browser: Client, alice: User, first: Account) -> None:
    third = make_account("Third", make_user("bob@example.com"))
    add_member(third, alice, Membership.Role.VIEWER)
    assert browser.get(at(first, "/account/settings/")).status_code == 200
    assert browser.get(at(third, "/account/settings/")).status_code == 403


def test_visitors_sign_in_first(first: Account, client: Client) -> None:
    for path in (at(first, "/usage/?month=2026-01"), "/usage/?month=2026-01"):
        answer = client.get(path, without_account=True)
        assert answer["Location"] == f"/login/?next={path.replace('?', '%3F').replace('=', '%3D')}"


def test_somebody_without_account_is_told() -> None:
    client = Client()
    client.force_login(make_user("eve@example.com"))
    answer = client.get("/batches/")
    assert answer.status_code == 403
    assert "not a member of any account" in answer.content.decode()


def test_switching_opens_the_other_account(browser: Client, first: Account, second: Account) -> None:
    browser.get(at(first, "/"))
    answer = browser.post("/account/switch/", {"account": second.uid})
    assert answer["Location"] == at(second, "/")
    charlies = make_account("Charlie’s", make_user("charlie@example.com"))
    assert browser.post("/account/switch/", {"account": charlies.uid}).status_code == 404


def test_reverse_without_a_request_gives_no_account() -> None:
    assert reverse("batches:detail", args=["bat_x"]) == "/batches/bat_x/"
    with addresses.of_account("acc_x"):
        assert reverse("batches:detail", args=["bat_x"]) == "/a/acc_x/batches/bat_x/"
        assert reverse("login") == "/login/"
    assert reverse("home") == "/"


def test_mails_link_to_the_account(first: Account, second: Account, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://portal.example.com"
    Account.objects.filter(pk=second.pk).update(monthly_budget="0.10")
    second.refresh_from_db()
    make_charge(make_task(make_batch(second), state="completed"))
    second.refresh_from_db()
    assert f"https://portal.example.com/a/{second.uid}/usage/" in budget_alerts.message(second)[1]
