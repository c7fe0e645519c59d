"""`Recording`: decoded audio, written by the client and memory-mapped by the engine process.

The client stores the audio in unnamed files and sends their descriptors; nothing is copied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batches.recognition.errors import NotMedia
from batches.recognition.media.decoding import Audio, Samples
from batches.recognition.media.sounds import decode_sounds
from batches.recognition.options import Options

_SAMPLE_BYTES = np.dtype("<f4").itemsize


@dataclass(slots=True)
class Recording:
    """Decoded audio: mixed down, or each track or channel with its speaker's label."""

    sounds: list[tuple[str, Audio]]

    @classmethod
    def decoded(
        cls,
        path: Path,
        options: Options,
        scratch: Path,
        progress: Callable[[float], None],
        *,
        processes: int = 1,
    ) -> Recording:
        """Decode a file into unnamed files in ``scratch``. Raises MediaError.

        Uses up to ``processes`` processes.
        """
        if not path.is_file():
            raise NotMedia("This is not a file.")
        return cls(decode_sounds(path, options, progress, scratch=scratch, processes=processes))

    @classmethod
    def received(cls, content: dict[str, Any], descriptors: Sequence[int]) -> Recording:
        """Map a client's audio files. The caller keeps the descriptors. Raises ValueError and OSError."""
        described = content["sounds"]
        if len(described) != len(descriptors) or not described:
            raise ValueError("a recording needs a descriptor for each of its sounds")
        return cls(
            [
                (
                    str(sound["label"]),
                    Audio(
                        _map(descriptor),
                        bool(sound["truncated"]),
                        missing=int(sound.get("missing", 0)),
                        tracks_left_out=int(sound.get("tracks_left_out", 0)),
                    ),
                )
                for sound, descriptor in zip(described, descriptors, strict=True)
            ]
        )

    def described(self) -> list[dict[str, Any]]:
        """JSON part of the message."""
        return [
            {
                "label": label,
                "truncated": audio.truncated,
                "missing": audio.missing,
                "tracks_left_out": audio.tracks_left_out,
            }
            for label, audio in self.sounds
        ]

    def descriptors(self) -> list[int]:
        """Descriptors of the sample files, in the order of the sounds."""
        return [audio.descriptor() for _, audio in self.sounds]

    @property
    def seconds(self) -> float:
        return max(audio.duration for _, audio in self.sounds) / 1000


def _map(descriptor: int) -> Samples:
    size = os.fstat(descriptor).st_size
    if size == 0 or size % _SAMPLE_BYTES:
        raise ValueError("a sound holds whole samples, and at least one")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        # A private mapping: writes of a library to the samples stay in this process.
        return np.memmap(file, dtype="<f4", mode="c", shape=(size // _SAMPLE_BYTES,))
