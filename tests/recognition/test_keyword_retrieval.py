"""Keyword retrieval: of a long list, those that a text may have misspelt are found, and few others."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from batches.recognition.asr.keyword_prompts import spelt
from batches.recognition.asr.keyword_retrieval import KeywordIndex, Match, likeness
from batches.recognition.contracts import TimedWord
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import Transcript
from tests.recognition.recognise import recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def names(count: int) -> list[str]:
    """Made-up names of three or four syllables, always the same."""
    chosen = random.Random(7)
    return [
        "".join(
            chosen.choice(_CONSONANTS) + chosen.choice(_VOWELS) for _ in range(chosen.choice((3, 4)))
        ).capitalize()
        for _ in range(count)
    ]


def words(text: str, probability: float = 0.9, *, unsure: str = "") -> list[TimedWord]:
    return [
        TimedWord(f" {word}", at, at + 0.9, 0.4 if word in unsure.split() else probability)
        for at, word in enumerate(text.split())
    ]


@pytest.mark.parametrize(
    ("text", "unsure", "keyword"),
    [
        ("And then I spoke to Mr. Shefer about it.", "Shefer", "Schoeffer"),
        ("we moved to cooper netties last year", "cooper netties", "Kubernetes"),
        ("지난주에 김철쑤 대리님과 통화했습니다.", "김철쑤", "김철수"),
        ("the aforesaid Guttenberg Bible", "", "Gutenberg"),
        ("printed by Peter Schoffer in the year", "", "Schoeffer"),
        ("This is Diane in New Jersey.", "", "Doreen"),
    ],
)
def test_a_misspelt_keyword_is_found_among_a_thousand(text: str, unsure: str, keyword: str) -> None:
    found = [
        match.keyword for match in KeywordIndex([*names(1000), keyword]).matches(words(text, unsure=unsure))
    ]
    assert (keyword in found) is (keyword != "Doreen")
    assert len(found) <= 6


def spellings(text: str, *keywords: str, probability: float = 0.3) -> list[str]:
    """The text with each of the matches, the most similar first."""
    said = words(text, probability)
    return [spelt(said, [match]).strip() for match in KeywordIndex(keywords).matches(said)]


@pytest.mark.parametrize(
    ("text", "keyword", "expected"),
    [
        ("printed by Peter Schoffer, in the year", "Schoeffer", "printed by Peter Schoeffer, in the year"),
        ("the (Schoffer) press", "Schoeffer", "the (Schoeffer) press"),
        ("Schoffer's press", "Schoeffer", "Schoeffer's press"),
        ("we moved to cooper netties.", "Kubernetes", "we moved to Kubernetes."),
        ("the neplu ultra of type", "ne-plus-ultra", "the ne-plus-ultra of type"),
        ("어제 김철쑤가 왔다", "김철수", "어제 김철수가 왔다"),
        ("어제 김철쑤에게서 들었다", "김철수", "어제 김철수에게서 들었다"),
    ],
)
def test_only_the_name_is_replaced(text: str, keyword: str, expected: str) -> None:
    assert spellings(text, keyword)[0] == expected


def test_two_names_are_written_at_once() -> None:
    said = words("Swainheim and Panarchs began", 0.4)
    matches = KeywordIndex(["Pannartz", "Sweynheim"]).matches(said)
    assert spelt(said, matches).strip() == "Sweynheim and Pannartz began"


def test_a_keyword_that_is_written_already_is_not_tried() -> None:
    assert spellings("This is Diane in New Jersey.", "Jersey", "New Jersey") == []
    assert spellings("the Gutenberg or Guttenberg Bible", "Gutenberg") == ["the Gutenberg or Gutenberg Bible"]


def test_words_of_which_the_model_is_sure_are_no_names_that_sound_otherwise() -> None:
    text = "Printing in the only sense with which we are at present concerned differs from most arts"
    assert KeywordIndex(names(1000)).matches(words(text)) == []


@pytest.mark.parametrize("keywords", [[], ["a"], ["...", " "]])
def test_keywords_without_sound_match_nothing(keywords: list[str]) -> None:
    assert KeywordIndex(keywords).matches(words("a single word ...")) == []


def test_a_less_similar_keyword_may_cost_less() -> None:
    assert Match("Pannartz", 0, 1, 0.9, True).margin > Match("Pannartz", 0, 1, 0.65, True).margin
    assert Match("Pannartz", 0, 1, 0.9, True).margin > Match("Pannartz", 0, 1, 0.9, False).margin
    assert Match("Pannartz", 0, 1, 0.9).margin > Match("Bo", 0, 1, 0.9).margin


def test_likeness_is_an_edit_distance_in_which_similar_letters_cost_half() -> None:
    assert likeness("abc", "abc") == 1.0
    assert likeness("abcd", "abxd") == 0.75
    assert likeness("bed", "pet") == pytest.approx(2 / 3)
    assert likeness("abcd", "abcdx") == 0.75
    assert likeness("abc", "") == 0.0


def test_a_name_is_spelt_as_one_of_a_thousand_keywords_and_no_other_is_inserted(
    either_engine: Engine, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "diane.wav", load_sample()[200_000:232_000])
    keywords = [*names(1000), "Dianne"]
    transcript = recognise(either_engine, path, Options(language="en", keywords=keywords))
    text = transcript.text
    assert "This is Dianne in New Jersey" in text
    outcomes = {outcome.text: (outcome.accepted, outcome.refused) for outcome in transcript.keywords}
    assert outcomes.pop("Dianne") == (1, 0)
    assert all(accepted == 0 and refused for accepted, refused in outcomes.values())
    assert Transcript.from_dict(transcript.to_dict()) == transcript
    assert not [keyword for keyword in keywords[:-1] if keyword in text]
