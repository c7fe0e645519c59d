"""Live lists: one that cannot be refreshed says so and recovers; filters match their list after Back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.portal.scene import World

pytestmark = pytest.mark.django_db(transaction=True)


def only_refreshes(route: Route) -> None:
    """Abort htmx requests, but not page loads."""
    if route.request.headers.get("hx-request"):
        route.abort()
    else:
        route.continue_()


def test_a_page_that_cannot_be_refreshed_says_so_and_heals(world: World, page: Page) -> None:
    page.goto(world.url("/batches/"))
    expect(page.locator("#stale")).to_be_hidden()
    page.route("**/batches/**", only_refreshes)
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("#stale")).to_contain_text("The portal cannot be reached since")
    page.unroute("**/batches/**")
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("#stale")).to_be_hidden()
    world.problems.clear()  # htmx writes the request that was cut off into the console.


def test_refreshing_keeps_rows_that_are_the_same(world: World, page: Page) -> None:
    page.goto(world.url("/batches/"))
    page.evaluate("document.querySelector('#live table').seen = true")
    page.get_by_label(f"Select {world.batch.name}").check()
    world.batch.name = "renamed"
    world.batch.save(update_fields=["name"])
    page.get_by_role("link", name="Refresh").click()
    expect(page.get_by_label("Select renamed")).to_be_checked()
    assert page.evaluate("document.querySelector('#live table').seen") is True


def test_after_back_the_filter_is_that_of_the_list(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    state = page.get_by_role("combobox", name="State", exact=True)
    state.select_option("failed")
    page.wait_for_url("**state=failed**")
    page.go_back()
    expect(page.get_by_role("combobox", name="State", exact=True)).to_have_value("")
