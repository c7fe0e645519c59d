"""Muted copies: silent in the redacted spans, unchanged elsewhere."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from batches.recognition.errors import NotMedia
from batches.recognition.media import decoding, muting


def write_tone(path: Path, seconds: float, rate: int = 44_100, channels: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        samples = (round(12_000 * math.sin(at * 0.06)) for at in range(round(rate * seconds)))
        file.writeframes(b"".join(struct.pack("<h", sample) * channels for sample in samples))
    return path


def loudness(samples: decoding.Samples, start: float, end: float) -> float:
    part = samples[round(start * decoding.SAMPLE_RATE) : round(end * decoding.SAMPLE_RATE)]
    assert len(part)
    return float(np.sqrt(np.mean(np.square(part))))


def test_the_words_are_silent_and_the_rest_sounds(tmp_path: Path) -> None:
    source, target = write_tone(tmp_path / "call.wav", 8.0), tmp_path / "out.mp3"
    muting.mute(source, target, [(2000, 3000), (5000, 5500)])
    samples = decoding.decode(target).samples
    assert abs(len(samples) / decoding.SAMPLE_RATE - 8.0) < 0.2
    assert loudness(samples, 1.96, 3.04) < 0.001
    assert loudness(samples, 4.96, 5.54) < 0.001
    for start, end in ((0.2, 1.8), (3.2, 4.8), (5.7, 7.8)):
        assert loudness(samples, start, end) > 0.2
    assert loudness(samples, 1.7, 1.85) > 0.2
    assert loudness(samples, 3.15, 3.3) > 0.2


def test_a_recording_without_spans_sounds_throughout(tmp_path: Path) -> None:
    target = tmp_path / "out.mp3"
    muting.mute(write_tone(tmp_path / "call.wav", 1.0, channels=1), target, [])
    assert loudness(decoding.decode(target).samples, 0.1, 0.9) > 0.2


def test_what_is_no_media_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    with pytest.raises(NotMedia):
        muting.mute(tmp_path / "a.wav", tmp_path / "out.mp3", [(0, 10)])


def test_stretches_are_padded_joined_and_few() -> None:
    assert muting.stretches([(500, 700), (800, 900), (2000, 2100)]) == [(400, 1000), (1900, 2200)]
    assert muting.stretches([(0, 10)]) == [(0, 110)]
    many = [(at * 1000, at * 1000 + 10) for at in range(50)]
    assert len(muting.stretches(many, most=10)) <= 10
