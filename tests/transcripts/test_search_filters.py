"""Search of transcripts: phrases, exclusions, file names, filters, and the number of lines found."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.services import batches as batch_services
from batches.transcripts import corrections, search
from batches.transcripts.search_filter import SearchFilter
from batches.transcripts.search_query import SearchQuery, marked
from speechportal.accounts.models import Account, User
from tests.clients import Client
from tests.factories import make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


def said(batch: Batch, *lines: str, name: str = "", language: str = "en", **fields: Any) -> Task:
    """Completed task with these lines, spoken by the speakers "1" and "2" in turn."""
    task = make_task(batch, name=name, state="completed", **fields)
    segments = [
        Segment(1000 * at, 1000 * at + 900, text, speaker="12"[at % 2]) for at, text in enumerate(lines)
    ]
    document = Transcript(language, 1.0, 1000 * len(lines), segments)
    StoredTranscript.unscoped.create(task=task, stage="speakers", document=document.to_dict())
    return task


@pytest.fixture
def owner() -> User:
    return make_user()


@pytest.fixture
def account(owner: User) -> Account:
    return make_account(owner=owner)


@pytest.mark.parametrize(
    ("query", "wanted", "unwanted"),
    [
        ("refund order", ("refund", "order"), ()),
        ('"refund order" now', ("refund order", "now"), ()),
        ("“Refund  Order” -now", ("refund order",), ("now",)),
        ('order -"right now"', ("order",), ("right now",)),
        ('an "unclosed phrase', ("an", "unclosed", "phrase"), ()),
        ('- -- "" " "', ("-", "--"), ()),
        ("twenty-one", ("twenty-one",), ()),
        ("-환불", (), ("환불",)),
    ],
)
def test_a_query_is_read_as_words_phrases_and_exclusions(
    query: str, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    assert SearchQuery.parse(query) == SearchQuery(wanted, unwanted)


def test_a_phrase_is_found_only_where_its_words_stand_side_by_side(account: Account) -> None:
    batch = make_batch(account)
    together = said(batch, "I want a refund now.")
    apart = said(batch, "Now, about the refund.")
    assert list(search.search(account, '"refund now"')) == [together]
    assert set(search.search(account, "refund now")) == {together, apart}
    assert marked("A refund now", '"refund now"') == [("A ", False), ("refund now", True)]


def test_a_phrase_does_not_reach_into_the_next_line(account: Account) -> None:
    said(make_batch(account), "a refund", "now please")
    assert search.search(account, "refund now").count() == 1
    assert search.search(account, '"refund now"').count() == 0


def test_excluded_words_leave_files_out(account: Account) -> None:
    batch = make_batch(account)
    kept = said(batch, "the order arrived")
    said(batch, "the order is cancelled")
    assert search.search(account, "order").count() == 2
    assert list(search.search(account, "order -cancel")) == [kept]
    assert list(search.search(account, "-cancel")) == [kept]


def test_file_names_are_found_too(account: Account) -> None:
    batch = make_batch(account)
    task = said(batch, "good morning", name="Monday/김민수 상담.wav")
    said(batch, "good evening", name="tuesday.wav")
    [found] = [search.lines_of(each, "상담") for each in search.search(account, "상담")]
    assert (found.task, found.hits, found.count, found.is_named) == (task, [], 0, True)
    [found] = [search.lines_of(each, "monday good") for each in search.search(account, "monday good")]
    assert (found.count, found.is_named) == (1, True)


def test_all_lines_that_have_the_words_are_counted(account: Account) -> None:
    said(make_batch(account), *["the order"] * 7, "nothing")
    found = search.lines_of(search.search(account, "order")[0], "order")
    assert (found.count, len(found.hits), found.more) == (7, 5, 2)


def ids(account: Account, query: str, **conditions: Any) -> list[str]:
    return [task.name for task in search.search(account, query, SearchFilter(**conditions)).order_by("pk")]


def test_filters_by_batch_domain_and_language(account: Account) -> None:
    calls, talks = make_batch(account), make_batch(account)
    said(calls, "an order", name="call.wav")
    said(talks, "an order", name="talk.wav", language="ko")
    assert ids(account, "order") == ["call.wav", "talk.wav"]
    assert ids(account, "order", batch=calls.uid) == ["call.wav"]
    assert ids(account, "order", batch="bat_nothing") == []
    assert talks.domain is not None
    assert ids(account, "order", domain=talks.domain.uid) == ["talk.wav"]
    assert ids(account, "order", language="ko") == ["talk.wav"]
    assert ids(account, "", language="ko") == ["talk.wav"]
    assert ids(account, "") == []
    assert search.languages_of(account) == ["en", "ko"]


def test_transcripts_of_a_deleted_batch_are_found_by_their_domain(account: Account) -> None:
    batch = make_batch(account)
    domain = batch.domain
    assert domain is not None
    said(batch, "an order", name="old.wav")
    batch_services.delete_batch(batch=batch)
    assert ids(account, "order", domain=domain.uid) == ["old.wav"]


def test_filters_by_the_days_on_which_tasks_ended(account: Account) -> None:
    batch = make_batch(account)
    for day in (1, 2, 3):
        said(batch, "an order", name=f"{day}.wav", finished_at=datetime(2026, 3, day, 12, tzinfo=UTC))
    assert ids(account, "order", since=date(2026, 3, 2)) == ["2.wav", "3.wav"]
    assert ids(account, "order", until=date(2026, 3, 2)) == ["1.wav", "2.wav"]
    assert ids(account, "order", since=date(2026, 3, 2), until=date(2026, 3, 2)) == ["2.wav"]


def test_a_speaker_is_found_by_name_and_only_what_they_said_is_shown(account: Account) -> None:
    batch = make_batch(account)
    task = said(batch, "my order please", "which order", name="named.wav")
    said(batch, "another order", name="nameless.wav")
    corrections.name_speakers(task=task, names={"2": "김 민수"}, by=None)
    chosen = SearchFilter(speaker="민수")
    assert ids(account, "order", speaker="민수") == ["named.wav"]
    assert ids(account, "order", speaker="영희") == []
    found = search.lines_of(search.search(account, "order", chosen)[0], "order", chosen)
    assert [hit.text for hit in found.hits] == ["which order"]
    assert ids(account, "which order", speaker="김 민수") == ["named.wav"]
    assert ids(account, "please", speaker="민수") == []  # said by the other one
    assert ids(account, "", speaker="민수") == ["named.wav"]
    assert ids(account, "order", speaker="which") == []  # a word, not a name
    assert ids(account, "order", speaker=".*") == []
    corrections.name_speakers(task=task, names={"2": ""}, by=None)
    assert ids(account, "order", speaker="민수") == []


def test_the_page_filters_marks_and_counts(account: Account, owner: User) -> None:
    batch = make_batch(account, name="calls")
    task = said(batch, "one order", "two orders", "nothing", name="orders.wav")
    said(make_batch(account), "an order", name="elsewhere.wav")
    client = Client()
    client.force_login(owner)
    page = client.get("/transcripts/", {"q": "order", "batch": batch.uid, "since": "2020-01-01"})
    text = page.content.decode()
    assert "lines found: 2" in text
    assert f'/batches/{batch.uid}/tasks/{task.uid}/"' in text
    assert "<mark>order</mark>s.wav" in text
    assert "elsewhere.wav" not in text
    assert f'<option value="{batch.uid}" selected>' in text
    nothing = client.get("/transcripts/", {"q": "order -order"}).content.decode()
    assert "Nobody said" in nothing
    assert "orders.wav" not in nothing
