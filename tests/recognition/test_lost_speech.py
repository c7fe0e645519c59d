"""Lost speech: speech without words after a first attempt is recognised again, or flagged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from batches.recognition.contracts import (
    OnChunk,
    Progress,
    RecognisedChunk,
    RecognisedFile,
    SpeechChunk,
    TimedWord,
)
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.runtime.segment_builder import AudioTrack
from batches.recognition.runtime.transcription import transcribe
from tests.recognition.recognise import recognise
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample


def part(start: float, end: float) -> Samples:
    return load_sample()[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def test_a_sentence_between_two_equal_ones_is_kept(engine: Engine, tmp_path: Path) -> None:
    jersey, chicago = part(12.3, 14.6), part(17.0, 19.6)
    pause = np.zeros(SAMPLE_RATE // 3, dtype=np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate([jersey, pause, chicago, pause, jersey]))
    text = recognise(engine, path, Options(language="en-US")).text
    assert text.count("Jersey") == 2
    assert text.index("Jersey") < text.index("originally") < text.rindex("Jersey")


class Silent:
    """Recognises the first second of a chunk and nothing else."""

    name, model = "openai-whisper", "base"

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        return RecognisedFile(
            [RecognisedChunk([TimedWord(" Yes.", 0.0, 0.8, 0.9)], "en") for _ in chunks], "en", 1.0
        )

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def test_speech_that_stays_without_words_is_flagged_with_its_times() -> None:
    track = AudioTrack(np.zeros(20 * SAMPLE_RATE, dtype=np.float32), [(1.0, 2.0), (5.0, 9.0)])
    found = transcribe(Silent(), [track], Options(language="en"), lambda _share: None)
    assert found.flags == ["unrecognised_speech"]
    assert [(span.start, span.end) for span in found.unrecognised] == [(5000, 9000)]
    assert type(found).from_dict(found.to_dict()) == found


def test_speech_with_words_is_not_flagged(engine: Engine, tmp_path: Path) -> None:
    found = recognise(engine, write_wav(tmp_path / "a.wav", part(12.3, 19.6)), Options(language="en"))
    assert "Jersey" in found.text
    assert found.unrecognised == []
