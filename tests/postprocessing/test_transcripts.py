"""Redaction and replacements of a transcript: texts, words, times and marks."""

from __future__ import annotations

import time

import pytest

from batches.postprocessing.detection import KINDS
from batches.postprocessing.transcript import ACTIONS, MASKED, Rules, process
from batches.recognition.transcript import Segment, Transcript, Word
from domains.redaction import ACTIONS as OFFERED_ACTIONS
from domains.redaction import KINDS as OFFERED_KINDS
from domains.replacements import Replacement
from tests.postprocessing import planted

ALL = dict.fromkeys(KINDS, "mask")


def said(*lines: str, language: str = "ko") -> Transcript:
    segments, at = [], 0
    for line in lines:
        start, words = at, []
        for word in line.split():
            words.append(Word(at, at + 500, f" {word}"))
            at += 500
        segments.append(Segment(start, at, f" {line}", words))
    return Transcript(language, 1.0, at, segments)


def texts(transcript: Transcript) -> list[str]:
    return [segment.text.strip() for segment in transcript.segments]


def test_what_domains_offer_is_what_is_detected() -> None:
    assert tuple(OFFERED_KINDS) == KINDS
    assert tuple(OFFERED_ACTIONS) == ACTIONS


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("language", ["ko", "en"])
def test_planted_numbers_are_in_no_part_of_a_transcript(language: str, action: str) -> None:
    found = process(planted.transcript(language), Rules(redact=dict.fromkeys(KINDS, action)))
    assert planted.leaks(str(planted.transcript(language).to_dict()), language) == planted.SECRETS[language]
    assert planted.leaks(str(found.to_dict()), language) == []
    assert planted.leaks(" ".join(w.text for s in found.segments for w in s.words), language) == []
    assert planted.KEPT in found.text


def test_a_number_over_three_segments_is_masked_and_what_is_said_between_stays() -> None:
    found = process(said("전화는 공일공", "네", "일이삼사 오육칠팔이에요"), Rules(redact={"phone": "mask"}))
    assert texts(found) == [f"전화는 {MASKED}", "네", f"{MASKED}이에요"]
    assert [(word.start, word.end, word.text) for word in found.segments[2].words] == [
        (1500, 2500, f" {MASKED}이에요")
    ]
    (change,) = found.segments[2].changes
    assert (change.kind, change.offset, change.length, change.start, change.end) == (
        "phone",
        0,
        4,
        1500,
        2500,
    )


@pytest.mark.parametrize(
    ("line", "text", "times", "words"),
    [
        ("Jessica called us", "called us", (0, 500), [(500, 1000, "called"), (1000, 1500, " us")]),
        (
            "We met Jessica there",
            "We met there",
            (1000, 1500),
            [(0, 500, " We"), (500, 1000, " met"), (1500, 2000, " there")],
        ),
        ("This is Jessica", "This is", (1000, 1500), [(0, 500, " This"), (500, 1000, " is")]),
    ],
)
def test_what_is_removed_takes_a_space_and_no_time_of_the_words_beside_it(
    line: str, text: str, times: tuple[int, int], words: list[tuple[int, int, str]]
) -> None:
    found = process(said(line, language="en"), Rules(redact={"name": "remove"}))
    assert texts(found) == [text]
    [change] = found.segments[0].changes
    assert (change.start, change.end) == times
    own = [(word.start, word.end, word.text) for word in found.segments[0].words]
    assert [(start, end, each.strip()) for start, end, each in own] == [
        (start, end, each.strip()) for start, end, each in words
    ]
    assert "".join(word for _start, _end, word in own).strip() == text


def test_a_name_over_two_segments_is_labelled_with_the_times_of_its_words() -> None:
    lines = ("My name is Olivia", "Hartmann and I live at 22", "Baker Street now", "Is that Olivia?")
    found = process(said(*lines, language="en"), Rules(redact=dict.fromkeys(("name", "address"), "label")))
    assert texts(found) == [
        "My name is [NAME]",
        "[NAME] and I live at [ADDRESS]",
        "[ADDRESS] now",
        "Is that [NAME]?",
    ]
    changes = [(each.kind, each.start, each.end) for segment in found.segments for each in segment.changes]
    assert changes == [
        ("name", 1500, 2000),
        ("name", 2000, 2500),
        ("address", 4500, 5000),
        ("address", 5000, 6000),
        ("name", 7500, 8000),
    ]


def test_only_the_kinds_that_are_chosen_are_redacted() -> None:
    found = process(said("전화는 010-1234-5678 카드는 4012888888881881"), Rules(redact={"card": "label"}))
    assert texts(found) == ["전화는 010-1234-5678 카드는 [CARD]"]


def test_a_replacement_is_marked_with_what_was_heard_and_keeps_the_times() -> None:
    rules = Rules(replace=[Replacement("네이버 클로버", "네이버 클로바")])
    found = process(said("오늘 네이버 클로버는 됩니다"), rules)
    segment = found.segments[0]
    assert segment.text == "오늘 네이버 클로바는 됩니다"
    assert segment.machine_text == "오늘 네이버 클로버는 됩니다"
    (change,) = segment.changes
    assert (change.kind, change.heard, segment.text[change.offset : change.offset + change.length]) == (
        "replacement",
        "네이버 클로버",
        "네이버 클로바",
    )
    assert [(word.start, word.text) for word in segment.words] == [
        (0, " 오늘"),
        (500, " 네이버"),
        (1000, " 클로바는"),
        (1500, " 됩니다"),
    ]


def test_rules_are_applied_in_order_each_to_the_outcome_of_those_before() -> None:
    first, second = Replacement("a", "b"), Replacement("b", "c")
    assert texts(process(said("a b", language="en"), Rules(replace=[first, second]))) == ["c c"]
    assert texts(process(said("a b", language="en"), Rules(replace=[second, first]))) == ["b c"]


def test_a_word_is_whole_in_english_and_takes_particles_in_korean() -> None:
    rules = Rules(replace=[Replacement("cat", "dog"), Replacement("고양이", "강아지")])
    assert texts(process(said("cat concatenate Cat. 고양이가"), rules)) == ["dog concatenate dog. 강아지가"]


def test_a_rule_of_another_language_is_left_out() -> None:
    rules = Rules(replace=[Replacement("a", "b", language="en")])
    assert texts(process(said("a", language="ko"), rules)) == ["a"]
    assert texts(process(said("a", language="en"), rules)) == ["b"]


def test_patterns_have_groups_and_stay_within_a_segment() -> None:
    rules = Rules(replace=[Replacement(r"order (\d+)\s+(\d+)", r"order \1\2", is_pattern=True)])
    found = process(said("order 12 34", "order 56", "78", language="en"), rules)
    assert texts(found) == ["order 1234", "order 56", "78"]


def test_what_a_replacement_brings_out_is_redacted_with_what_was_heard() -> None:
    rules = Rules(redact=ALL, replace=[Replacement("동일동", "010")])
    found = process(said("전화는 동일동 1234 5678"), rules)
    assert texts(found) == [f"전화는 {MASKED}"]
    assert "1234" not in str(found.to_dict())
    assert "동일동" not in str(found.to_dict())


def test_a_pattern_that_is_hard_for_backtracking_takes_no_time() -> None:
    rules = Rules(replace=[Replacement("(a+)+b", "x", is_pattern=True)])
    began = time.perf_counter()
    process(said("a" * 5000, language="en"), rules)
    assert time.perf_counter() - began < 20


def test_replacements_of_ten_thousand_words_take_no_minutes() -> None:
    words = ["네이버", "클로버는", "오늘", "배송이", "안", "와서요", "상품", "주문", "번호", "확인"] * 1000
    long = said(*(" ".join(words[at : at + 12]) for at in range(0, len(words), 12)))
    rules = Rules(
        replace=[
            *(Replacement(f"없는 말 {number}", f"있는 말 {number}") for number in range(100)),
            Replacement("네이버 클로버", "네이버 클로바"),
            Replacement(r"주문\s+번호", "주문번호", is_pattern=True),
        ]
    )
    began = time.process_time()
    found = process(long, rules)
    assert time.process_time() - began < 15
    assert "네이버 클로바는" in found.segments[0].text
    assert "주문번호" in found.segments[0].text


def test_a_text_that_does_not_match_its_words_is_redacted_in_both() -> None:
    odd = Transcript(
        "ko",
        1.0,
        2000,
        [
            Segment(
                0,
                2000,
                "전화 010-1234-5678",
                [Word(0, 900, "전화"), Word(900, 2000, " 공일공일이삼사오육칠팔")],
            )
        ],
    )
    found = process(odd, Rules(redact=ALL)).segments[0]
    assert (found.text, [word.text for word in found.words]) == (f"전화 {MASKED}", ["전화", f" {MASKED}"])
    assert any((change.start, change.end) == (900, 2000) for change in found.changes)
