"""Inputs of a chaos run: short clips of real speech under difficult names, and some other files."""

from __future__ import annotations

import io
import random
import wave
from dataclasses import dataclass

from tests.sample_speech import sample_folder

NAMES = [
    "call {}.wav",
    "통화 녹음 {}.wav",
    "통화 {}.wav",  # decomposed
    "=1+{}.wav",
    "+{}.wav",
    "@{} %2F #?&.wav",
    "q\"uo'te {}.wav",
    "😀 {}.wav",
    "sub/folder {}/call.wav",
    " lead and trail {} .wav",
    "long " + "x" * 180 + " {}.wav",
]


@dataclass(frozen=True)
class Input:
    name: str
    data: bytes
    error_code: str  # "" for what is to be recognised


def make(count: int, rng: random.Random) -> list[Input]:
    """Make the inputs, each with different bytes."""
    return [_one(number, rng) for number in range(count)]


def _one(number: int, rng: random.Random) -> Input:
    name = rng.choice(NAMES).format(number)
    kind = rng.random()
    if kind < 0.05:
        return Input(name, f"not a recording {number} {rng.random()}".encode(), "not_media")
    if kind < 0.07:
        return Input(name, b"", "empty_file")
    return Input(name, _clip(number, rng), "")


def _clip(number: int, rng: random.Random) -> bytes:
    """Clip of one to two seconds from the sample of pyannote.audio, WAV, 16 kHz."""
    with wave.open(str(sample_folder() / "sample.wav")) as sample:
        rate, frames = sample.getframerate(), sample.getnframes()
        length = int(rng.uniform(1.0, 2.0) * rate)
        # From where people speak; a frame's offset for each number, so that no two are alike.
        sample.setpos(rng.randrange(int(6.7 * rate), frames - length - 2000) + number % 1000)
        data = sample.readframes(length)
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(rate)
        clip.writeframes(data)
    return file.getvalue()
