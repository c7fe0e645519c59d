"""Decoded chunk: choice between attempts, detection of silence, and speech without words."""

import numpy as np
import pytest

from batches.recognition.asr.decoded_chunk import DecodedChunk, quality_flags
from batches.recognition.asr.decoding import Decoded
from batches.recognition.contracts import SpeechChunk, TimedWord
from batches.recognition.media.decoding import SAMPLE_RATE
from tests.recognition.continuous.small_model import tokenizer

ENGLISH = tokenizer("en")
SECONDS = 10


def chunk(*speech: tuple[float, float]) -> DecodedChunk:
    samples = np.arange(SECONDS * SAMPLE_RATE, dtype=np.float32)
    return DecodedChunk(SpeechChunk(samples, speech=speech or None), "en")


def decoded(
    text: str = "some words",
    *,
    logprob: float = -0.3,
    no_speech: float = 0.1,
    looped: bool = False,
    seconds: float = 9.5,
) -> Decoded:
    """Words that last equally long, to the last of them at ``seconds``."""
    tokens = ENGLISH.encode(" " + text)
    frames = [50 * seconds * at / len(tokens) for at in range(len(tokens) + 1)]
    return Decoded(tokens, [logprob] * len(tokens), logprob, no_speech, text, 1.0, looped, entered=frames)


def text_of(one: DecodedChunk) -> str:
    assert one.decoded is not None
    return one.decoded.text


def test_the_likelier_attempt_is_kept() -> None:
    one = chunk((0.0, 2.0))
    one.consider(decoded("first", logprob=-0.5), ENGLISH)
    one.consider(decoded("better", logprob=-0.2), ENGLISH)
    one.consider(decoded("worse", logprob=-0.9), ENGLISH)
    assert text_of(one) == "better"
    assert [word.text for word in one.words] == [" better"]


def test_an_attempt_that_loops_or_says_things_twice_loses_against_a_plain_one() -> None:
    one = chunk((0.0, 2.0))
    one.consider(decoded("loop", logprob=-0.1, looped=True), ENGLISH)
    assert one.went_wrong
    twice = "we went to the old town we went to the old town"
    one.consider(decoded(twice, logprob=-0.3), ENGLISH)
    assert one.went_wrong
    one.consider(decoded("plain", logprob=-0.5), ENGLISH)
    assert text_of(one) == "plain"
    assert not one.went_wrong


@pytest.mark.parametrize(
    ("logprob", "text"),
    [(-0.35, "busar ut i grantregården"), (-0.2, "busar ut i grann tre gården")],
)
def test_a_search_replaces_a_text_only_where_it_is_clearly_likelier(logprob: float, text: str) -> None:
    one = chunk((0.0, 2.0))
    one.consider(decoded("busar ut i grantregården", logprob=-0.36), ENGLISH)
    one.consider_search(decoded("busar ut i grann tre gården", logprob=logprob), ENGLISH)
    assert text_of(one) == text


def test_a_search_that_ends_early_is_likelier_in_total_but_not_better() -> None:
    one = chunk((0.0, 2.0))
    one.consider(decoded("a few years, and then many more of them", logprob=-0.3), ENGLISH)
    one.consider_search(decoded("a few years", logprob=-0.4), ENGLISH)
    assert text_of(one).endswith("of them")


def test_a_search_writes_no_digits_for_words_unless_the_words_went_wrong() -> None:
    one, wrong = chunk((0.0, 2.0)), chunk((0.0, 2.0))
    one.consider(decoded("Tänster en, två, tre, fyra", logprob=-0.3), ENGLISH)
    wrong.consider(decoded("en, två, tre, fyra", logprob=-0.3, looped=True), ENGLISH)
    for each in (one, wrong):
        each.consider_search(decoded("Testar 1, 2, 3, 4", logprob=-0.1), ENGLISH)
    assert text_of(one) == "Tänster en, två, tre, fyra"
    assert text_of(wrong) == "Testar 1, 2, 3, 4"


def test_an_attempt_that_leaves_speech_without_words_loses_against_one_that_has_all() -> None:
    one = chunk()
    one.consider(decoded("and", logprob=-0.2), ENGLISH)
    assert one.lost_seconds > 8
    one.consider(
        decoded("all that was said in ten seconds of speech without any pause", logprob=-0.4), ENGLISH
    )
    assert one.lost_seconds == 0
    assert text_of(one).startswith("all that")


def test_a_boosted_keyword_does_not_make_a_text_unsure() -> None:
    text = decoded("This is Dyanne", logprob=-1.2)
    text.tokens, text.logprobs, text.entered = text.tokens[:3], [-0.1, -0.1, -3.4], text.entered[:4]
    sure, unsure = chunk((0.0, 1.0)), chunk((0.0, 1.0))
    sure.consider(text, ENGLISH, boosted={2})
    unsure.consider(text, ENGLISH)
    assert not sure.went_wrong
    assert unsure.went_wrong


def test_nobody_speaks_where_the_model_says_so_and_doubts_its_text() -> None:
    one = chunk()
    one.consider(decoded(logprob=-1.2, no_speech=0.9), ENGLISH)
    assert one.is_silence
    assert one.words == []
    guess, quiet = chunk(), chunk()
    guess.consider(decoded(logprob=-1.9, no_speech=0.5), ENGLISH)
    quiet.consider(decoded(logprob=-1.9, no_speech=0.1), ENGLISH)
    assert (guess.is_silence, quiet.is_silence) == (True, False)
    sure = chunk()
    sure.consider(decoded(logprob=-0.4, no_speech=0.9), ENGLISH)
    assert not sure.is_silence


def test_speech_without_words_at_the_end_is_a_part_of_its_own() -> None:
    one = chunk((0.0, 4.0), (5.0, 9.0))
    one.words = [TimedWord(" a few words", 0.5, 4.0, 0.9)]
    rest = one.cut_tail()
    assert rest is not None
    assert rest.is_doubtful
    assert rest.samples[0] == 4 * SAMPLE_RATE
    assert rest.sound.speech == [(1.0, 5.0)]
    assert rest.cut_tail() is None


@pytest.mark.parametrize("speech", [((0.0, 8.5),), ((0.0, 7.5), (9.0, 10.0))])
def test_a_short_rest_is_left_alone(speech: tuple[tuple[float, float], ...]) -> None:
    one = chunk(*speech)
    one.words = [TimedWord(" word" * 20, 0.5, 8.0, 0.9)]
    assert one.cut_tail() is None


def test_a_word_that_lasts_too_long_hides_speech_which_is_cut_out_at_the_pauses() -> None:
    one = chunk((0.0, 3.0), (3.4, 6.0), (6.4, 9.5))
    texts = [" the first", " and", " the last"]
    times = [(0.0, 2.9), (2.9, 6.6), (6.6, 9.5)]
    one.words = [
        TimedWord(text * (6 if "the" in text else 1), start, end, 0.9)
        for text, (start, end) in zip(texts, times, strict=True)
    ]
    assert one.lost == [(2.9, 6.6)]
    assert one.cut_tail() is None
    parts = one.cut_at_lost()
    assert [(part.start, round(part.start + part.seconds, 3)) for part in parts] == [
        (0.0, 3.2),
        (3.2, 6.2),
        (6.2, 10.0),
    ]


def test_parts_stand_for_the_chunk_only_where_they_find_more() -> None:
    for found, words in ((" words", 0), (" the words between", 3)):
        one = chunk((0.0, 4.0), (5.0, 9.0))
        one.consider(decoded("and", logprob=-0.4, seconds=9.0), ENGLISH)
        parts = one.cut_at_lost()
        for part in parts:
            part.consider(decoded(found.strip() * (words or 1), seconds=part.seconds), ENGLISH)
            if not words:
                part.words = []
        one.take_parts(parts)
        assert bool(one.parts) is bool(words)


def test_the_words_of_the_tail_follow_those_of_the_chunk_and_its_signals_count() -> None:
    one = chunk((0.0, 4.0), (5.0, 9.0))
    one.consider(decoded(logprob=-0.4), ENGLISH)
    one.words = [TimedWord(" some words", 0.5, 4.0, 0.9)]
    rest = one.cut_tail()
    assert rest is not None
    rest.consider(decoded("more words", logprob=-1.8, looped=True), ENGLISH)
    rest.words = [TimedWord(" more", 1.0, 2.0, 0.5)]
    found = one.recognised()
    assert [(word.text, word.start, word.end) for word in found.words] == [
        (" some words", 0.5, 4.0),
        (" more", 5.0, 6.0),
    ]
    assert found.mean_logprob == pytest.approx(-1.1)
    assert found.flags == ["repetition", "low_confidence"]
    assert found.language == "en"


def test_signals_of_the_decoding_become_flags() -> None:
    assert quality_flags(decoded(logprob=-1.5, looped=True)) == ["repetition", "low_confidence"]
    assert quality_flags(decoded(no_speech=0.9)) == ["no_speech"]
    assert quality_flags(decoded()) == []
