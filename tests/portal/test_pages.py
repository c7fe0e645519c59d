"""Every page in both languages, light and dark, wide and narrow: screenshots, and axe's findings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, ViewportSize

from batches.models import ExecutionResult
from speechportal.accounts.members import invitations
from tests.factories import make_account, make_user
from tests.portal.scene import World

# A scheme changes colours and nothing else, so that dark pages are held to the rule about colours alone.
RULES = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "dark": {"runOnly": ["color-contrast"]},
}
Scheme = Literal["light", "dark"]
# Each change costs time, so that the second width begins with the scheme that the first has ended with.
ORDER: dict[str, tuple[Scheme, Scheme]] = {"wide": ("light", "dark"), "narrow": ("dark", "light")}
SIZES: dict[str, ViewportSize] = {
    "wide": {"width": 1440, "height": 900},
    "narrow": {"width": 390, "height": 844},
}
ARTIFACTS = Path(__file__).resolve().parents[2] / ".artifacts" / "portal"
OpenContext = Callable[..., BrowserContext]
pytestmark = pytest.mark.django_db(transaction=True)


def pages_of(world: World) -> dict[str, str]:
    result = ExecutionResult.unscoped.get(batch=world.batch)
    return {
        "home": "/",
        "batches": "/batches/",
        "batches-deleted": "/batches/deleted/",
        "batches-none-found": "/batches/?q=nothing-like-this",
        "batch-create": "/batches/new/",
        "batch-settings": f"{world.batch_path}settings/",
        "batch": world.batch_path,
        "batch-failed": f"{world.batch_path}?state=failed",
        "batch-results": f"{world.batch_path}execution-results/",
        "batch-result": f"{world.batch_path}execution-results/{result.uid}/",
        "batch-deliveries": f"{world.batch_path}deliveries/",
        "batch-activity": f"{world.batch_path}activity/",
        "batch-delete": f"/batches/delete/?batch={world.batch.uid}",
        "batch-pause": f"/batches/pause/?batch={world.batch.uid}",
        "service": "/batches/service/",
        "task": world.task_path,
        "task-failed": f"{world.batch_path}tasks/{world.failed.uid}/",
        "task-waiting": f"{world.batch_path}tasks/{world.waiting.uid}/",
        "domains": "/domains/",
        "domain-create": "/domains/new/",
        "domain": f"/domains/{world.domain.uid}/",
        "domain-text-rules": f"/domains/{world.domain.uid}/text/",
        "domain-delete": f"/domains/{world.free_domain.uid}/delete/",
        "connections": "/connections/",
        "connection-create": "/connections/new/",
        "connection": f"/connections/{world.connection.uid}/",
        "transcripts": "/transcripts/",
        "transcripts-found": "/transcripts/?q=order",
        "usage": "/usage/",
        "members": "/account/",
        "account-settings": "/account/settings/",
        "tokens": "/account/tokens/",
        "company-sign-in": "/account/sign-in/",
        "first-steps": "/first-steps/",
        "privacy": "/account/privacy/",
        "activity": "/account/activity/",
        "notifications": "/account/notifications/",
        "profile": "/profile/",
        "security": "/profile/security/",
        "passkey-add": "/profile/security/passkeys/add/",
        "two-factor-on": "/profile/security/two-factor/",
        "password": "/profile/password/",
        "not-found": "/batches/bat_nothing/",
    }


def violations(page: Page, scheme: str) -> list[str]:
    if page.evaluate("() => !window.axe"):
        found = Axe().run(page, options=RULES[scheme]).response
    else:  # It is on the page since it was last asked.
        found = page.evaluate("options => window.axe.run(document, options)", RULES[scheme])
    return [
        f"{each['id']}: {', '.join(str(node['target'][0]) for node in each['nodes'][:3])}"
        for each in found["violations"]
    ]


def shoot(page: Page, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.jpeg", type="jpeg", quality=80, full_page=True)


def look(page: Page, name: str, language: str) -> list[str]:
    """Take screenshots of a page, and return its defects."""
    wrong = []
    for width, schemes in ORDER.items():
        page.set_viewport_size(SIZES[width])
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            if width == "wide" and language == "en":  # No language changes colours and structure.
                wrong += [f"{name} {scheme} {each}" for each in violations(page, scheme)]
            shoot(page, f"{name}.{language}.{scheme}.{width}")
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            wrong.append(f"{name}: wider than the window ({width})")
    return wrong


@pytest.mark.parametrize("language", ["en", "ko"])
def test_pages_of_a_member(language: str, world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, locale=language).new_page()
    wrong = []
    for name, path in pages_of(world).items():
        page.goto(world.url(path), wait_until="load")
        assert page.evaluate("document.documentElement.lang") == language, name
        wrong += look(page, name, language)
    assert wrong == []


def test_pages_of_a_new_account(world: World, new_context: OpenContext) -> None:
    """Empty pages teach what comes first."""
    owner = make_user(f"new-{world.account.uid}@example.com")
    make_account("New", owner)
    page = new_context(owner).new_page()
    wrong = []
    for name in ("", "batches", "domains", "connections", "transcripts", "usage", "batches/new"):
        page.goto(world.url(f"/{name}/".replace("//", "/")), wait_until="load")
        wrong += look(page, f"new-{name.replace('/', '-') or 'home'}", "en")
    assert wrong == []
    page.goto(world.url("/"))
    page.get_by_role("link", name="Begin").click()
    assert page.url.endswith("/first-steps/")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_pages_of_anybody(language: str, world: World, new_context: OpenContext) -> None:
    _, token = invitations.invite(
        account=world.account, email="dora@example.com", role="viewer", by=world.alice
    )
    page = new_context(locale=language).new_page()
    wrong = []
    for name, path in {
        "company-sign-in-find": "/login/company/find/",
        "login": "/login/",
        "invitation": f"/invitations/{token}/",
        "forgot-password": "/password-reset/",
    }.items():
        page.goto(world.url(path), wait_until="load")
        wrong += look(page, name, language)
    assert wrong == []


def test_a_form_with_errors_and_an_open_dialog(world: World, page: Page) -> None:
    page.goto(world.url("/domains/new/"))
    page.fill("#id_code", "-no-")
    page.locator("main form").evaluate("form => { form.noValidate = true; }")
    page.click("main form .primary")
    page.wait_for_selector("#errors")
    wrong = look(page, "form-errors", "en")
    page.set_viewport_size(SIZES["wide"])
    page.goto(world.url("/batches/"))
    page.check("[data-select-all]")
    page.click("button.danger[data-needs-selection]")
    page.wait_for_selector("dialog[open]")
    wrong += look(page, "dialog", "en")
    assert wrong == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_tabs_cut_no_word_at_a_middling_width(language: str, world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, locale=language, viewport={"width": 800, "height": 900}).new_page()
    page.goto(world.url("/account/activity/"))
    heights = page.eval_on_selector_all(".tabs a", "links => links.map(link => link.offsetHeight)")
    assert len(heights) > 5
    assert len(set(heights)) == 1
    assert heights[0] < 40, "one line"


def test_a_wide_list_of_tasks_scrolls_and_not_the_page(world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, viewport={"width": 800, "height": 900}).new_page()
    page.goto(world.url(f"/batches/{world.batch.uid}/?sort=-duration"))
    width = "selector => document.querySelector(selector).scrollWidth"
    assert page.evaluate(width, "table.cards.compact") > 560
    assert page.evaluate(width, "html") == 800
