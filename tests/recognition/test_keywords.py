"""Keyword boosting: spoken names are written as given, and none is written that was not spoken."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.asr.keyword_prompts import KeywordPrompts
from batches.recognition.asr.keywords import PROMPT_TOKENS, START_SHARE, KeywordTree, prompt_tokens, spellings
from batches.recognition.asr.whisper_model import AudioModel
from batches.recognition.contracts import TimedWord
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from tests.recognition.continuous import small_model
from tests.recognition.recognise import recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample, sample_folder

ABSENT = ["Kubernetes", "Threadripper", "Naver Cloud", "김철수", "Sheldon", "Chicane", "Texan"]


class Letters:
    """Tokenizer with one token per character."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def tree(*keywords: str, spaced: bool = True) -> KeywordTree:
    return KeywordTree(keywords, Letters(), weight=4.0, spaced=spaced)


def heard(engine: Engine, path: Path, *keywords: str) -> str:
    options = Options(language="en", keywords=keywords)
    return recognise(engine, path, options).text


def test_a_name_that_is_said_is_written_as_the_keyword_is(either_engine: Engine, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "diane.wav", load_sample()[200_000:232_000])
    assert "Dyanne" not in heard(either_engine, path)
    assert "This is Dyanne in New Jersey" in heard(either_engine, path, "Dyanne", *ABSENT)


def test_keywords_that_nobody_says_are_not_inserted(either_engine: Engine) -> None:
    text = heard(either_engine, sample_folder() / "sample.wav", *ABSENT)
    assert not [keyword for keyword in ABSENT if keyword.casefold() in text.casefold()]
    assert "Chicago" in text


def test_a_keyword_is_expected_with_a_space_a_capital_or_at_the_start() -> None:
    assert spellings("epyc", spaced=True) == [
        (" epyc", False),
        (" Epyc", False),
        ("epyc", True),
        ("Epyc", True),
    ]
    assert ("서울", False) in spellings("서울", spaced=False)


def test_a_bonus_leads_through_a_keyword_to_its_end() -> None:
    walker = tree("abc").walker()
    for token, following in zip(" ab", "abc", strict=True):
        walker.advance(ord(token))
        assert walker.bonus()[ord(following)] == 4.0
    walker.advance(ord("c"))
    assert walker.bonus() == {}


def test_the_tokens_of_whole_keywords_are_found_in_a_text() -> None:
    text = [ord(letter) for letter in "abc is abc, abd ab"]
    assert tree("abc").positions(text) == {0, 1, 2, 6, 7, 8, 9}
    assert tree("abc").positions([]) == set()


def test_leaving_a_keyword_ends_its_bonus() -> None:
    walker = tree("abc").walker()
    walker.advance(ord(" "))
    walker.advance(ord("x"))
    assert walker.bonus() == {}


def test_inside_a_word_no_keyword_starts_where_words_are_spaced() -> None:
    spaced, unspaced = tree("abc").walker(), tree("abc", spaced=False).walker()
    for walker in (spaced, unspaced):
        walker.advance(ord("x"))
        walker.advance(ord("a"))
    assert spaced.bonus() == {}
    assert unspaced.bonus() == {ord("b"): 4.0}


def test_the_first_token_gets_a_share_of_the_weight() -> None:
    bias = tree("abc").start_bias(200, at_start=False)
    assert bias[ord(" ")] == 4.0 * START_SHARE
    assert bias.count_nonzero() == 1
    assert tree("abc").start_bias(200, at_start=True)[ord("a")] == 4.0 * START_SHARE


def test_a_long_list_makes_it_no_likelier_that_a_keyword_starts() -> None:
    many = KeywordTree([chr(0x4E00 + n) * 2 for n in range(1000)], Letters(), weight=7.0, spaced=False)
    few = KeywordTree([chr(0x4E00 + n) * 2 for n in range(20)], Letters(), weight=7.0, spaced=False)
    chances = [float(each.start_bias(0xFFFF, at_start=False).exp().sub(1).sum()) for each in (many, few)]
    assert chances[0] < 3 * chances[1]


words = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8)


@given(st.lists(words, min_size=1, max_size=20), st.data())
def test_every_keyword_can_be_walked_to_its_end(keywords: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(keywords))
    walker = tree(*keywords).walker()
    text = data.draw(words) + " " + chosen
    for index, letter in enumerate(text):
        if index > text.rindex(" "):
            assert ord(letter) in walker.bonus()
        walker.advance(ord(letter))


@given(st.lists(words, max_size=200))
def test_the_prompt_holds_whole_keywords_and_is_short(keywords: list[str]) -> None:
    text = "".join(map(chr, prompt_tokens(keywords, Letters())))
    assert len(text) <= PROMPT_TOKENS + 1
    named = [word.strip() for word in text.rstrip(".").split(",") if word.strip()]
    assert named == keywords[: len(named)]


@pytest.mark.parametrize(
    ("language", "count", "scores", "in_first_pass"),
    [
        ("en", 2, False, True),
        ("en", 2, True, False),
        ("ko", 2, True, False),
        ("zh", 2, True, True),  # Han does not tell how a name sounds.
        ("ja", 2, True, True),
        ("en", 51, False, False),
        ("ja", 51, True, False),
    ],
)
def test_keywords_are_either_in_the_first_pass_or_retrieved(
    language: str, count: int, scores: bool, in_first_pass: bool
) -> None:
    keywords = ["Schoeffer", *(f"Name {number}" for number in range(1, count))]
    options, model = Options(language=language, keywords=keywords), AudioModel("small", small_model.DIMS)
    prompts = KeywordPrompts(options, model, takes_bias=True, scores=scores)
    words = [TimedWord(" Schoffer", 0.0, 0.5, 0.4)]
    assert (prompts.tree(language) is not None) is in_first_pass
    assert (prompts.retrieve(words, language) is not None) is not in_first_pass
    assert (prompts.short_list(language) is not None) is (scores and not in_first_pass and count < 50)
