"""The whole engine, with the real models, on the sample that pyannote.audio ships and on sounds made here."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batches.recognition.bench.recordings import own_sample
from batches.recognition.bench.scoring import error_counts
from batches.recognition.media.decoding import Samples
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import Transcript
from tests.recognition.recognise import recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

MOST_ERRORS = 0.25


@pytest.fixture(scope="module")
def transcript(engine: Engine) -> Transcript:
    path = own_sample().path
    options = Options(speakers=True)
    return recognise(engine, path, options)


def error_rate(transcript: Transcript) -> float:
    wrong, total = error_counts(own_sample().reference, transcript.text, "en")
    return wrong / total


def test_at_most_a_quarter_of_the_words_is_wrong(transcript: Transcript) -> None:
    assert error_rate(transcript) <= MOST_ERRORS


def test_there_are_two_speakers_and_every_word_has_one(transcript: Transcript) -> None:
    assert transcript.speakers == ["1", "2"]
    assert {word.speaker for segment in transcript.segments for word in segment.words} == {"1", "2"}


def test_a_segment_is_of_one_speaker_and_holds_its_words(transcript: Transcript) -> None:
    for segment in transcript.segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert segment.start <= segment.words[0].start
        assert segment.words[-1].end <= segment.end <= transcript.duration


def test_word_times_only_grow(transcript: Transcript) -> None:
    words = [word for segment in transcript.segments for word in segment.words]
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))


def test_the_language_is_found_and_the_signals_are_noted(transcript: Transcript) -> None:
    assert transcript.language == "en"
    assert transcript.language_probability > 0.9
    assert all(segment.mean_logprob < 0 for segment in transcript.segments)
    assert all(0 < segment.confidence <= 1 for segment in transcript.segments)
    assert transcript.engine["name"] == "openai-whisper"


def test_speech_in_another_language_than_asked_for_is_flagged(engine: Engine, tmp_path: Path) -> None:
    write_wav(tmp_path / "english.wav", load_sample()[16_000 * 12 : 16_000 * 19])
    assert "language_mismatch" in recognise(engine, tmp_path / "english.wav", Options(language="ko-KR")).flags


def silence() -> Samples:
    return np.zeros(16_000 * 20, dtype=np.float32)


def noise() -> Samples:
    return np.random.default_rng(7).normal(0, 0.1, 16_000 * 20).astype(np.float32)


def chords() -> Samples:
    """Music of a sort: a chord of three tones with overtones, another one each second."""
    times = np.arange(16_000) / 16_000
    roots = (220.0, 196.0, 174.6, 261.6, 220.0, 293.7, 246.9, 196.0)
    seconds = [
        sum(
            np.sin(2 * np.pi * root * ratio * overtone * times) / overtone
            for ratio in (1.0, 1.26, 1.5)
            for overtone in (1, 2, 3)
        )
        for root in roots
    ]
    faded = np.concatenate([second * np.exp(-2 * times) for second in seconds])
    return (0.1 * faded).astype(np.float32)


@pytest.mark.parametrize("sound", [silence, noise, chords])
def test_no_text_is_invented_where_nobody_speaks(
    engine: Engine, tmp_path: Path, sound: Callable[[], Samples]
) -> None:
    write_wav(tmp_path / "sound.wav", sound())
    transcript = recognise(engine, tmp_path / "sound.wav", Options())
    assert transcript.segments == []
    assert transcript.flags == ["no_speech"]


def test_the_same_file_gives_the_same_transcript_again(engine: Engine, transcript: Transcript) -> None:
    again = recognise(engine, own_sample().path, Options())
    assert again.text == transcript.text


def test_faster_whisper_does_the_same_behind_the_same_interface(tmp_path: Path) -> None:
    found = recognise(Engine(recogniser="faster-whisper"), own_sample().path, Options())
    assert error_rate(found) <= MOST_ERRORS
    assert found.engine["name"] == "faster-whisper"
    words = [word for segment in found.segments for word in segment.words]
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))


def test_a_recogniser_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="whisper and faster-whisper"):
        Engine(recogniser="guessing")
