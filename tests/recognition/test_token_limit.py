"""Token limit: the last word of a chunk without an end of text lasts to the end of the chunk."""

import itertools

import numpy as np
import pytest

from batches.recognition.alignment.word_times import entered_frames
from batches.recognition.asr import decoding
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from tests.recognition.recognise import recognise
from tests.sample_speech import sample_folder


def test_a_file_whose_chunks_end_by_their_token_limit_has_words_with_times(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_TOKENS_PER_SECOND", 0)
    assert decoding.token_limit(15.0) == 16
    transcript = recognise(engine, sample_folder() / "sample.wav", Options(language="en"))
    words = [word for segment in transcript.segments for word in segment.words]
    assert len(words) > 10
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))


@pytest.mark.parametrize("tokens", [1, 2, 9])
@pytest.mark.parametrize("ended", [True, False])
def test_every_token_and_the_end_have_a_frame(tokens: int, ended: bool) -> None:
    scores = np.random.default_rng(1).normal(size=(2, 3 + tokens + ended, 50)).astype(np.float32)
    frames = entered_frames(scores, 3, tokens)
    assert len(frames) == tokens + 1
    assert frames == sorted(frames)
    assert ended or frames[-1] == 50.0


def test_no_tokens_end_at_once() -> None:
    assert entered_frames(np.zeros((2, 4, 50), dtype=np.float32), 3, 0) == [0.0]
