"""Reading a transcript along with its recording, and correcting it, as a member does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from batches.models import Correction, StoredTranscript
from batches.transcripts import changes
from batches.transcripts.drafts import Draft
from tests.portal.scene import World, make_document

OpenContext = Callable[..., BrowserContext]
pytestmark = pytest.mark.django_db(transaction=True)


def open_task(page: Page, world: World, query: str = "") -> None:
    page.goto(world.url(world.task_path + query))
    page.wait_for_function("() => document.querySelector('audio').readyState > 0")
    expect(page.locator("li[data-id]").first).to_be_attached()


def heard_at(page: Page) -> float:
    return float(page.evaluate("document.querySelector('audio').currentTime"))


def test_a_click_on_a_word_plays_it_and_lights_it(world: World, page: Page) -> None:
    open_task(page, world)
    page.get_by_text("arrived", exact=True).click()
    page.wait_for_selector(".word.now")
    assert heard_at(page) >= 1.6  # "arrived" is the fifth of six words of the second second
    expect(page.locator("li.spoken")).to_contain_text("My order")


def words_marked(page: Page, kind: str) -> list[str]:
    """Texts that the page highlights as ``kind``."""
    found: list[str] = page.evaluate("kind => [...CSS.highlights.get(kind) ?? []].map(String)", kind)
    return found


def current(world: World) -> list[str]:
    draft = Draft(make_document(), {}, {})
    correction = Correction.unscoped.filter(task=world.task).first()
    draft.edits = correction.lines if correction else {}
    return [draft.text_of(line) for line in draft.lines]


def saved(page: Page) -> None:
    expect(page.locator("[data-save-state]")).to_have_text("All changes are saved")


def edit(page: Page, line: int) -> Locator:
    page.locator(f"#line-{line}").hover()
    page.locator(f"#line-{line} [data-edit]").click()
    return page.locator(f"#line-{line} textarea")


def test_words_that_were_recognised_badly_are_marked(world: World, page: Page) -> None:
    open_task(page, world)
    expect(page.locator(".word.unsure")).to_have_text(["morning,", "order", "I", "is"])
    page.keyboard.press("n")
    assert 0.14 < heard_at(page) < 0.3
    page.keyboard.press("n")
    assert 1.1 < heard_at(page) < 1.4


def test_keys(world: World, page: Page) -> None:
    open_task(page, world)
    page.keyboard.press("ArrowDown")
    assert 1.0 <= heard_at(page) < 1.1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert 1.0 <= heard_at(page) < 1.1
    page.keyboard.press(".")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.25
    page.keyboard.press("Shift+Slash")
    expect(page.locator("[data-shortcut-list]")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("order")
    page.wait_for_function("() => CSS.highlights.get('found')?.size === 2")
    page.keyboard.press("Enter")
    assert words_marked(page, "found-now") == ["order"]
    expect(page.locator("li.at-hit")).to_contain_text("My order")
    page.keyboard.press("Enter")
    expect(page.locator("li.at-hit")).to_contain_text("May I have")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("li.at-hit")).to_contain_text("My order")
    page.keyboard.press("Escape")
    expect(page.locator("[data-find-text]")).not_to_be_focused()
    assert words_marked(page, "found") == []


def test_keys_pressed_quickly_start_from_where_the_ones_before_led(world: World, page: Page) -> None:
    open_task(page, world)
    page.evaluate(
        """for (const code of ['ArrowDown', 'ArrowDown', 'ArrowUp'])
            document.body.dispatchEvent(new KeyboardEvent('keydown', {key: code, code, bubbles: true}))"""
    )
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0")
    assert 1.0 <= heard_at(page) < 1.1
    expect(page.locator("li.spoken")).to_contain_text("My order")


def test_keys_work_in_hangul_mode(world: World, page: Page) -> None:
    """Under a Korean layout the letter is another one; its place on the keyboard is the same."""
    open_task(page, world)
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ㅏ', code: 'KeyK', bubbles: true}))"
    )
    page.wait_for_function("() => !document.querySelector('audio').paused")


def test_a_line_is_saved_as_one_types_and_undone_across_a_reload(world: World, page: Page) -> None:
    open_task(page, world)
    area = edit(page, 1)
    area.fill("My parcel has not arrived yet.")
    saved(page)
    assert current(world)[1] == "My parcel has not arrived yet."
    expect(area).to_be_focused()  # Saving takes nothing from the one who types on.
    page.keyboard.press("Escape")
    expect(page.locator("#line-1 p")).to_have_text("My parcel has not arrived yet.")
    expect(page.locator("#line-1 .mark.corrected")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    segment = json.loads(download.value.path().read_text())["segments"][1]
    assert segment["textEdited"] == "My parcel has not arrived yet."
    assert segment["text"] == "My order has not arrived yet."
    open_task(page, world)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#line-1 p")).to_have_text("My order has not arrived yet.")
    page.get_by_role("button", name="Redo").click()
    expect(page.locator("#line-1 p")).to_have_text("My parcel has not arrived yet.")
    saved(page)
    # E works more than once for the same line.
    for _ in range(2):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("e")
        expect(page.locator(".editor textarea")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator(".editor")).to_have_count(0)


def test_escape_belongs_to_the_composition(world: World, page: Page) -> None:
    open_task(page, world)
    area = edit(page, 0)
    area.evaluate(
        """area => {
            area.dispatchEvent(new CompositionEvent('compositionstart'));
            area.value += ' 안녕';
            const escape = {key: 'Escape', isComposing: true, bubbles: true};
            area.dispatchEvent(new KeyboardEvent('keydown', escape));
        }"""
    )
    expect(area).to_have_value("Good morning, this is the call centre. 안녕")
    area.evaluate("area => area.dispatchEvent(new CompositionEvent('compositionend'))")
    saved(page)
    assert current(world)[0].endswith("안녕")


def test_lines_are_split_and_merged_at_the_keyboard(world: World, page: Page) -> None:
    open_task(page, world)
    area = edit(page, 0)
    area.evaluate("area => area.setSelectionRange(13, 13)")
    page.keyboard.press("Enter")
    expect(page.locator("li[data-id]")).to_have_count(5)
    expect(page.locator("#line-4 textarea")).to_have_value("this is the call centre.")
    assert current(world)[:2] == ["Good morning,", "this is the call centre."]
    expect(page.locator("#line-0 p")).to_have_text("Good morning,")
    page.keyboard.press("Backspace")
    expect(page.locator("li[data-id]")).to_have_count(4)
    expect(page.locator("#line-0 textarea")).to_have_value("Good morning, this is the call centre.")
    saved(page)
    assert Correction.unscoped.get(task=world.task).lines == {}


def test_playing_while_typing(world: World, page: Page) -> None:
    open_task(page, world)
    area = edit(page, 0)
    page.keyboard.press("Alt+k")
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.keyboard.press("Alt+k")
    page.wait_for_function("() => document.querySelector('audio').paused")
    expect(area).to_have_value("Good morning, this is the call centre.")


def test_speakers_are_chosen_named_merged_and_published_without_a_reload(world: World, page: Page) -> None:
    open_task(page, world)
    page.evaluate("window.sameDocument = true")
    page.locator("#line-1 .who").click()
    page.get_by_role("menuitem", name="New speaker").click()
    expect(page.locator("#line-1 .who")).to_have_text("C")
    name = page.get_by_label("Name of speaker C")
    name.fill("Jisu")
    name.press("Enter")
    expect(page.locator("#line-1 .who")).to_have_text("Jisu")
    page.get_by_label("Merge speaker B into another").select_option(label="Jisu")
    expect(page.locator("#line-3 .who")).to_have_text("Jisu")
    saved(page)
    assert page.evaluate("window.sameDocument") is True
    page.get_by_role("button", name="Publish corrections").click()
    expect(page.locator(".messages")).to_contain_text("1 result file was written again")
    written = json.loads((world.folder / "out" / "monday.wav.json").read_text())
    assert [speaker["name"] for speaker in written["speakers"]] == ["A", "Jisu"]


def test_words_are_replaced(world: World, page: Page) -> None:
    open_task(page, world)
    page.get_by_placeholder("Find in the transcript").fill("order")
    page.get_by_text("Replace", exact=True).first.click()
    page.get_by_placeholder("Replace with").fill("parcel")
    page.get_by_role("button", name="Replace all").click()
    expect(page.locator("#line-1 p")).to_have_text("My parcel has not arrived yet.")
    expect(page.locator("#line-2 p")).to_have_text("May I have the parcel number, please?")
    saved(page)
    assert current(world)[1:3] == ["My parcel has not arrived yet.", "May I have the parcel number, please?"]


def test_of_two_people_neither_loses_what_they_typed(world: World, page: Page) -> None:
    open_task(page, world)
    area = edit(page, 1)
    theirs = {"kind": "text", "line": "1", "text": "His text."}
    changes.apply(task=world.task, changes=[theirs], by=world.bob)
    area.fill("Her text.")
    conflict = page.locator("#line-1 .conflict")
    expect(conflict).to_contain_text("Yours: Her text.")
    expect(conflict).to_contain_text("Theirs: His text.")
    expect(page.locator("[data-save-state]")).to_have_text("Not saved: see the line")
    assert current(world)[1] == "His text."
    conflict.get_by_role("button", name="Keep mine").click()
    expect(conflict).to_have_count(0)
    saved(page)
    assert current(world)[1] == "Her text."


def test_what_the_network_refuses_is_saved_later(world: World, page: Page) -> None:
    open_task(page, world)
    page.route("**/changes/", lambda route: route.abort())
    edit(page, 1).fill("Typed while offline.")
    expect(page.locator("[data-save-state]")).to_contain_text("Not saved")
    page.unroute("**/changes/")
    page.get_by_role("button", name="Try again").click()
    saved(page)
    assert current(world)[1] == "Typed while offline."


def test_a_recording_that_is_gone_is_called_gone(world: World, page: Page) -> None:
    (world.folder / "in" / "calls" / "monday.wav").unlink()
    page.goto(world.url(world.task_path))
    expect(page.locator("[data-gone]")).to_be_visible()
    expect(page.locator("[data-unplayable]")).to_be_hidden()


def test_speed_volume_and_position_are_remembered(world: World, page: Page) -> None:
    open_task(page, world)
    page.locator("[data-speed]").select_option("1.5")
    page.evaluate(
        "document.querySelector('audio').volume = 0.5; document.querySelector('audio').currentTime = 2.5"
    )
    page.wait_for_function("() => localStorage.getItem('speechportal.player.positions')")
    open_task(page, world)
    page.wait_for_function("() => document.querySelector('audio').currentTime > 2.4")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.5
    assert page.evaluate("document.querySelector('audio').volume") == 0.5


def test_a_link_leads_to_its_line(world: World, page: Page) -> None:
    open_task(page, world, "#line-2")
    expect(page.locator("#line-2")).to_have_class(re.compile("at-hit"))
    page.wait_for_function("() => document.querySelector('audio').currentTime >= 2")


def test_a_line_can_be_corrected_without_javascript(world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, java_script_enabled=False).new_page()
    page.goto(world.url(world.task_path))
    page.get_by_role("link", name="Show them without JavaScript").click()
    page.locator("#line-0 .edit").click()
    page.fill("#line-0 textarea", "Good evening.")
    page.locator("#line-0 button").click()
    expect(page.locator("#line-0")).to_contain_text("Good evening.")


def test_a_viewer_reads_and_corrects_nothing(world: World, new_context: OpenContext) -> None:
    page = new_context(world.bob).new_page()
    open_task(page, world)
    expect(page.locator("[data-edit]")).to_have_count(0)
    expect(page.locator("[data-speakers]")).to_have_count(0)
    page.keyboard.press("e")
    expect(page.locator(".editor")).to_have_count(0)
    page.get_by_text("arrived", exact=True).click()
    page.wait_for_selector(".word.now")


def test_on_a_phone_speakers_and_downloads_come_before_the_lines(
    world: World, new_context: OpenContext
) -> None:
    page = new_context(world.alice, viewport={"width": 390, "height": 844}).new_page()
    open_task(page, world)
    tops = [
        page.locator(place).bounding_box()["y"]  # type: ignore[index] # It is there.
        for place in ("[data-speakers]", "a:text('JSON')", "#line-0")
    ]
    assert tops == sorted(tops)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


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


def test_keys_work_from_the_player_and_its_controls(world: World, page: Page) -> None:
    """After a click on them the focus stays there; arrows, digits and the space bar are theirs."""
    open_task(page, world)
    for place in ("audio", "[data-follow]", "[data-speed]"):
        page.locator(place).focus()
        page.keyboard.press("k")
        page.wait_for_function("() => !document.querySelector('audio').paused")
        page.keyboard.press("k")
        page.wait_for_function("() => document.querySelector('audio').paused")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-speed]")).not_to_have_value("1")
    page.locator("[data-follow]").focus()
    page.keyboard.press("e")
    expect(page.locator(".editor textarea")).to_be_focused()
    page.keyboard.type("kn")
    expect(page.locator(".editor textarea")).to_have_value(re.compile("kn$"))


def test_a_key_does_not_merge_speakers_before_one_is_chosen(world: World, page: Page) -> None:
    open_task(page, world)
    page.locator("#line-1 .who").click()
    page.get_by_role("menuitem", name="New speaker").click()
    expect(page.locator("#line-1 .who")).to_have_text("C")
    merging = page.get_by_label("Merge speaker C into another")
    merging.focus()
    saved(page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.keyboard.press("ArrowDown")  # opens the list
    page.keyboard.press("ArrowDown")
    expect(page.locator("#line-1 .who")).to_have_text("C")
    assert sent == []
    page.keyboard.press("Enter")
    expect(page.locator("#line-1 .who")).to_have_text(re.compile("[AB]"))
    saved(page)


def test_on_paper_there_is_the_transcript_alone(world: World, page: Page) -> None:
    open_task(page, world)
    edit(page, 1).fill("My parcel has not arrived yet.")
    saved(page)
    page.keyboard.press("Escape")
    publish = page.get_by_role("button", name="Publish corrections")
    expect(publish).to_be_visible()
    page.emulate_media(media="print")
    for hidden in (publish, page.get_by_label("Name of speaker A"), page.locator("audio")):
        expect(hidden).to_be_hidden()
    expect(page.locator("#line-1 p")).to_be_visible()
