"""Recordings dropped on a batch's page, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from batches.models import Task
from tests.portal.scene import World

pytestmark = pytest.mark.django_db(transaction=True)


def payload(name: str, data: bytes = b"sound") -> Any:
    return {"name": name, "mimeType": "audio/mpeg", "buffer": data}


def test_chosen_files_become_waiting_tasks(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    page.get_by_label("Subfolder (optional)").fill("monday")
    files = [payload("통화 “1”.mp3"), payload("second.wav"), payload("notes.txt"), payload("none.mp3", b"")]
    page.locator("#upload-files").set_input_files(files)
    rows = page.locator("#upload li")
    expect(rows.filter(has_text="Uploaded: waits for its turn")).to_have_count(2)
    expect(rows.filter(has_text="notes.txt")).to_contain_text("Not a recording")
    expect(rows.filter(has_text="none.mp3")).to_contain_text("The file is empty.")
    expect(page.locator("#live")).to_contain_text("monday/통화 “1”.mp3")
    expect(page.locator("[data-upload-summary]")).to_have_text("2 of 2 files uploaded")
    tasks = Task.unscoped.filter(batch=world.batch, name__startswith="monday/")
    assert {task.state for task in tasks} == {Task.State.WAITING}
    assert tasks.count() == 2
    stored = {path.name for path in Path(world.folder).rglob("*.*") if path.parent.name == "monday"}
    assert stored == {"통화 “1”.mp3", "second.wav"}
    page.get_by_role("link", name="monday/second.wav").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("monday/second.wav")


def test_a_name_that_is_taken_asks_first(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    page.locator("#upload-files").set_input_files([payload("again.mp3", b"first")])
    expect(page.locator("#upload li").filter(has_text="waits for its turn")).to_have_count(1)
    for answer in ("Leave out", "Keep both", "Replace"):
        page.reload()
        page.locator("#upload-files").set_input_files([payload("again.mp3", answer.encode())])
        question = page.get_by_role("dialog", name="These names are taken")
        expect(question).to_contain_text("again.mp3")
        question.get_by_role("button", name=answer).click()
        expect(question).not_to_be_visible()
        fate = "Left out" if answer == "Leave out" else "waits for its turn"
        expect(page.locator("#upload li").filter(has_text=fate)).to_have_count(1)
    files = {path.name: path.read_bytes() for path in Path(world.folder).rglob("again*.mp3")}
    assert files == {"again.mp3": b"Replace", "again (2).mp3": b"Keep both"}


def test_an_upload_goes_on_when_the_connection_is_back(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    broken = True

    def storage(route: Any) -> None:
        if broken:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/connections/file/**", storage)
    page.locator("#upload-files").set_input_files([payload("train.mp3")])
    row = page.locator("#upload li").filter(has_text="train.mp3")
    expect(row).to_contain_text("The connection broke")
    broken = False
    row.get_by_role("button", name="Try again").click()
    expect(row).to_contain_text("waits for its turn")
    assert Task.unscoped.filter(batch=world.batch, name="train.mp3").exists()


def test_viewers_are_offered_no_upload(world: World, new_context: Any) -> None:
    page = new_context(world.bob).new_page()
    page.goto(world.url(world.batch_path))
    expect(page.locator("#live")).to_be_visible()
    expect(page.locator("#upload")).to_have_count(0)
