"""A chunk on its way to words: which attempt is kept, what counts as silence, what is left to look at."""

import numpy as np

from batches.recognition.alignment.word_times import TimedWord
from batches.recognition.asr.chunks import Chunk
from batches.recognition.asr.decoded_chunk import AudioTrack, DecodedChunk
from batches.recognition.asr.decoding import Decoded
from batches.recognition.media.decoding import SAMPLE_RATE
from batches.recognition.transcript import Segment

TRACK = AudioTrack(np.zeros(30 * SAMPLE_RATE, dtype=np.float32), [(5.0, 9.0), (12.0, 18.0)])


def piece() -> DecodedChunk:
    chunk = Chunk(((5.0, 9.0), (12.0, 18.0)))
    return DecodedChunk(chunk, TRACK, "en")


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


def test_nobody_speaks_where_the_model_says_so_and_doubts_its_text() -> None:
    one = piece()
    one.consider(decoded(logprob=-1.2, no_speech=0.9))
    assert one.is_silence
    sure = piece()
    sure.consider(decoded(logprob=-0.4, no_speech=0.9))
    assert not sure.is_silence


def test_speech_without_words_at_the_end_is_another_piece() -> None:
    one = piece()
    one.words = [TimedWord(" word", 0.5, 5.0, 0.9)]
    rest = one.tail()
    assert rest is not None
    assert rest.is_tail
    assert rest.chunk.pieces == ((13.0, 18.0),)
    assert rest.tail() is None


def test_a_short_rest_is_left_alone() -> None:
    one = piece()
    one.words = [TimedWord(" word", 0.5, 8.0, 0.9)]
    assert one.tail() is None


def test_words_get_the_times_of_the_file_and_segments_the_signals() -> None:
    one = piece()
    one.consider(decoded(logprob=-1.5, looped=True))
    one.words = [TimedWord(" word", 3.0, 5.0, 0.9)]
    (word,) = one.file_words()
    assert (word.start, word.end) == (8_000, 13_000)
    segment = Segment(8_000, 13_000, "word")
    one.note_quality(segment)
    assert segment.flags == ["repetition", "low_confidence"]
    assert segment.mean_logprob == -1.5
