"""Members' daily tasks in a browser, from sign-in to invitations."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from batches.models import Batch
from domains.models import Domain, Keyword
from speechportal.accounts.models import Membership
from tests.factories import make_task
from tests.portal.scene import World, finish_waiting
from tests.portal.test_pages import look

OpenContext = Callable[..., BrowserContext]
pytestmark = pytest.mark.django_db(transaction=True)


def test_signing_in_and_out(world: World, new_context: OpenContext) -> None:
    world.alice.set_password("a-long-password-1")
    world.alice.save()
    page = new_context().new_page()
    page.goto(world.url("/usage/"))
    page.get_by_label("E-mail address").fill(world.alice.email)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    page.get_by_label("Password").fill("a-long-password-1")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/usage/$"))
    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("사용량")
    page.locator(".rail-foot summary").click()
    page.get_by_role("button", name="로그아웃").click()
    expect(page).to_have_url(re.compile("/login/"))


def test_time_zones_are_searched(world: World, page: Page) -> None:
    page.goto(world.url("/profile/"))
    search = page.get_by_role("combobox", name="Time zone").and_(page.locator("input"))
    expect(search).to_have_value("The portal’s")
    for words, name, chosen in (("seoul", "Asia/Seoul", "Asia/Seoul"), ("portal", "The portal’s", "")):
        search.fill(words)
        expect(page.locator(".combobox [role=option]")).to_have_count(1)
        search.press("Enter")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("was saved")
        expect(search).to_have_value(name)
        world.alice.refresh_from_db()
        assert world.alice.time_zone == chosen
    search.fill("nowhere")
    expect(page.locator(".combobox")).to_contain_text("No time zone matches")
    search.press("Tab")
    expect(search).to_have_value("The portal’s")


def test_a_secret_that_is_shown_once_is_copied_whole(world: World, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(world.url("/account/tokens/"))
    page.get_by_label("Name").fill("reports")
    page.get_by_role("button", name="Create", exact=True).click()
    copy = page.locator(".secret [data-copy]")
    copy.click()
    expect(copy).to_have_attribute("data-copied", "yes")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(".secret code").inner_text()
    assert re.fullmatch(r"spk_\w{20,}", copied)


def test_home_says_what_needs_attention(world: World, page: Page) -> None:
    page.goto(world.url("/"))
    alerts = page.locator(".alerts")
    expect(alerts).to_contain_text("1 file failed within the last 7 days.")
    alerts.get_by_role("link", name="calls").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("notes.txt")


def test_a_domain_and_its_keywords(world: World, page: Page) -> None:
    page.goto(world.url("/domains/"))
    page.get_by_role("link", name="Create domain").click()
    page.get_by_label("Domain name").fill("강의")
    page.get_by_label("Domain code").fill("lectures")
    page.get_by_role("button", name="Edit as text").click()
    page.locator("#id_keywords").fill(f"훈민정음, 세종\n{'x' * 101}")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 2")
    page.locator("#id_keywords").fill("훈민정음, 세종")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".messages")).to_contain_text("강의")
    domain = Domain.unscoped.get(account=world.account, code="lectures")
    assert set(Keyword.unscoped.filter(domain=domain).values_list("text", flat=True)) == {"훈민정음", "세종"}
    page.get_by_role("link", name="강의", exact=True).click()
    file = {"name": "more.csv", "mimeType": "text/csv", "buffer": "집현전\n한글,세종\n".encode()}
    page.get_by_label("Add keywords from a file").set_input_files(file)  # type: ignore[arg-type] # a payload
    page.get_by_role("button", name="Save").click()
    assert Keyword.unscoped.filter(domain=domain).count() == 4
    page.get_by_role("link", name="강의", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Keywords as TXT").click()
    assert set(download.value.path().read_text().split()) == {"훈민정음", "세종", "집현전", "한글"}
    page.goto(world.url("/domains/"))
    page.get_by_role("link", name="Delete 강의").click()
    page.locator("dialog").get_by_role("button", name="Delete domain").click()
    expect(page.locator(".messages")).to_contain_text("was deleted")


def test_keywords_in_a_table(world: World, page: Page) -> None:
    page.goto(world.url(f"/domains/{world.domain.uid}/"))
    rows, status = page.locator(".keywords tbody tr:visible"), page.locator(".keywords [role=status]")
    expect(rows).to_have_count(2)
    expect(status).to_have_text("2 of 1,000 keywords")
    adding = page.get_by_placeholder("Add a keyword, or paste many")
    adding.fill("훈민정음")
    adding.press("Enter")  # Not the form's.
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.setData("text", "세종\\n집현전, 한빛");
          const init = { clipboardData: data, bubbles: true, cancelable: true };
          document.activeElement.dispatchEvent(new ClipboardEvent("paste", init));
        }"""
    )
    expect(rows).to_have_count(6)
    expect(rows.nth(5)).to_contain_text("Already in line 2.")
    expect(status).to_have_text("5 of 1,000 keywords")
    rows.nth(5).get_by_role("textbox").fill("x" * 101)
    expect(rows.nth(5)).to_contain_text("A keyword has at most 100 characters; this has 101.")
    wrong = look(page, "domain-keywords", "en")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 6")
    expect(rows.nth(5)).to_contain_text("A keyword has at most 100 characters; this has 101.")
    rows.nth(5).get_by_role("button", name="Remove").click()
    page.get_by_role("searchbox", name="Find a keyword").fill("집현")
    expect(rows).to_have_count(1)
    rows.first.get_by_role("textbox").fill("집현전 학사")
    adding.fill("장영실")  # Not added by hand: sent all the same.
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messages")).to_be_visible()
    texts = set(Keyword.unscoped.filter(domain=world.domain).values_list("text", flat=True))
    assert texts == {"배송 조회", "한빛", "훈민정음", "세종", "집현전 학사", "장영실"}
    assert wrong == []


def test_creating_a_batch(world: World, page: Page) -> None:
    page.goto(world.url("/batches/"))
    page.get_by_role("link", name="Create batch").click()
    page.get_by_role("textbox", name="Batch name", exact=True).fill("weekly")
    domain = page.get_by_role("combobox", name="Domain").and_(
        page.locator("input")
    )  # Not the list that it takes the place of.
    domain.fill("meet")
    expect(page.locator(".combobox [role=option]")).to_have_count(
        1
    )  # Neither the Free one nor the one with a batch.
    domain.press("Enter")
    expect(domain).to_have_value("회의록 / meetings")
    page.get_by_role("textbox", name="Input path", exact=True).fill("weekly/in")
    page.get_by_role("button", name="Browse").last.click()
    browser = page.locator("#browser")
    browser.get_by_label("New folder").fill("results")
    browser.get_by_role("button", name="Create folder").click()
    expect(browser).to_contain_text("/results/")
    browser.get_by_role("button", name="Use this folder").click()
    expect(page.get_by_role("textbox", name="Result path", exact=True)).to_have_value("results/")
    page.get_by_role("checkbox", name=re.compile("SRT")).check()
    (world.folder / "weekly" / "in").mkdir(parents=True)
    (world.folder / "weekly" / "in" / "first.mp3").write_bytes(b"0" * 2000)
    page.get_by_role("button", name="Check").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("Both paths work")
    expect(dialog).to_contain_text(
        "1 media file, 2.0 KB. They hold less than a minute of media. Recognising them costs 0.10 USD."
    )
    dialog.get_by_role("link", name="Close").click()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("weekly")
    batch = Batch.unscoped.get(account=world.account, name="weekly")
    assert (batch.input_path, batch.formats) == ("weekly/in/", ["json", "srt"])


def test_paths_that_overlap_are_refused_at_their_field(world: World, page: Page) -> None:
    page.goto(world.url("/batches/new/"))
    page.get_by_role("textbox", name="Batch name", exact=True).fill("twice")
    page.get_by_role("combobox", name="Domain").and_(page.locator("input")).fill("meet")
    page.get_by_role("combobox", name="Domain").and_(page.locator("input")).press("Enter")
    page.get_by_role("textbox", name="Input path", exact=True).fill("in/sub")
    page.get_by_role("textbox", name="Result path", exact=True).fill("elsewhere")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert").first).to_contain_text("overlaps the input path of the batch “calls”")
    expect(page.get_by_role("textbox", name="Input path", exact=True)).to_have_value(re.compile("in/sub"))


def test_pausing_duplicating_and_deleting(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    page.get_by_role("link", name="Pause").click()
    page.locator("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator(".now")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".now")).to_contain_text("Normal")
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_role("textbox", name="Input path", exact=True)).to_have_value("in/")
    expect(page.get_by_role("textbox", name="Batch name", exact=True)).to_have_value("")
    page.goto(world.url("/batches/"))
    page.get_by_role("checkbox", name="Select calls").check()
    page.get_by_role("button", name="Delete").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("1 unfinished task is cancelled and not charged.")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No batches yet")).to_be_visible()
    assert Batch.unscoped.get(pk=world.batch.pk).deleted_at is not None


def test_pausing_and_resuming_what_is_selected(world: World, page: Page) -> None:
    page.goto(world.url("/batches/"))
    for word, state in (("Pause", "Paused"), ("Resume", "Normal")):
        page.get_by_role("checkbox", name="Select calls").check()
        page.get_by_role("button", name=word).click()
        page.locator("dialog").get_by_role("button", name=word).click()
        expect(page.locator("tbody")).to_contain_text(state)
    page.goto(world.url(world.batch_path))
    page.get_by_role("link", name="Activity").last.click()
    expect(page.locator("tbody tr")).to_have_count(3)  # It was made, paused and resumed.
    expect(page.locator("tbody tr").first).to_contain_text(world.alice.email)


def test_a_webhook_is_tried_before_it_is_saved(world: World, page: Page) -> None:
    page.goto(world.url("/batches/new/"))
    page.get_by_text("Advanced settings").click()
    page.get_by_role("textbox", name="Batch name", exact=True).fill("typed already")
    page.get_by_role("textbox", name="Webhook URL", exact=True).fill("ftp://hooks.example.com/")
    page.get_by_role("button", name="Send a test").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("The test did not arrive")
    dialog.get_by_role("link", name="Close").click()
    expect(page.get_by_role("textbox", name="Batch name", exact=True)).to_have_value("typed already")


def test_deleting_without_javascript(world: World, new_context: OpenContext) -> None:
    page = new_context(world.alice, java_script_enabled=False).new_page()
    page.goto(world.url("/batches/"))
    page.get_by_role("checkbox", name="Select calls").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No batches yet")).to_be_visible()


def test_a_batch_moves_by_itself(world: World, page: Page) -> None:
    page.goto(world.url(world.batch_path))
    expect(page.locator(".now")).to_contain_text("2 of 3 files")
    finish_waiting(world)
    expect(page.locator(".now")).to_contain_text("3 of 3 files")


def test_a_task_moves_by_itself_to_its_end(world: World, page: Page) -> None:
    page.goto(world.url(f"{world.batch_path}tasks/{world.waiting.uid}/"))
    expect(page.locator("#live")).to_contain_text("Place 1 in the queue")
    finish_waiting(world)
    expect(page.locator("#live .state").first).to_have_text("Completed")
    expect(page.locator("[data-player]")).to_have_count(1)


def test_searching_sorting_and_resetting_the_list(world: World, page: Page) -> None:
    page.goto(world.url("/batches/"))
    page.get_by_label("Name, ID or domain").fill("CALL-CENTER")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Batch name / Batch ID").click()
    expect(page).to_have_url(re.compile("q=CALL-CENTER.*sort=name"))
    page.get_by_role("link", name="Reset").click()
    expect(page).to_have_url(re.compile(r"/batches/$"))


def test_tasks_are_sorted_and_selected_on_a_phone(world: World, new_context: OpenContext) -> None:
    make_task(world.batch, "a-name-without-any-space-" * 6 + ".wav")
    page = new_context(world.alice, viewport={"width": 390, "height": 844}).new_page()
    page.goto(world.url(f"{world.batch_path}?q=wav"))
    page.get_by_role("link", name="Size").click()
    page.wait_for_url("**sort=size**")
    assert "q=wav" in page.url
    expect(page.locator("th[aria-sort=ascending]")).to_be_visible()
    page.get_by_label("Select all").check()
    boxes, titles = page.locator("td.check input"), page.locator("td.lead a.title")
    assert boxes.count() == titles.count() == 3
    for at in range(3):
        box, title = boxes.nth(at).bounding_box(), titles.nth(at).bounding_box()
        assert box
        assert title
        assert title["x"] + title["width"] <= box["x"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_recognising_again_asks_because_it_costs(world: World, page: Page) -> None:
    page.goto(world.url(world.task_path))
    page.get_by_role("link", name="Recognise again").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("is charged 0.10 USD")
    dialog.get_by_role("button", name="Recognise again").click()
    expect(page.locator(".messages")).to_contain_text("recognised again, as a task of its own")
    expect(page.locator("aside")).to_contain_text("Recognised first as")


def test_a_failed_task_is_retried(world: World, page: Page) -> None:
    page.goto(world.url(f"{world.batch_path}tasks/{world.failed.uid}/"))
    expect(page.locator(".cause")).to_contain_text("not audio or video")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messages")).to_contain_text(re.compile("waits for its turn|just being moved"))


def test_a_search_opens_at_the_spoken_moment(world: World, page: Page) -> None:
    page.goto(world.url("/transcripts/"))
    page.get_by_label("Words that were said").fill("order number")
    page.get_by_role("search").get_by_role("button", name="Search").click()
    page.get_by_role("link", name="0:02").click()
    expect(page.locator("li.at-hit")).to_contain_text("May I have the order number")
    page.wait_for_function("() => document.querySelector('audio').currentTime >= 2")


def test_usage_is_downloaded_as_csv(world: World, page: Page) -> None:
    page.goto(world.url("/usage/"))
    expect(page.locator(".figures")).to_contain_text("0.10 USD")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert "monday.wav" in text


def test_inviting_a_member(world: World, page: Page, new_context: OpenContext) -> None:
    page.goto(world.url("/account/"))
    email = f"dora-{world.account.uid}@example.com"
    page.get_by_label("E-mail address").fill(email)
    page.locator("#id_role").select_option("manager")
    page.get_by_role("button", name="Invite").click()
    link = page.locator(".note .secret code").inner_text()
    other = new_context().new_page()
    other.goto(link)
    other.locator("#id_password1").fill("a-long-password-2")
    other.locator("#id_password2").fill("a-long-password-2")
    other.get_by_role("button", name="Join").click()
    expect(other.locator(".messages")).to_contain_text("한빛 콜센터")
    membership = Membership.objects.get(user__email=email)
    assert (membership.account, membership.role) == (world.account, "manager")
    page.goto(world.url("/account/"))
    page.get_by_role("link", name=f"Remove {email}").click()
    page.locator("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".messages")).to_contain_text("no member any more")
    other.goto(world.url("/"))
    expect(other.locator("main")).to_contain_text("not a member of any account")


@pytest.mark.parametrize("path", ["/batches/", "/domains/", "/account/"])
def test_a_viewer_is_offered_nothing_that_changes(path: str, world: World, new_context: OpenContext) -> None:
    page = new_context(world.bob).new_page()
    page.goto(world.url(path))
    for name in ("Create", "Delete", "Settings", "Pause", "Invite", "Remove"):
        expect(page.locator("main").get_by_role("button", name=name)).to_have_count(0)
        expect(page.locator("main").get_by_role("link", name=name)).to_have_count(0)
    page.goto(world.url("/batches/new/"))
    expect(page.get_by_role("heading")).to_have_text("You may not do this")
