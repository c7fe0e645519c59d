"""Kit for the GPU check: models and decoded recordings in one folder.

The folder is written on a machine with ffmpeg, and read on the one with the GPU, which needs nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batches.recognition.media.decoding import SAMPLE_RATE, Samples

_GAP = SAMPLE_RATE // 2  # samples of silence between joined recordings
_FULL_SCALE = 32767


@dataclass(frozen=True, slots=True, eq=False)
class KitRecording:
    """A decoded recording. ``language`` is Whisper's code."""

    name: str
    language: str
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def join(recordings: Sequence[KitRecording], seconds: float) -> Samples:
    """One long recording out of several, repeated until it is about that long."""
    gap = np.zeros(_GAP, dtype=np.float32)
    once = np.concatenate([part for recording in recordings for part in (recording.samples, gap)])
    return np.tile(once, max(1, round(seconds * SAMPLE_RATE / len(once))))


class Kit:
    """The kit in one folder: ``models``, ``sounds.npz`` and ``recordings.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def write_models(self, models_dir: Path, names: Sequence[str]) -> None:
        for name in names:
            shutil.copytree(models_dir / name, self.models / name, dirs_exist_ok=True)

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
