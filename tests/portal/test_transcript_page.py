"""Reading a transcript along with its recording, and correcting it, as a member does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from batches.models import Correction, StoredTranscript
from tests.portal.scene import World, make_document

OpenContext = Callable[..., BrowserContext]
pytestmark = pytest.mark.django_db(transaction=True)


def open_task(page: Page, world: World, query: str = "") -> None:
    page.goto(world.url(world.task_path + query))
    page.wait_for_function("() => document.querySelector('audio').readyState > 0")


def heard_at(page: Page) -> float:
    return float(page.evaluate("document.querySelector('audio').currentTime"))


def test_a_click_on_a_word_plays_it_and_lights_it(world: World, page: Page) -> None:
    open_task(page, world)
    page.get_by_text("arrived", exact=True).click()
    page.wait_for_selector(".word.now")
    assert heard_at(page) >= 1.6  # "arrived" is the fifth of six words of the second second
    expect(page.locator("li.spoken")).to_contain_text("My order")


def test_words_that_were_heard_badly_are_marked(world: World, page: Page) -> None:
    open_task(page, world)
    assert page.locator(".word.unsure").all_text_contents() == ["morning,", "order", "I", "is"]


def test_keys(world: World, page: Page) -> None:
    open_task(page, world)
    page.keyboard.press("ArrowDown")
    assert 1.0 <= heard_at(page) < 1.1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert 1.0 <= heard_at(page) < 1.1
    page.keyboard.press(".")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.25
    page.keyboard.press("?")
    expect(page.locator("[data-shortcut-list]")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("order")
    expect(page.locator("li.hit")).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.locator("li.at-hit")).to_contain_text("My order")


def test_correcting_a_line_and_taking_it_back(world: World, page: Page) -> None:
    open_task(page, world)
    line = page.locator("#line-1")
    line.hover()
    line.get_by_role("link", name="Correct").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("My parcel has not arrived yet.")
    page.keyboard.press("Control+Enter")
    expect(line.locator(".mark")).to_have_text("corrected")
    assert Correction.unscoped.get(task=world.task).texts == {"1": "My parcel has not arrived yet."}
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    segment = json.loads(download.value.path().read_text())["segments"][1]
    assert segment["textEdited"] == "My parcel has not arrived yet."
    assert segment["text"] == "My order has not arrived yet."
    line.hover()
    line.locator("[data-edit]").click()
    line.get_by_role("button", name="What was heard").click()
    line.get_by_role("button", name="Save").click()
    expect(line.locator(".mark")).to_have_count(0)
    assert Correction.unscoped.get(task=world.task).texts == {}


def test_naming_speakers_and_publishing(world: World, page: Page) -> None:
    open_task(page, world)
    page.locator("#line-0 .who").click()
    page.keyboard.type("Jisu")
    page.get_by_role("button", name="Save names").click()
    expect(page.locator("#line-2 .who")).to_have_text("Jisu")
    page.get_by_role("button", name="Publish corrections").click()
    expect(page.locator(".messages")).to_contain_text("1 result file was written again")
    written = json.loads((world.folder / "out" / "monday.wav.json").read_text())
    assert written["speakers"][0]["name"] == "Jisu"


def test_a_line_can_be_corrected_without_javascript(world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, java_script_enabled=False).new_page()
    page.goto(world.url(world.task_path))
    page.locator("#line-0 .edit").click()
    page.fill("#line-0 textarea", "Good evening.")
    page.locator("#line-0 button").click()
    expect(page.locator("#line-0")).to_contain_text("Good evening.")


def test_a_viewer_reads_and_corrects_nothing(world: World, new_context: OpenContext) -> None:
    page = new_context(world.bob).new_page()
    open_task(page, world)
    expect(page.locator("[data-edit]")).to_have_count(0)
    expect(page.get_by_role("button", name="Save names")).to_have_count(0)
    page.keyboard.press("e")
    expect(page.locator(".editor")).to_have_count(0)
    page.get_by_text("arrived", exact=True).click()
    page.wait_for_selector(".word.now")


def test_three_hours_open_with_words_only_where_one_looks(world: World, page: Page) -> None:
    lines = [("1", "A line of a very long meeting.")] * 2000
    StoredTranscript.unscoped.filter(task=world.task).update(
        document=make_document(lines, seconds=5.4).to_dict()
    )
    open_task(page, world, "?t=10000000")
    expect(page.locator("li.at-hit")).to_be_in_viewport()
    assert page.locator(".transcript li").count() == 2000
    page.wait_for_selector("li.at-hit .word")
    assert page.locator(".word").count() < 2000
    for _ in range(40):  # To read on leaves nothing behind.
        page.mouse.wheel(0, 1500)
    page.wait_for_function("() => !document.querySelector('li.at-hit .word')")
    assert 0 < page.locator(".word").count() < 2000
    expect(page.locator("li.at-hit p")).to_have_text("A line of a very long meeting.")
