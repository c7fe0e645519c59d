"""Company sign-in in the browser, at a real OpenID provider (npm's oidc-provider, on this machine)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.fixtures import Settings

from speechportal.accounts.models import AccountProvider, Membership, User
from speechportal.accounts.single_sign_on import account_providers, protocol
from speechportal.platform.models import NamedLease
from tests.fixtures_remote import free_port
from tests.portal.scene import World
from tests.portal.test_pages import look
from tests.programs import required

OpenContext = Callable[..., BrowserContext]
FOLDER = Path(__file__).resolve().parents[2] / ".ci" / "openid"
KIM: dict[str, Any] = {"email": "kim@hanbit.example", "email_verified": True, "groups": ["callcentre"]}
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def issuer(world: World, settings: Settings) -> Iterator[str]:
    if not (FOLDER / "node_modules" / "oidc-provider").exists():
        install = [
            required("npm"),
            "ci",
            "--prefix",
            str(FOLDER),
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
        ]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
    settings.OUTBOUND_NETWORKS, settings.OUTBOUND_HTTP = ["127.0.0.0/8", "::1/128"], True
    settings.OUTBOUND_PORTS = []
    protocol.forget()
    command = [required("node"), str(FOLDER / "provider.mjs"), str(free_port()), world.server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
    protocol.forget()


def person(issuer: str, name: str, claims: dict[str, Any] | None) -> None:
    """Add or change somebody at the provider; ``None`` deactivates them."""
    requests.put(f"{issuer}/people/{name}", data=json.dumps(claims), timeout=10).raise_for_status()


def at_provider(page: Page, name: str) -> None:
    page.locator("[name=login]").fill(name)
    page.locator("[name=password]").fill("whatever")
    page.locator("[type=submit]").first.click()
    page.locator("[type=submit]").first.click()  # consent


def set_up(page: Page, world: World, issuer: str, domain: str) -> list[str]:
    """Configure company sign-in as an owner does, and confirm it as support staff."""
    page.goto(world.url("/account/sign-in/"))
    page.get_by_label("Issuer").fill(issuer)
    page.get_by_label("Client ID").fill("portal")
    page.get_by_label("Client secret").fill("a-secret-of-the-portal-for-tests")
    page.get_by_label("Scopes").fill("openid email groups offline_access")
    page.get_by_label("Roles of groups").fill("callcentre = viewer\nleads = manager")
    page.get_by_label("E-mail domains").fill(domain)
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator(".messages")).to_contain_text("The company sign-in was saved")
    account_providers.confirm_domains(AccountProvider.objects.for_account(world.account).get())
    page.reload()
    return look(page, "company-sign-in", "en")


def test_a_member_comes_by_the_company_and_goes_with_it(
    world: World, issuer: str, page: Page, new_context: OpenContext, settings: Settings
) -> None:
    settings.OIDC_RECHECK_SECONDS = 0
    wrong = set_up(page, world, issuer, "hanbit.example")
    person(issuer, "kim", KIM)
    own = new_context().new_page()
    own.goto(world.url("/login/"))
    own.get_by_role("link", name="Find your company’s sign-in").click()
    wrong += look(own, "company-sign-in-find", "en")
    own.get_by_label("E-mail address").fill("kim@hanbit.example")
    own.get_by_role("button", name="Continue").click()
    at_provider(own, "kim")
    expect(own.locator(".rail")).to_be_visible()
    kim = User.objects.get(email="kim@hanbit.example")
    role = Membership.objects.filter(account=world.account, user=kim).values_list("role", flat=True)
    assert role.get() == "viewer"

    # Other groups in the middle of the session are another role at the next check.
    person(issuer, "kim", {**KIM, "groups": ["leads"]})
    NamedLease.objects.all().delete()
    own.goto(world.url("/batches/"))
    expect(own.get_by_role("link", name="Create batch").first).to_be_visible()
    assert role.get() == "manager"

    # Signing out leads through the provider, which forgets the person too.
    own.locator(".rail-foot summary").click()
    own.get_by_role("button", name="Sign out", exact=True).click()
    own.wait_for_url(f"{issuer}/session/end*")
    own.get_by_role("button", name="Yes, sign me out").click()
    expect(own.get_by_role("heading", level=1)).to_have_text("Sign in")
    own.goto(world.url(f"/login/company/{world.account.uid}/"))
    at_provider(own, "kim")
    expect(own.locator(".rail")).to_be_visible()

    # Deactivated at the provider, the session ends with the next page.
    person(issuer, "kim", None)
    NamedLease.objects.all().delete()
    own.goto(world.url("/batches/"))
    expect(own.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert wrong == []


def test_an_owner_connects_and_closes_the_account_to_passwords(
    world: World, issuer: str, page: Page, new_context: OpenContext
) -> None:
    set_up(page, world, issuer, "private.example")
    person(issuer, "alice", {"email": "alice@private.example", "email_verified": True, "groups": []})
    page.get_by_role("link", name="Try it").click()
    at_provider(page, "alice")
    expect(page.get_by_role("heading", level=1)).to_have_text("Connect your company’s account")
    wrong = look(page, "company-sign-in-connect", "en")
    page.get_by_role("button", name="Connect").click()
    expect(page.locator(".rail")).to_be_visible()
    page.goto(world.url("/account/settings/"))
    page.get_by_label("Company sign-in only").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messages")).to_contain_text("were saved")
    expect(page.get_by_role("heading", level=1)).to_have_text(world.account.name)
    bob = new_context(world.bob).new_page()
    bob.goto(world.url("/batches/"))
    expect(bob.get_by_role("heading", level=1)).to_have_text("Company sign-in needed")
    wrong += look(bob, "company-sign-in-needed", "en")
    assert wrong == []
