"""Everything that was said can be found, at the moment it was said, and only by its own account."""

from __future__ import annotations

import pytest

from batches import corrections, search
from batches.models import SearchText, Task, Transcript
from batches.recognition.transcript import Segment
from batches.recognition.transcript import Transcript as Document
from speechportal.accounts.models import Account
from tests.factories import make_account, make_batch, make_task

pytestmark = pytest.mark.django_db


def recognised(account: Account, *lines: str) -> Task:
    task = make_task(make_batch(account), state="completed")
    segments = [Segment(1000 * at, 1000 * at + 900, text) for at, text in enumerate(lines)]
    document = Document("ko", 1.0, 1000 * len(lines), segments)
    Transcript.unscoped.create(task=task, stage="words", document=document.to_dict())
    return task


def test_parts_of_korean_words_are_found() -> None:
    account = make_account()
    task = recognised(account, "안녕하세요.", "지난주에 주문한 상품이 아직 도착하지 않았어요.")
    assert list(search.search(account, "상품")) == [task]
    found = search.lines_of(search.search(account, "주문 도착")[0], "주문 도착")
    assert [(hit.index, hit.start) for hit in found.hits] == [(1, 1000)]


@pytest.mark.parametrize("query", ["ORDER number", "order　ＮＵＭＢＥＲ", "number  order"])
def test_case_width_and_order_make_no_difference(query: str) -> None:
    account = make_account()
    task = recognised(account, "Your Order number is 5.")
    assert list(search.search(account, query)) == [task]


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
    assert [hit.index for hit in found.hits] == [1]
    found = search.lines_of(search.search(account, "number")[0], "number")
    assert (len(found.hits), found.more) == (5, 5)
