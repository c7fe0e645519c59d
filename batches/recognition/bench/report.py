"""Benchmark report: medians and ratios of single measurements, as a table and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.scoring import (
    DiarizationErrors,
    diarization_errors,
    error_counts,
    read_rttm,
    repeated_words,
)
from batches.recognition.transcript import SpeakerTurn

NO_FAILURES: Mapping[str, str] = MappingProxyType({})
_LONGEST_ERROR = 200  # characters of an error in a table


@dataclass(slots=True)
class Row:
    """One variant over all rounds. Rates are None where there is no reference."""

    name: str
    cpu_per_minute: float  # CPU seconds per minute of sound, median of the rounds
    cpu_rounds: list[float]
    wall_per_minute: float
    wall_rounds: list[float]
    peak_mb: float  # the largest of the rounds
    gpu_peak_mb: float  # the same of the GPU's memory; 0 without one
    load_cpu: float
    load_wall: float
    error_rates: dict[str, float]  # by language: words, or characters where these are counted
    repeated: int | None  # words in loops
    diarization: DiarizationErrors | None
    ratio: float = 1.0  # to the reference variant, median of the rounds' ratios

    @property
    def times_real_time(self) -> float:
        return 60 / self.wall_per_minute


def make_row(name: str, recordings: Sequence[Recording], rounds: Sequence[Mapping[str, Any]]) -> Row:
    """A variant's row, from the results that the runner wrote in each round."""
    minutes = sum(recording.seconds for recording in recordings) / 60
    last = rounds[-1]["found"]
    texts = any(each["text"] for each in last)
    return Row(
        name,
        cpu_per_minute=median(each["cpu"] for each in rounds) / minutes,
        cpu_rounds=[each["cpu"] / minutes for each in rounds],
        wall_per_minute=median(each["wall"] for each in rounds) / minutes,
        wall_rounds=[each["wall"] / minutes for each in rounds],
        peak_mb=max(each["peak_mb"] for each in rounds),
        gpu_peak_mb=max(each["gpu_peak_mb"] for each in rounds),
        load_cpu=median(each["load_cpu"] for each in rounds),
        load_wall=median(each["load_wall"] for each in rounds),
        error_rates=_error_rates(recordings, last) if texts else {},
        repeated=sum(repeated_words(each["text"]) for each in last) if texts else None,
        diarization=_diarization(recordings, last),
    )


def _error_rates(recordings: Sequence[Recording], found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    counts: dict[str, tuple[int, int]] = {}
    for recording, each in zip(recordings, found, strict=True):
        if recording.reference:
            wrong, total = error_counts(recording.reference, each["text"], recording.language)
            before = counts.get(recording.language, (0, 0))
            counts[recording.language] = (before[0] + wrong, before[1] + total)
    return {language: wrong / total for language, (wrong, total) in sorted(counts.items()) if total}


def _diarization(
    recordings: Sequence[Recording], found: Sequence[Mapping[str, Any]]
) -> DiarizationErrors | None:
    total = DiarizationErrors()
    for recording, each in zip(recordings, found, strict=True):
        if recording.rttm and each["turns"]:
            turns = [SpeakerTurn(**turn) for turn in each["turns"]]
            total += diarization_errors(read_rttm(recording.rttm), turns, recording.seconds)
    return total if total.speech else None


def set_ratios(rows: Sequence[Row], reference: str, *, wall: bool = False) -> None:
    """Set each row's ratio to the reference, of CPU seconds or of ``wall`` clock seconds.

    Rounds are compared one by one, since the variants of a round ran in the same state of the machine.
    """
    found = next((row for row in rows if row.name == reference), rows[0])
    for row in rows:
        mine, theirs = (row.wall_rounds, found.wall_rounds) if wall else (row.cpu_rounds, found.cpu_rounds)
        row.ratio = median(a / b for a, b in zip(mine, theirs, strict=True))


def as_table(
    rows: Sequence[Row], reference: str, *, wall: bool = False, failures: Mapping[str, str] = NO_FAILURES
) -> str:
    """A table in Markdown. ``failures`` are the errors of variants without results, by name."""
    head = ["", f"{'time' if wall else 'CPU'}, ratio to {reference}", "CPU s / min", "wall s / min"]
    head += ["x real time", "peak MB", *(["GPU MB"] if wall else []), "load CPU s"]
    lines = [
        [
            *head,
            "word errors (zh ja ko: characters)",
            "words in loops",
            "speaker errors",
            "missed + false alarm + confusion",
        ]
    ]
    for row in rows:
        errors = ", ".join(f"{language} {100 * rate:.1f} %" for language, rate in row.error_rates.items())
        lines.append(
            [
                row.name,
                f"{row.ratio:.2f}",
                f"{row.cpu_per_minute:.2f}",
                f"{row.wall_per_minute:.3g}",
                f"{row.times_real_time:,.0f}" if row.times_real_time >= 10 else f"{row.times_real_time:.1f}",
                f"{row.peak_mb:.0f}",
                *([f"{row.gpu_peak_mb:.0f}"] if wall else []),
                f"{row.load_cpu:.1f}",
                errors or "-",
                "-" if row.repeated is None else str(row.repeated),
                *_diarization_cells(row.diarization),
            ]
        )
    for name, error in failures.items():
        last = (error.strip().splitlines() or [""])[-1].replace("|", "/")
        lines.append([name, f"failed: {last[:_LONGEST_ERROR]}", *["-"] * (len(lines[0]) - 2)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _diarization_cells(errors: DiarizationErrors | None) -> tuple[str, str]:
    if errors is None:
        return "-", "-"
    kinds = (errors.missed, errors.false_alarm, errors.confusion)
    return f"{100 * errors.rate:.1f} %", " + ".join(f"{100 * kind / errors.speech:.1f}" for kind in kinds)


def as_document(
    rows: Sequence[Row],
    recordings: Sequence[Recording],
    reference: str,
    conditions: Mapping[str, Any],
    failures: Mapping[str, str] = NO_FAILURES,
) -> dict[str, Any]:
    """The report as JSON. ``conditions`` are those of the measurement, such as threads and the device."""
    return {
        **conditions,
        "processor": processor(),
        "python": platform.python_version(),
        "recordings": len(recordings),
        "seconds": sum(recording.seconds for recording in recordings),
        "ratio_to": reference,
        "variants": [_as_document(row) for row in rows],
        "failures": dict(failures),
    }


def _as_document(row: Row) -> dict[str, Any]:
    document = {**asdict(row), "times_real_time": row.times_real_time}
    if row.diarization:
        document["diarization"]["rate"] = row.diarization.rate
    return document


def processor() -> str:
    """Name of the processor and its instruction sets that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in pairs}
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    flags = [name for name in known if name in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.processor())} ({', '.join(flags)})"


def graphics_card() -> str:
    """Name of the first GPU."""
    import torch

    return str(torch.cuda.get_device_name())
