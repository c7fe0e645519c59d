"""First steps on a phone, in a real browser: from an empty account to the page of a transcript."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from batches.models import Task
from batches.tasks import lifecycle, scheduling
from tests.factories import make_account, make_user
from tests.portal.scene import World
from tests.portal.test_pages import look

pytestmark = pytest.mark.django_db(transaction=True)


def finish(task: Task) -> None:
    """Complete waiting tasks as workers would, without recognition, until this one has ended."""
    while Task.unscoped.get(pk=task.pk).state != Task.State.COMPLETED:
        claim = scheduling.claim_next("test")
        assert claim is not None
        lifecycle.finish(claim)


def test_the_flow_on_a_phone_ends_on_the_page_of_the_transcript(world: World, new_context: Any) -> None:
    user = make_user("dora@example.com", language="ko")
    account = make_account("새 계정", user)
    page = new_context(user, viewport={"width": 390, "height": 844}, locale="ko").new_page()
    wrong = []
    page.goto(world.url("/"))
    wrong += look(page, "first-steps-home", "ko")
    page.locator("#go-on").click()
    page.locator("#id_provider").select_option("local")
    page.locator("#id_name").fill("녹음 폴더")
    page.locator("#id_local_folder").fill("calls")
    wrong += look(page, "first-steps-connection", "ko")
    page.locator("form[data-connection-form] .button.primary").click()
    expect(page.locator("li[aria-current=step]")).to_contain_text("도메인")
    page.locator("#id_name").fill("고객 상담")
    page.locator("#id_code").fill("calls")
    wrong += look(page, "first-steps-domain", "ko")
    page.locator("main form .button.primary").click()
    expect(page.locator("li[aria-current=step]")).to_contain_text("배치")
    wrong += look(page, "first-steps-batch", "ko")
    page.locator("main form .button.primary").click()
    expect(page.locator("#upload")).to_be_visible()
    wrong += look(page, "first-steps-upload", "ko")
    recording: Any = {"name": "첫 통화.mp3", "mimeType": "audio/mpeg", "buffer": b"sound"}
    page.locator("#upload-files").set_input_files([recording])
    expect(page.locator("#live")).to_contain_text("첫 통화.mp3")
    task = Task.unscoped.get(account=account)
    finish(task)
    expect(page).to_have_url(re.compile(f"/tasks/{task.uid}/$"))
    assert wrong == []
