"""Early segments keep their text; no part of a number is sent before the whole."""

from __future__ import annotations

import dataclasses

import pytest

from batches.postprocessing.detection import KINDS
from batches.postprocessing.transcript import Rules, process, settled
from batches.recognition.transcript import Segment, Transcript
from domains.replacements import Replacement
from tests.postprocessing import planted

ALL = Rules(redact=dict.fromkeys(KINDS, "mask"), replace=[Replacement("order", "purchase")])
FILLER = Segment(0, 1, "There is nothing at all to hide in what is being said between the two numbers here.")


def prefix(transcript: Transcript, count: int) -> Transcript:
    return dataclasses.replace(transcript, segments=transcript.segments[:count])


def texts(transcript: Transcript) -> list[str]:
    return [segment.text.strip() for segment in transcript.segments]


def long_call(language: str) -> Transcript:
    """The planted conversation three times, with small talk between."""
    once = planted.transcript(language)
    return dataclasses.replace(once, segments=[*once.segments, *[FILLER] * 5] * 3)


@pytest.mark.parametrize("rules", [ALL, dataclasses.replace(ALL, digits=True)], ids=["words", "digits"])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_what_is_settled_stays_as_it_is(language: str, rules: Rules) -> None:
    whole = long_call(language)
    final = texts(process(whole, rules))
    counts = []
    for count in range(len(whole.segments) + 1):
        so_far = prefix(whole, count)
        known = settled(so_far, rules)
        assert texts(process(so_far, rules))[:known] == final[:known]
        counts.append(known)
    assert counts == sorted(counts)
    assert counts[-1] > len(whole.segments) // 2


def test_the_first_half_of_a_card_number_is_waited_for() -> None:
    halves = [Segment(0, 1, "My card is 4012 88,"), Segment(1, 2, "88 8888 1881.")]
    whole = Transcript("en", 1.0, 2, [FILLER, *halves, *[FILLER] * 6])
    assert texts(process(prefix(whole, 2), ALL))[1] == "My card is 4012 88,"
    assert texts(process(whole, ALL))[1] == "My card is ****,"
    assert settled(prefix(whole, 2), ALL) <= 1
    assert settled(whole, ALL) >= 3


def test_a_run_of_digits_is_waited_for_however_long_it_is() -> None:
    digits = [Segment(at, at + 1, "one two three four five six seven") for at in range(40)]
    whole = Transcript("en", 1.0, 40, [FILLER, *digits])
    assert settled(whole, ALL) == 1
    ended = dataclasses.replace(whole, segments=[*whole.segments, *[FILLER] * 6])
    assert settled(ended, ALL) > 40


def test_without_redaction_nothing_waits() -> None:
    whole = planted.transcript("en")
    assert settled(whole, Rules(replace=ALL.replace)) == len(whole.segments)
