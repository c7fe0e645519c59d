"""Kit for the GPU check: models, decoded recordings, expected tokens and Python packages in one folder.

The folder is written on a machine with ffmpeg, and read on the one with the GPU, which needs nothing else.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from batches.recognition.media.decoding import SAMPLE_RATE, Samples

_GAP = SAMPLE_RATE // 2  # samples of silence between joined recordings
_FULL_SCALE = 32767
# Distributions in pure Python that an image with torch does not have.
_PACKAGES = ("openai-whisper", "asteroid-filterbanks")


@dataclass(frozen=True, slots=True, eq=False)
class KitRecording:
    """A decoded recording. ``language`` is Whisper's code."""

    name: str
    language: str
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class ExpectedChunk:
    """Chunk of a recording, with the tokens that a CPU decodes from it in float32."""

    recording: int  # index in the kit
    pieces: list[tuple[float, float]]  # seconds of the recording, as of a Chunk
    tokens: list[int]


def join(recordings: Sequence[KitRecording], seconds: float) -> Samples:
    """One long recording out of several, repeated until it is about that long."""
    gap = np.zeros(_GAP, dtype=np.float32)
    once = np.concatenate([part for recording in recordings for part in (recording.samples, gap)])
    return np.tile(once, max(1, round(seconds * SAMPLE_RATE / len(once))))


class Kit:
    """The kit: ``models``, ``packages``, ``sounds.npz``, ``recordings.json`` and ``expected.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def write_models(self, models_dir: Path, names: Sequence[str]) -> None:
        for name in names:
            shutil.copytree(models_dir / name, self.models / name, dirs_exist_ok=True)

    def write_packages(self) -> None:
        """Copy packages, with their metadata, for a machine that has only torch and others like it."""
        for name in _PACKAGES:
            for file in importlib.metadata.files(name) or ():
                if ".." not in file.parts and file.suffix != ".pyc":
                    target = self.folder / "packages" / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(file.locate()), target)

    def write_recordings(self, recordings: Sequence[KitRecording]) -> None:
        """Write the recordings, with samples in 16 bits."""
        sounds = {
            f"sound{number}": np.round(recording.samples * _FULL_SCALE).astype(np.int16)
            for number, recording in enumerate(recordings)
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.folder / "sounds.npz", allow_pickle=False, **sounds)
        documents = [{"name": recording.name, "language": recording.language} for recording in recordings]
        (self.folder / "recordings.json").write_text(json.dumps(documents))

    def read_recordings(self) -> list[KitRecording]:
        """Read the recordings. Raises FileNotFoundError if there is no kit."""
        documents = json.loads((self.folder / "recordings.json").read_text())
        with np.load(self.folder / "sounds.npz") as sounds:
            return [
                KitRecording(
                    document["name"],
                    document["language"],
                    sounds[f"sound{number}"].astype(np.float32) / _FULL_SCALE,
                )
                for number, document in enumerate(documents)
            ]

    def write_expected(self, chunks: Sequence[ExpectedChunk]) -> None:
        (self.folder / "expected.json").write_text(json.dumps([asdict(chunk) for chunk in chunks]))

    def read_expected(self) -> list[ExpectedChunk]:
        """Read the expected chunks, in order. Raises FileNotFoundError if there is no kit."""
        return [
            ExpectedChunk(
                document["recording"],
                [(start, end) for start, end in document["pieces"]],
                document["tokens"],
            )
            for document in json.loads((self.folder / "expected.json").read_text())
        ]
