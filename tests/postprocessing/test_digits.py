"""Numerals written as digits: what is converted, what is not, and the effects on words and times."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import formats
from batches.formats import Context
from batches.postprocessing import digits
from batches.postprocessing.digits.korean import value_of
from batches.postprocessing.digits.korean import written as written_in_korean
from batches.postprocessing.transcript import MASKED, Rules, process
from domains.replacements import Replacement
from tests.postprocessing.test_transcripts import said, texts

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "numbers.tsv").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
ENGLISH = [
    "one",
    "two",
    "twenty",
    "hundred",
    "million",
    "point",
    "and",
    "a",
    "oh",
    "-",
    ",",
    "the",
    "first",
    "am",
]
DIGITS = Rules(digits=True)


def written(text: str, language: str) -> str:
    for each in reversed(digits.find(text, language)):
        text = text[: each.start] + each.written + text[each.end :]
    return text


@pytest.mark.parametrize(("language", "spoken", "expected"), ROWS, ids=[row[1] for row in ROWS])
def test_each_row_of_the_table(language: str, spoken: str, expected: str) -> None:
    assert written(spoken, language) == (spoken if expected == "=" else expected)


@given(st.text(alphabet="일이삼사오육칠팔구십백천만억조영공한두세네열스무점분의시개원년월 ,.", max_size=40))
def test_any_korean_text_is_read_without_an_error(text: str) -> None:
    check_offsets(text, "ko")


@given(st.lists(st.sampled_from(ENGLISH)))
def test_any_english_text_is_read_without_an_error(words: list[str]) -> None:
    check_offsets(" ".join(words), "en")


def check_offsets(text: str, language: str) -> None:
    found = digits.find(text, language)
    edges = [edge for each in found for edge in (each.start, each.end)]
    assert edges == sorted(edges)
    assert all(0 <= each.start < each.end <= len(text) for each in found)


@given(st.integers(1, 10**16 - 1))
def test_every_korean_numeral_has_its_value(value: int) -> None:
    assert value_of(spelt(value)) == value


def spelt(value: int) -> str:
    """A Sino-Korean numeral, with 일 before no place but 만, 억 and 조."""
    said, names = "", ["", "만", "억", "조"]
    for power in range(3, -1, -1):
        group, value = divmod(value, 10 ** (4 * power))
        four = ""
        for place, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
            count, group = divmod(group, place)
            if count:
                four += ("" if count == 1 and name else "영일이삼사오육칠팔구"[count]) + name
        said += four + names[power] if four else ""
    return said


def test_large_korean_numbers_keep_their_units() -> None:
    assert [written_in_korean(value) for value in (999_999, 1_000_000, 1_230_500, 120_005_000)] == [
        "999,999",
        "100만",
        "1,230,500",
        "1억 2,000만 5,000",
    ]


def test_long_texts_take_linear_time() -> None:
    text = "이만 오천 원 두 시 삼 점 일사 공일공 one hundred and five point six " * 400
    began = time.process_time()
    assert len(digits.find(text, "ko")) > 1000
    assert time.process_time() - began < 5


def test_digits_carry_the_times_of_the_words_they_replace() -> None:
    (segment,) = process(said("가격은 이만 오천 원입니다"), DIGITS).segments
    assert segment.text.strip() == "가격은 25,000원입니다"
    assert segment.machine_text == "가격은 이만 오천 원입니다"
    assert [(word.start, word.end, word.text) for word in segment.words] == [
        (0, 500, " 가격은"),
        (500, 2000, " 25,000원입니다"),
    ]
    (change,) = segment.changes
    assert (change.kind, change.heard, change.start, change.end) == ("number", "이만 오천 원", 500, 2000)


def test_numbers_stay_as_they_are_unless_asked_for() -> None:
    transcript = said("가격은 이만 오천 원입니다")
    assert process(transcript, Rules()) is transcript


def test_json_keeps_the_spoken_words_beside_the_digits() -> None:
    document = json.loads(formats.render("json", process(said("두 시 삼십 분"), DIGITS), Context()))
    (segment,) = document["segments"]
    assert (segment["text"], segment["textMachine"]) == ("2시 30분", "두 시 삼십 분")
    assert [(each["kind"], each["heard"], each["written"]) for each in segment["replacements"]] == [
        ("number", "두 시", "2시"),
        ("number", "삼십 분", "30분"),
    ]


def test_subtitles_show_digits() -> None:
    subtitles = formats.render("srt", process(said("twenty five people", language="en"), DIGITS), Context())
    assert "25 people" in subtitles.decode()


def test_what_is_redacted_shows_in_no_digit_and_no_word() -> None:
    found = process(
        said("전화는 공일공 일이삼사 오육칠팔이고 값은 이만 원"),
        Rules(digits=True, redact={"phone": "mask"}),
    )
    assert texts(found) == [f"전화는 {MASKED}이고 값은 20,000원"]
    shown = str(found.to_dict())
    assert not any(secret in shown for secret in ("1234", "5678", "일이삼사", "오육칠팔"))


def test_a_number_over_two_segments_is_redacted_as_a_whole() -> None:
    found = process(
        said("전화는 공일공", "일이삼사 오육칠팔이에요"), Rules(digits=True, redact={"phone": "mask"})
    )
    assert texts(found) == [f"전화는 {MASKED}", f"{MASKED}이에요"]


def test_replacements_see_the_digits() -> None:
    rules = Rules(digits=True, replace=[Replacement("25,000원", "이만오천원")])
    (segment,) = process(said("값은 이만 오천 원"), rules).segments
    assert segment.text.strip() == "값은 이만오천원"
    (change,) = segment.changes
    assert (change.kind, change.heard) == ("replacement", "이만 오천 원")


def test_other_languages_stay_as_they_are() -> None:
    assert texts(process(said("six ou dix", language="fr"), DIGITS)) == ["six ou dix"]
