"""Passkeys with a real browser and its virtual authenticator (DevTools protocol, domain WebAuthn)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, expect
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Passkey
from tests.portal.scene import World
from tests.portal.test_pages import look
from tests.portal.test_security_page import PASSWORD, give_password

OpenContext = Callable[..., BrowserContext]
pytestmark = pytest.mark.django_db(transaction=True)


def add_authenticator(page: Page) -> tuple[CDPSession, str]:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    added = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, str(added["authenticatorId"])


@pytest.fixture
def portal(world: World, settings: Settings) -> str:
    """The portal under a host name: browsers support no passkeys for IP addresses."""
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    return f"http://localhost:{urlsplit(world.server).port}"


def sign_in(page: Page, world: World, portal: str) -> None:
    page.goto(f"{portal}/batches/")
    page.get_by_label("E-mail address").fill(world.alice.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_passkey_from_adding_to_removing(world: World, new_context: OpenContext, portal: str) -> None:
    give_password(world.alice)
    page = new_context().new_page()
    cdp, authenticator = add_authenticator(page)
    sign_in(page, world, portal)
    page.goto(f"{portal}/profile/security/")
    page.get_by_role("link", name="Add a passkey").click()
    wrong = look(page, "passkey-add", "en")
    page.get_by_label("Name").fill("Virtual key")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.locator(".codes li")).to_have_count(10)
    kept = cdp.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert len(kept) == Passkey.objects.filter(user=world.alice).count() == 1

    page.goto(f"{portal}/profile/security/")
    wrong += look(page, "security-passkeys", "en")
    page.get_by_role("button", name="Sign out everywhere else").is_visible()
    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    wrong += look(page, "login-passkey", "en")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".rail")).to_be_visible()

    # After the password, as second factor.
    page.context.clear_cookies()
    sign_in(page, world, portal)
    expect(page.get_by_role("heading", level=1)).to_have_text("Use your passkey")
    wrong += look(page, "second-factor-passkey", "en")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Batches")

    # A device that verifies nobody is refused by the browser or by the portal.
    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    page.context.clear_cookies()
    page.goto(f"{portal}/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("[data-passkey-error]")).to_contain_text("Nothing was done")
    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": True})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".rail")).to_be_visible()

    page.goto(f"{portal}/profile/security/")
    page.get_by_role("link", name="Remove the passkey Virtual key").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".messages")).to_contain_text("The passkey was removed")
    page.context.clear_cookies()
    page.goto(f"{portal}/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".messages")).to_contain_text("The passkey was not accepted")
    assert wrong == []
