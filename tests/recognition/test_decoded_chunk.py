"""A chunk during recognition: which attempt is kept, what counts as silence, what its tail is."""

import numpy as np

from batches.recognition.asr.decoded_chunk import DecodedChunk, quality_flags
from batches.recognition.asr.decoding import Decoded
from batches.recognition.contracts import SpeechChunk, TimedWord
from batches.recognition.media.decoding import SAMPLE_RATE


def piece() -> DecodedChunk:
    return DecodedChunk(SpeechChunk(np.arange(10 * SAMPLE_RATE, dtype=np.float32)), "en")


def decoded(
    text: str = "some words", *, logprob: float = -0.3, no_speech: float = 0.1, looped: bool = False
) -> Decoded:
    return Decoded([1], [logprob], logprob, no_speech, text, 1.0, looped, entered=[0.0, 1.0])


def test_the_likelier_attempt_is_kept() -> None:
    one = piece()
    one.consider(decoded("first", logprob=-0.5))
    one.consider(decoded("better", logprob=-0.2))
    one.consider(decoded("worse", logprob=-0.9))
    assert one.decoded is not None
    assert one.decoded.text == "better"


def test_an_attempt_that_loops_or_says_things_twice_loses_against_a_plain_one() -> None:
    one = piece()
    one.consider(decoded("loop", logprob=-0.1, looped=True))
    assert one.went_wrong
    twice = "we went to the old town we went to the old town"
    one.consider(decoded(twice, logprob=-0.3))
    assert one.went_wrong
    one.consider(decoded("plain", logprob=-0.5))
    assert one.decoded is not None
    assert one.decoded.text == "plain"
    assert not one.went_wrong


def test_a_boosted_keyword_does_not_make_a_text_unsure() -> None:
    text = decoded("This is Dyanne", logprob=-1.2)
    text.tokens, text.logprobs = [1, 2, 3], [-0.1, -0.1, -3.4]
    sure, unsure = piece(), piece()
    sure.consider(text, boosted={2})
    unsure.consider(text)
    assert not sure.went_wrong
    assert unsure.went_wrong


def test_nobody_speaks_where_the_model_says_so_and_doubts_its_text() -> None:
    one = piece()
    one.consider(decoded(logprob=-1.2, no_speech=0.9))
    assert one.is_silence
    sure = piece()
    sure.consider(decoded(logprob=-0.4, no_speech=0.9))
    assert not sure.is_silence


def test_speech_without_words_at_the_end_is_a_chunk_of_its_own() -> None:
    one = piece()
    one.words = [TimedWord(" word", 0.5, 5.0, 0.9)]
    rest = one.cut_tail()
    assert rest is not None
    assert rest.is_tail
    assert rest.samples[0] == 5 * SAMPLE_RATE
    assert rest.seconds == 5.0
    assert rest.cut_tail() is None


def test_a_short_rest_is_left_alone() -> None:
    one = piece()
    one.words = [TimedWord(" word", 0.5, 8.0, 0.9)]
    assert one.cut_tail() is None


def test_the_words_of_the_tail_follow_those_of_the_chunk_and_its_signals_count() -> None:
    one = piece()
    one.consider(decoded(logprob=-0.4))
    one.words = [TimedWord(" word", 0.5, 5.0, 0.9)]
    rest = one.cut_tail()
    assert rest is not None
    rest.consider(decoded("more", logprob=-1.8, looped=True))
    rest.words = [TimedWord(" more", 1.0, 2.0, 0.5)]
    found = one.recognised()
    assert [(word.text, word.start, word.end) for word in found.words] == [
        (" word", 0.5, 5.0),
        (" more", 6.0, 7.0),
    ]
    assert found.mean_logprob == -1.1
    assert found.flags == ["repetition", "low_confidence"]
    assert found.language == "en"


def test_signals_of_the_decoding_become_flags() -> None:
    assert quality_flags(decoded(logprob=-1.5, looped=True)) == ["repetition", "low_confidence"]
    assert quality_flags(decoded(no_speech=0.9)) == ["no_speech"]
    assert quality_flags(decoded()) == []
