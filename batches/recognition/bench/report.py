"""From single measurements to medians, ratios and a table."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.scoring import diarization_errors, error_counts, read_rttm, repeated_words
from batches.recognition.transcript import SpeakerTurn


@dataclass(slots=True)
class Row:
    """One variant over all rounds. Rates are None where there is no reference."""

    name: str
    cpu_per_minute: float  # CPU seconds per minute of sound, median of the rounds
    cpu_rounds: list[float]
    wall_per_minute: float
    peak_mb: float  # the largest of the rounds
    load_cpu: float
    load_wall: float
    error_rates: dict[str, float]  # by language: words, or characters where these are counted
    repeated: int | None  # words said again and again
    diarization_error: float | None
    ratio: float = 1.0  # of the CPU seconds to those of the reference variant, median of the rounds' ratios


def make_row(name: str, recordings: Sequence[Recording], rounds: Sequence[Mapping[str, Any]]) -> Row:
    minutes = sum(recording.seconds for recording in recordings) / 60
    last = rounds[-1]["found"]
    texts = any(each["text"] for each in last)
    return Row(
        name,
        cpu_per_minute=median(each["cpu"] for each in rounds) / minutes,
        cpu_rounds=[each["cpu"] / minutes for each in rounds],
        wall_per_minute=median(each["wall"] for each in rounds) / minutes,
        peak_mb=max(each["peak_mb"] for each in rounds),
        load_cpu=median(each["load_cpu"] for each in rounds),
        load_wall=median(each["load_wall"] for each in rounds),
        error_rates=_error_rates(recordings, last) if texts else {},
        repeated=sum(repeated_words(each["text"]) for each in last) if texts else None,
        diarization_error=_diarization_error(recordings, last),
    )


def _error_rates(recordings: Sequence[Recording], found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    counts: dict[str, tuple[int, int]] = {}
    for recording, each in zip(recordings, found, strict=True):
        if recording.reference:
            wrong, total = error_counts(recording.reference, each["text"], recording.language)
            before = counts.get(recording.language, (0, 0))
            counts[recording.language] = (before[0] + wrong, before[1] + total)
    return {language: wrong / total for language, (wrong, total) in sorted(counts.items()) if total}


def _diarization_error(recordings: Sequence[Recording], found: Sequence[Mapping[str, Any]]) -> float | None:
    wrong = total = 0.0
    for recording, each in zip(recordings, found, strict=True):
        if recording.rttm and each["turns"]:
            turns = [SpeakerTurn(**turn) for turn in each["turns"]]
            more = diarization_errors(read_rttm(recording.rttm), turns, recording.seconds)
            wrong, total = wrong + more[0], total + more[1]
    return wrong / total if total else None


def set_ratios(rows: Sequence[Row], reference: str) -> None:
    """In place. Rounds are compared one by one, since each met the same state of the machine."""
    found = next((row for row in rows if row.name == reference), rows[0])
    for row in rows:
        pairs = zip(row.cpu_rounds, found.cpu_rounds, strict=True)
        row.ratio = median(mine / theirs for mine, theirs in pairs)


def as_table(rows: Sequence[Row], reference: str) -> str:
    """A table in Markdown."""
    head = ["", f"CPU, ratio to {reference}", "CPU s / min", "wall s / min", "peak MB", "load CPU s"]
    lines = [[*head, "word errors (zh ja ko: characters)", "words in loops", "speaker errors"]]
    for row in rows:
        errors = ", ".join(f"{language} {100 * rate:.1f} %" for language, rate in row.error_rates.items())
        lines.append(
            [
                row.name,
                f"{row.ratio:.2f}",
                f"{row.cpu_per_minute:.2f}",
                f"{row.wall_per_minute:.2f}",
                f"{row.peak_mb:.0f}",
                f"{row.load_cpu:.1f}",
                errors or "-",
                "-" if row.repeated is None else str(row.repeated),
                "-" if row.diarization_error is None else f"{100 * row.diarization_error:.1f} %",
            ]
        )
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_document(rows: Sequence[Row], recordings: Sequence[Recording], reference: str) -> dict[str, Any]:
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "recordings": len(recordings),
        "seconds": sum(recording.seconds for recording in recordings),
        "ratio_to": reference,
        "variants": [asdict(row) for row in rows],
    }


def processor() -> str:
    """The processor's name and the instructions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in pairs}
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    flags = [name for name in known if name in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.processor())} ({', '.join(flags)})"
