"""Recordings of a benchmark, with reference texts and speaker turns."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from batches.recognition import languages


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording. ``language`` is Whisper's code; ``reference`` is empty and ``rttm`` None if unknown."""

    path: Path
    seconds: float
    language: str
    reference: str = ""
    rttm: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path), "rttm": str(self.rttm) if self.rttm else None}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        rttm = document["rttm"]
        return cls(**{**document, "path": Path(document["path"]), "rttm": Path(rttm) if rttm else None})


# Reference text of pyannote.audio's sample: what three engines and the sample's own turns agree on.
SAMPLE_REFERENCE = (
    "Hello? Hello? Oh, hello. I didn't know you were there. Neither did I. Okay, then I thought, you know, "
    "I heard a beep. This is Diane in New Jersey. And I'm Sheila in Texas, originally from Chicago. "
    "Oh, I'm originally from Chicago also. I'm in New Jersey now though. Well, there isn't that much "
    "difference. At least, you know, they all call me a Yankee down here, so what can I say? "
    "Oh, I don't hear that in New Jersey now."
)


def own_sample() -> Recording:
    """The sample that pyannote.audio ships: half a minute of telephone speech. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("pyannote")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("pyannote.audio is not installed.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "audio" / "sample"
    return Recording(folder / "sample.wav", 30.0, "en", SAMPLE_REFERENCE, folder / "sample.rttm")


def read_manifest(manifest: Path) -> list[Recording]:
    """Read a TSV file with the columns file, seconds, language and, optionally, reference and rttm.

    Paths are relative to the manifest. Rows without seconds or with a language that Whisper does not know
    (broken files, noise, mixtures) are left out. Raises OSError, and ValueError where columns are missing.
    """
    csv.field_size_limit(1 << 24)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        if missing := {"file", "seconds", "language"} - set(rows.fieldnames or ()):
            raise ValueError(f"{manifest.name} has no column {', '.join(sorted(missing))}.")
        return [
            Recording(
                (manifest.parent / row["file"]).absolute(),
                float(row["seconds"]),
                row["language"],
                row.get("reference") or "",
                (manifest.parent / row["rttm"]).absolute() if row.get("rttm") else None,
            )
            for row in rows
            if row["seconds"] and row["language"] in languages.WHISPER
        ]
