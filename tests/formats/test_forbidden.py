"""Forbidden words are masked in every format, in the words' own times, and in corrections."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.formats import FORMATS, Context
from batches.formats.forbidden import without_forbidden
from batches.recognition.transcript import Segment, Transcript, Word
from tests.formats.samples import any_text, text_of, transcripts


def said(*texts: str) -> Transcript:
    """Transcript of one segment with these words."""
    words = [Word(index * 500, index * 500 + 400, f" {text}") for index, text in enumerate(texts)]
    return Transcript("ko", 1.0, 9000, [Segment(0, 9000, "".join(word.text for word in words), words)])


def masked(text: str, forbidden: str) -> str:
    found, _context = without_forbidden(said(*text.split(" ")), Context(forbidden=forbidden))
    assert "".join(word.text for word in found.segments[0].words) == found.segments[0].text
    return found.text


@pytest.mark.parametrize(
    ("text", "forbidden", "told"),
    [
        ("그 바보가 왔다", "바보", "그 **가 왔다"),
        ("Damn, a DAMN class", "damn,ass", "****, a **** class"),
        ("Ryzen은 좋다", "ryzen", "*****은 좋다"),
        ("my secret word here", " secret   word ,", "my ****** **** here"),
        ("a secret wording", "secret word", "a secret wording"),
        ("これは秘密です", "秘密", "これは**です"),
        ("плохой плохойя", "ПЛОХОЙ", "****** плохойя"),
        ("a+b costs $5.", "a+b,$5", "*** costs **."),
        ("바보 바보야", "바보,바보야", "** ***"),
        ("nothing here", "", "nothing here"),
        ("nothing here", " , ,", "nothing here"),
    ],
)
def test_a_forbidden_word_is_masked(text: str, forbidden: str, told: str) -> None:
    assert masked(text, forbidden) == told


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_tells_it(name: str) -> None:
    context = Context(forbidden="secret", edited_texts={1: "My Secret."}, speaker_names={"1": "Kim"})
    transcript = said("The", "secret", "is", "out.")
    transcript.segments.append(Segment(9000, 9900, "Another text."))
    told = text_of(name, transcript, context)
    assert "secret" not in told.replace('"forbiddens": "secret"', "").lower()
    assert "******" in told


def test_the_result_says_what_was_forbidden_and_keeps_the_times() -> None:
    read = json.loads(
        text_of("json", said("A", "secret"), Context(forbidden="secret", asked_forbidden="secret"))
    )
    assert read["params"]["forbiddens"] == "secret"
    assert (read["text"], read["segments"][0]["words"]) == ("A ******", [[0, 400, "A"], [500, 900, "******"]])


@given(transcripts(), st.lists(any_text, max_size=3))
def test_any_transcript_keeps_its_shape(transcript: Transcript, words: list[str]) -> None:
    context = Context(forbidden=",".join(words))
    once, _same = without_forbidden(transcript, context)
    assert [shape(segment) for segment in once.segments] == [shape(each) for each in transcript.segments]


def shape(segment: Segment) -> tuple[int, list[tuple[int, int]]]:
    return len(segment.text), [(word.start, word.end) for word in segment.words]


@pytest.mark.parametrize("forbidden", ["訂單", "订单"])
def test_chinese_words_are_masked_in_either_script(forbidden: str) -> None:
    assert masked("請說訂單號碼", forbidden) == "請說**號碼"
    assert masked("请说订单号码", forbidden) == "请说**号码"
