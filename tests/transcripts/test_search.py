"""Search of transcripts: finds words with their time, within one account."""

from __future__ import annotations

import unicodedata

import pytest
from django.db import connection
from hypothesis import assume, example, given
from hypothesis import strategies as st

from batches.models import SearchText, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.transcripts import corrections, search
from batches.transcripts.search_query import NO_LAST, SearchQuery, fold, marked, spell
from speechportal.accounts.models import Account
from tests.clients import Client
from tests.factories import make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


def recognised(account: Account, *lines: str) -> Task:
    task = make_task(make_batch(account), state="completed")
    segments = [Segment(1000 * at, 1000 * at + 900, text) for at, text in enumerate(lines)]
    document = Transcript("ko", 1.0, 1000 * len(lines), segments)
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    return task


def test_parts_of_korean_words_are_found() -> None:
    account = make_account()
    task = recognised(account, "안녕하세요.", "지난주에 주문한 상품이 아직 도착하지 않았어요.")
    assert list(search.search(account, "상품")) == [task]
    found = search.lines_of(search.search(account, "주문 도착")[0], "주문 도착")
    assert [(hit.uid, hit.start) for hit in found.hits] == [("1", 1000)]


@pytest.mark.parametrize("query", ["ORDER number", "order　ＮＵＭＢＥＲ", "number  order"])
def test_case_width_and_order_make_no_difference(query: str) -> None:
    account = make_account()
    task = recognised(account, "Your Order number is 5.")
    assert list(search.search(account, query)) == [task]


@pytest.mark.parametrize("query", ["訂單號碼", "订单号码"])
def test_chinese_is_found_in_either_script(query: str) -> None:
    account = make_account()
    both = [recognised(account, "請說您的訂單號碼。"), recognised(account, "请说您的订单号码。")]
    assert set(search.search(account, query)) == set(both)
    assert marked("請說您的訂單號碼。", query) == [
        ("請說您的", False),
        ("訂單號碼", True),
        ("。", False),
    ]


@given(st.text(), st.text(min_size=1, max_size=4))
@example("각", "가")
@example("가나", "나")
def test_what_is_spelt_is_found_exactly_where_it_stands(text: str, word: str) -> None:
    text, word = fold(text), fold(word)
    assume(word)
    # But a lone letter is part of syllables, as somebody means who has typed only that.
    assume(not any(0x1100 <= ord(letter) <= 0x11FF for letter in text + word))
    assert (spell(word) in spell(text)) == (word in text)


@given(st.text(alphabet=st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_a_syllable_is_three_letters_and_one_spelling(text: str) -> None:
    spelt = spell(text)
    assert len(spelt) == 3 * len(text)
    assert unicodedata.normalize("NFC", spelt.replace(NO_LAST, "")) == text


def test_a_syllable_is_not_found_inside_another() -> None:
    account = make_account()
    recognised(account, "각각 다른 상자")
    assert list(search.search(account, "가")) == []
    assert list(search.search(account, "사")) == []


def test_the_words_side_by_side_come_first_then_the_most_then_the_newest() -> None:
    account = make_account()
    together = recognised(account, "my order number please")
    often = recognised(account, "number of the order", "order", "order", "number")
    old, new = (recognised(account, "number and order") for _ in range(2))
    assert list(search.search(account, "order number")) == [together, often, new, old]
    assert search.search(account, "order").first() == often


def test_only_the_newest_are_found_and_ranked_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_FOUND", 2)
    owner = make_user()
    account = make_account(owner=owner)
    recognised(account, "order order order")
    middle = recognised(account, "order order")
    newest = recognised(account, "order")
    assert list(search.search(account, "order")) == [middle, newest]
    client = Client()
    client.force_login(owner)
    assert "These are the newest 2." in client.get("/transcripts/?q=order").content.decode()
    monkeypatch.setattr(search, "MOST_FOUND", 4)
    assert "These are the newest" not in client.get("/transcripts/?q=order").content.decode()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no trigrams")
@pytest.mark.parametrize("query", ["네", "네 고객님", '"네 고객님"', "네 -환불", "the"])
def test_frequent_words_are_found_alike_without_the_index(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(batch_limit=40)
    for number in range(30):
        recognised(account, f"네 고객님 {number}", "the end" if number % 2 else "환불 the")
    found = {}
    for frequent in (1, 1000):
        monkeypatch.setattr(search, "FREQUENT", frequent)
        tasks = search.matching(account, query)
        assert ("speechportal_search_text" in str(tasks.query)) == (frequent == 1000)
        found[frequent] = list(tasks.order_by("-pk"))
    assert found[1] == found[1000] != []


def test_rows_of_an_earlier_release_are_found_and_completed() -> None:
    account = make_account()
    task = recognised(account, "an order", "and another")
    SearchText.unscoped.filter(task=task).update(lines=None, speakers=None, flags="")
    before = search.lines_of(search.search(account, "another")[0], "another")
    assert (search.index_older(), search.index_older()) == (1, 0)
    after = search.lines_of(search.search(account, "another")[0], "another")
    assert before.hits == after.hits == [search.Hit("1", 1000, "", "and another", "another")]
    assert SearchText.unscoped.get().lines == [["0", 0, "", "an order"], ["1", 1000, "", "and another"]]
    SearchText.unscoped.filter(task=task).update(batch=None)  # written by the release before, while it ended
    assert (search.index_older(), search.index_older()) == (1, 0)
    assert SearchText.unscoped.get().batch_id == task.batch_id


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no trigrams")
@pytest.mark.parametrize("query", ["상품", "배송 조회", "order"])
def test_postgresql_finds_words_of_two_syllables_by_the_index(query: str) -> None:
    account = make_account()
    batch = make_batch(account)
    for number in range(40):
        task = make_task(batch)
        SearchText.unscoped.create(task=task, account=account, text=spell(f"다른 말 {number}"))
    recognised(account, "지난주에 주문한 상품의 배송 조회를 하고 싶어요. my order")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE batches_searchtext")
    texts = search.containing(SearchText.unscoped.all(), SearchQuery.parse(query))
    assert "batches_searchtext_trigrams" in texts.explain()
    assert search.search(account, query).count() == 1


def test_a_nul_finds_nothing_and_breaks_nothing() -> None:
    account = make_account()
    task = recognised(account, "an order")
    assert list(search.search(account, "\0")) == []
    assert list(search.search(account, "an\0order")) == [task]


def test_all_words_must_be_there() -> None:
    account = make_account()
    recognised(account, "order five")
    assert list(search.search(account, "order six")) == []
    assert list(search.search(account, "   ")) == []


@pytest.mark.parametrize("query", ["100%", "a_b", "it's", "\\"])
def test_signs_mean_themselves(query: str) -> None:
    account = make_account()
    hit = recognised(account, f"here is {query} to find")
    recognised(account, "100 aXb its")
    assert list(search.search(account, query)) == [hit]


def test_corrected_words_are_found_and_what_they_replaced_is_not() -> None:
    account = make_account()
    task = recognised(account, "hello whirled")
    corrections.correct_text(task=task, index=0, text="hello world", by=None)
    assert list(search.search(account, "world")) == [task]
    assert list(search.search(account, "whirled")) == []


def test_another_account_finds_nothing() -> None:
    mine, other = make_account(), make_account()
    recognised(mine, "a secret word")
    assert list(search.search(other, "secret")) == []
    assert SearchText.objects.for_account(other).count() == 0


def test_the_lines_with_most_of_the_words_are_shown() -> None:
    account = make_account()
    recognised(account, "order", "the order number", *["number"] * 9)
    found = search.lines_of(search.search(account, "order number")[0], "order number")
    assert [hit.uid for hit in found.hits] == ["1"]
    found = search.lines_of(search.search(account, "number")[0], "number")
    assert (len(found.hits), found.more) == (5, 5)
