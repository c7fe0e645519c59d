"""Sample recording: a telephone conversation that pyannote.audio ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def sample_path() -> Path:
    """Path of the sample, 30 s with two speakers, found without importing pyannote.audio."""
    spec = importlib.util.find_spec("pyannote")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("pyannote.audio is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "audio" / "sample" / "sample.wav"
