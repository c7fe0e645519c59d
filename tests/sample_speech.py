"""The recording that pyannote.audio ships: 30 s of a telephone call of two people, and who speaks when."""

import importlib.util
import wave
from pathlib import Path

import numpy as np

from batches.recognition.diarization.segmentation import Samples
from batches.recognition.transcript import SpeakerTurn


def sample_folder() -> Path:
    spec = importlib.util.find_spec("pyannote.audio")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "sample"


def load_sample() -> Samples:
    """(480000,) float32, mono, 16 kHz."""
    with wave.open(str(sample_folder() / "sample.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        data = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    return (data / 32768).astype(np.float32)


def write_call(path: Path, start: float = 14.4, end: float = 22.0) -> Path:
    """Write a cut of the sample, in seconds, as a WAV file; the default cut holds both people.

    A short recording is enough where a test asks who recognises it, not how well.
    """
    with wave.open(str(sample_folder() / "sample.wav")) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        source.setpos(round(start * source.getframerate()))
        target.writeframes(source.readframes(round((end - start) * source.getframerate())))
    return path


def sample_turns() -> list[SpeakerTurn]:
    """The reference that comes with the sample."""
    rows = [line.split() for line in (sample_folder() / "sample.rttm").read_text().splitlines()]
    return [
        SpeakerTurn(round(1000 * float(row[3])), round(1000 * (float(row[3]) + float(row[4]))), row[7])
        for row in rows
    ]
