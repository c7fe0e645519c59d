"""The two API documentation pages: they show everything, and load nothing from other hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from speechportal.accounts.tokens import api_tokens
from tests.portal.scene import World

pytestmark = pytest.mark.django_db(transaction=True)


def visit(new_context: Callable[..., BrowserContext], world: World, path: str) -> tuple[Page, list[str]]:
    """Open a page without signing in; returns its foreign requests. Console errors fail the test."""
    page = new_context().new_page()
    foreign: list[str] = []

    def note(address: str) -> None:
        if not address.startswith((world.server, "data:", "blob:")):
            foreign.append(address)

    page.on("request", lambda request: note(request.url))
    page.goto(f"{world.server}{path}")
    return page, foreign


def test_redoc_shows_the_reference(new_context: Callable[..., BrowserContext], world: World) -> None:
    page, foreign = visit(new_context, world, "/api/v1/redoc")
    expect(page.get_by_role("heading", name="Create a batch")).to_be_visible()
    expect(page.locator("img[alt='redocly logo']")).to_be_hidden()
    page.get_by_role("textbox").first.fill("keywords")
    expect(page.get_by_role("search").get_by_text("Upload the keywords").first).to_be_visible()
    assert foreign == []


def test_swagger_ui_tries_a_request(new_context: Callable[..., BrowserContext], world: World) -> None:
    _token, plain = api_tokens.create_token(
        account=world.account, created_by=world.alice, name="docs", scopes=["read"]
    )
    page, foreign = visit(new_context, world, "/api/v1/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_role("dialog").or_(page.locator(".modal-ux")).get_by_role("textbox").fill(plain)
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close", exact=True).click()
    operation = page.locator("#operations-account-account_retrieve")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text(world.account.uid)
    assert foreign == []
