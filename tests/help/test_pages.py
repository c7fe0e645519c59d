"""The help: every page in both languages, every link, every setting and every failure reason."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.urls import Resolver404, resolve, reverse

from batches.formats import FORMATS
from batches.status.failures import CATALOGUE
from batches.web.forms import BatchForm
from batches.webhooks.events import EVENTS
from domains.forms import DomainForm
from speechportal.help import pages, rendering, search
from speechportal.help.pages import Page
from speechportal.help.templatetags.help import failure_help, help_link
from speechportal.settings import env
from speechportal.storage import kinds
from speechportal.storage.forms import ConnectionForm
from tests.clients import Client
from tests.factories import make_account, make_user
from tests.help import markdown

pytestmark = pytest.mark.django_db
ALL = markdown.help_pages()


def document(slug: str, language: str = "en") -> rendering.Document:
    return rendering.render(pages.page(slug, language))


def get(path: str, language: str = "en", client: Client | None = None) -> Any:
    return (client or Client()).get(path, headers={"accept-language": language})


def address(slug: str) -> str:
    return reverse("help:index") if slug == pages.INDEX else reverse("help:page", args=[slug])


@pytest.mark.parametrize(("language", "slug"), ALL)
def test_a_visitor_reads_every_page(language: str, slug: str) -> None:
    answer = get(address(slug), language)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert f'lang="{language}"' in page
    assert f"<h1>{html.escape(document(slug, language).title)}</h1>" in page
    assert "{{" not in page
    assert 'style="' not in page


def test_a_member_reads_it_inside_the_portal() -> None:
    user = make_user("alice@example.com")
    make_account("Alice’s", user)
    client = Client()
    client.force_login(user)
    page = get(address("batches"), client=client).content.decode()
    assert reverse("batches:list") in page
    assert re.search(r'href="/help/" aria-current="page"', page)


def test_a_page_that_does_not_exist() -> None:
    assert get("/help/nowhere/").status_code == 404
    assert get("/help/format-docm/").status_code == 404
    assert get("/help/fr/batches.md").status_code == 404


@pytest.mark.parametrize("slug", [pages.INDEX, *pages.slugs()])
def test_both_languages_have_the_same_headings_and_anchors(slug: str) -> None:
    english, korean = document(slug), document(slug, "ko")
    assert len(english.sections) > 1 or slug == pages.INDEX
    assert [(each.level, each.anchor) for each in english.sections] == [
        (each.level, each.anchor) for each in korean.sections
    ]
    # Paths with words in them are written in the reader's language; all other rows have the same anchor.
    assert {each for each in english.anchors ^ korean.anchors if "_" in each} <= set()
    assert re.search("[가-힣]", korean.html)


def test_both_languages_have_the_same_files() -> None:
    names = [
        {path.relative_to(pages.FOLDER / language) for path in (pages.FOLDER / language).rglob("*.md")}
        for language in pages.LANGUAGES
    ]
    assert len(names[0]) > 15
    assert names[0] == names[1]
    assert {path.stem for path in names[0] if path.parent == Path("formats")} <= set(FORMATS)


@pytest.mark.parametrize(("language", "slug"), ALL)
def test_every_link_leads_somewhere(language: str, slug: str) -> None:
    targets = re.findall(r'href="([^"]+)"', document(slug, language).html)
    assert targets
    assert [problem for target in targets if (problem := wrong(target, slug, language))] == []


def wrong(target: str, slug: str, language: str) -> str:
    """Error in the target of a page's link; empty if it is correct."""
    if target.startswith("https://"):
        return ""
    path, _hash, anchor = html.unescape(target).partition("#")
    if path:
        try:
            match = resolve(path)
        except Resolver404:
            return f"{target}: no such address"
        if match.app_name != "help":
            return ""
        slug = match.kwargs.get("slug", pages.INDEX)
        if not pages.exists(slug):
            return f"{target}: no such page"
    return "" if not anchor or anchor in document(slug, language).anchors else f"{target}: no such anchor"


@pytest.mark.parametrize("path", markdown.other_documents(), ids=lambda path: path.name)
def test_every_link_of_the_other_documents_leads_somewhere(path: Path) -> None:
    broken = []
    for target in markdown.links(path.read_text(encoding="utf-8")):
        file, _hash, anchor = target.partition("#")
        if file.startswith("https://"):
            continue
        there = (path.parent / file).resolve() if file else path
        slug = there.stem if there.parent == pages.FOLDER / "en" else ""
        known = (
            document(slug).anchors if slug else (markdown.anchors(there) if there.suffix == ".md" else set())
        )
        if not there.exists() or (anchor and anchor not in known):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", markdown.help_sources(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_links_work_on_a_code_host_too(path: Path) -> None:
    targets = [target for target in markdown.links(path.read_text(encoding="utf-8")) if ".md" in target]
    missing = [target for target in targets if not (path.parent / target.partition("#")[0]).is_file()]
    assert [target for target in missing if not target.startswith("format-")] == []


def test_every_setting_is_documented_in_both_languages() -> None:
    undescribed = [name for name, setting in env.settings.items() if not setting.description]
    assert undescribed == [], "give env.…(description=_(…)) one sentence"
    assert len(env.settings) > 50
    for language in pages.LANGUAGES:
        anchors = document("settings", language).anchors
        assert {setting.variable for setting in env.settings.values()} <= anchors


def test_every_setting_that_is_named_exists() -> None:
    sources = [*markdown.help_sources(), *markdown.other_documents()]
    client_side = {"URL", "TOKEN"}  # Of the command-line client.
    for path in sources:
        named = set(re.findall(r"SPEECHPORTAL_([A-Z][A-Z_]*[A-Z])", path.read_text(encoding="utf-8")))
        known = set(env.settings) | client_side
        assert {name for name in named if not {name, name.removesuffix("_FILE")} & known} == set(), path


def test_every_failure_reason_has_its_anchor_and_its_sentence() -> None:
    codes = set(CATALOGUE)
    assert len(codes) > 25
    for language in pages.LANGUAGES:
        page = document("troubleshooting", language)
        assert codes <= page.anchors
        assert "%(" not in page.html
    assert "#no_audio" in failure_help("no_audio")


def test_every_event_is_documented() -> None:
    for language in pages.LANGUAGES:
        assert set(EVENTS) <= document("webhooks", language).anchors


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_shown_by_itself(name: str) -> None:
    page = document(f"format-{name}")
    text = html.unescape(re.sub("<[^>]+>", "", page.html))
    assert ("Good morning." in text) is not FORMATS[name].binary
    assert FORMATS[name].media_type in page.html


@pytest.mark.parametrize("form", [BatchForm, ConnectionForm, DomainForm])
def test_the_signs_beside_fields_lead_to_the_right_place(
    form: type[BatchForm | ConnectionForm | DomainForm],
) -> None:
    topics = form.help_topics
    assert topics
    # The connection form's other fields are made from the parameters of the storage kinds.
    assert set(topics) <= {*form.base_fields, *kinds.PARAMETERS}
    for topic in topics.values():
        target = re.search(r'href="([^"]+)"', help_link(topic))
        assert target
        assert wrong(target[1], "", "en") == ""


def test_html_in_a_page_is_escaped() -> None:
    text = "# T\n\n<script>alert(1)</script> <b onclick='x'>bold</b> [x](javascript:alert(1))\n"
    found = rendering.render(Page("x", "en", text)).html
    assert "<script" not in found
    assert "<b " not in found
    assert "href" not in found


def test_search_finds_words_in_headings_first() -> None:
    found = search.search("verify message", "en")
    assert (found[0].slug, found[0].anchor) == ("webhooks", "verifying-a-message")
    assert "<mark>" in found[0].title + found[0].snippet
    assert search.search("verify xyzzy", "en") == []
    assert search.search("  ", "en") == []
    assert search.search("복구 코드", "ko")[0].slug == "accounts"


def test_the_search_page() -> None:
    page = get("/help/search/?q=rotate").content.decode()
    assert "<mark>rotate</mark>" in page.lower()
    assert 'href="/help/backups/#rotating-encryption-keys"' in page
    assert "&lt;script&gt;" in get("/help/search/?q=<script>").content.decode()
    other = get("/help/search/?q=복구").content.decode()
    assert "in the Korean help" in other
    assert 'class="help-results" lang="ko"' in other


def test_llms_txt_names_every_page_and_its_markdown() -> None:
    text = get("/help/llms.txt", "ko").content.decode()
    assert text.startswith("# Speech Portal\n\n> Speech Portal recognises")
    addresses = re.findall(r"\((/help/en/[\w-]+\.md)\)", text)
    assert len(addresses) == len(pages.slugs())
    for each in addresses:
        answer = get(each)
        assert answer.status_code == 200
        assert answer.content.decode().startswith("# ")
    assert "`no_audio`" in get("/help/en/troubleshooting.md").content.decode()
