"""Turning two-factor sign-in on and signing in with it; seeing and ending sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core import mail
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.fixtures import Settings

from speechportal.accounts.models import AuthenticatorApp, User
from tests.accounts.queued import work_off
from tests.portal.scene import World
from tests.portal.test_pages import look
from tests.safety.authenticators import code

OpenContext = Callable[..., BrowserContext]
PASSWORD = "a-long-password-1"
pytestmark = pytest.mark.django_db(transaction=True)


def give_password(user: User) -> None:
    user.set_password(PASSWORD)
    user.save()


def sign_in(page: Page, world: World) -> None:
    page.goto(world.url("/batches/"))
    page.get_by_label("E-mail address").fill(world.alice.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_two_factor_sign_in_from_on_to_off(world: World, new_context: OpenContext) -> None:
    give_password(world.alice)
    page = new_context().new_page()
    sign_in(page, world)
    page.locator(".rail-foot summary").click()
    page.get_by_role("link", name="Security").click()
    page.get_by_role("link", name="Turn on").click()
    expect(page.locator(".qr-code svg")).to_be_visible()
    app = AuthenticatorApp.objects.get(user=world.alice)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(code(app, -1))
    page.get_by_role("button", name="Turn on").click()
    codes = page.locator(".codes li")
    expect(codes).to_have_count(10)
    wrong = look(page, "recovery-codes", "en")
    recovery = codes.first.inner_text()

    other = new_context().new_page()
    sign_in(other, world)
    expect(other.get_by_role("heading", level=1)).to_have_text("Enter your code")
    wrong += look(other, "second-factor", "en")
    other.get_by_label("Code").fill(code(app))
    other.get_by_role("button", name="Continue").click()
    expect(other.get_by_role("heading", level=1)).to_have_text("Batches")

    third = new_context().new_page()
    sign_in(third, world)
    third.get_by_role("link", name="Use a recovery code instead").click()
    third.get_by_label("Recovery code").fill(recovery)
    third.get_by_role("button", name="Continue").click()
    expect(third.get_by_role("heading", level=1)).to_have_text("Batches")

    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator("main")).to_contain_text("9 recovery codes are left.")
    wrong += look(page, "security-on", "en")
    page.get_by_role("link", name="Turn off").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(code(app, 1))
    page.get_by_role("button", name="Turn off").click()
    expect(page.locator(".messages")).to_contain_text("Two-factor sign-in is off")
    assert wrong == []


def test_a_forgotten_password_is_replaced(world: World, new_context: OpenContext, settings: Settings) -> None:
    give_password(world.alice)
    settings.EMAIL_HOST = "mail.example.com"
    settings.PUBLIC_URL = world.url("").rstrip("/")
    page = new_context().new_page()
    page.goto(world.url("/login/"))
    page.get_by_role("link", name="Forgot your password?").click()
    wrong = look(page, "forgot-password", "en")
    page.get_by_label("E-mail address").fill(world.alice.email)
    page.get_by_role("button", name="Send the link").click()
    expect(page.locator(".messages")).to_contain_text("a mail with a link is on its way")
    mail.outbox.clear()
    work_off()
    [link] = [word for word in str(mail.outbox[0].body).split() if word.startswith("http")]
    page.goto(link)
    wrong += look(page, "new-password", "en")
    page.get_by_label("New password", exact=True).fill("another pass phrase")
    page.get_by_label("New password confirmation").fill("another pass phrase")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".messages")).to_contain_text("Sign in with the new one")
    page.get_by_label("E-mail address").fill(world.alice.email)
    page.get_by_label("Password").fill("another pass phrase")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".rail")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text("This link no longer works")
    assert wrong == []


def test_a_session_elsewhere_is_ended(world: World, page: Page, new_context: OpenContext) -> None:
    elsewhere = new_context(world.alice, user_agent="Mozilla/5.0 (iPhone) Safari/604.1").new_page()
    elsewhere.goto(world.url("/"))
    page.goto(world.url("/profile/security/"))
    row = page.locator("#sessions tbody tr", has_text="Safari · iPhone")
    row.get_by_role("button", name="Sign out").click()
    expect(page.locator(".messages")).to_contain_text("signed out of 1 browser")
    elsewhere.goto(world.url("/usage/"))
    expect(elsewhere).to_have_url(world.url("/login/?next=/usage/"))
