"""Overhead of the portal over the bare engine, on real speech.

    .venv/bin/python -m tests.bench_overhead [--files 8] [--seconds 60] [--rounds 3] [--speakers]

The same recordings (pyannote.audio's sample, repeated) are recognised by the engine in one process, and by a
portal with one worker through a local folder: found, claimed, fetched, recognised in its child process,
written in two formats, charged, moved. They take turns, both with warm models; the medians count. CPU time is
that of all processes, the polling and the waiting ones too; the time of the portal runs from the start of the
first file to the end of the last. Ends with status 1 when the portal takes over 5 % more of either.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench_workers import ROOT, Portal, prepare, seconds_for, spent_by_processes

WANTED = 1.05


@dataclass(frozen=True)
class Cost:
    cpu: float  # seconds
    wall: float


def recording(folder: Path, seconds: int) -> Path:
    """Recording of the given length: the sample repeated, without its silent beginning."""
    from tests.sample_speech import sample_folder

    path = folder / "recording.wav"
    with wave.open(str(sample_folder() / "sample.wav")) as sample, wave.open(str(path), "wb") as long:
        long.setparams(sample.getparams())
        rate = sample.getframerate()
        sample.setpos(6 * rate)
        speech = sample.readframes(sample.getnframes())
        size = seconds * rate * sample.getsampwidth()
        long.writeframes((speech * (size // len(speech) + 1))[:size])
    return path


def bare(path: Path, files: int, *, speakers: bool, engine: str) -> None:
    """Recognise with the bare engine, in a separate process; prints the cost as JSON."""
    from batches.recognition.options import Options
    from batches.recognition.runtime.engine import Engine

    options = Options(language="en-US", speakers=speakers)
    working = Engine(models_dir=Path(os.environ["SPEECHPORTAL_MODELS_DIR"]), threads=1, recogniser=engine)

    def recognise(number: int) -> None:
        copy = Path(shutil.copy(path, path.with_name(f"bare-{number}.wav")))
        audio = working.load_audio(copy, options, lambda _stage, _share: None)
        transcript = working.transcribe(audio, options, lambda _stage, _share: None)
        if speakers:
            working.add_speakers(audio, transcript, options, lambda _stage, _share: None)

    recognise(0)  # warm
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    for number in range(1, files + 1):
        recognise(number)
    print(json.dumps({"cpu": sum(os.times()[:4]) - cpu, "wall": time.perf_counter() - wall}))


def bare_cost(folder: Path, path: Path, options: argparse.Namespace) -> Cost:
    from batches.recognition.runtime.engine_process import clean_environment

    environ = clean_environment(1, folder, os.environ)
    environ["SPEECHPORTAL_MODELS_DIR"] = os.environ["SPEECHPORTAL_MODELS_DIR"]
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench_overhead", "--bare", str(path)]
    command += ["--files", str(options.files), "--engine", options.engine]
    command += ["--speakers"] if options.speakers else []
    ended = subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(ended.stdout.splitlines()[-1]))


def portal_cost(folder: Path, path: Path, options: argparse.Namespace) -> Cost:
    with Portal(folder, 1, speakers=options.speakers) as portal:
        portal.batch.formats = ["json", "srt"]
        portal.batch.save()
        portal.recognise(1, path)
        before = spent_by_processes()
        tasks: list[Any] = portal.recognise(options.files, path)
        after = spent_by_processes()
    cpu = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
    return Cost(cpu, seconds_for(options.files, tasks))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_overhead", description=__doc__)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=60, help="length of a recording")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speakers", action="store_true")
    parser.add_argument("--engine", default="whisper")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare, options.files, speakers=options.speakers, engine=options.engine)
        return 0
    found: dict[str, list[Cost]] = {"engine": [], "portal": []}
    with tempfile.TemporaryDirectory(prefix="speechportal-overhead-") as name:
        folder = Path(name)
        prepare(folder, options.engine)
        (folder / "log").mkdir()
        path = recording(folder, options.seconds)
        print(
            f"{options.files} files of {options.seconds} s; load before: {os.getloadavg()[0]:.2f}", flush=True
        )
        for _ in range(options.rounds):
            for who, measure in (("engine", bare_cost), ("portal", portal_cost)):
                cost = measure(folder, path, options)
                found[who].append(cost)
                print(f"  {who}: {cost.cpu:.1f} s of CPU time, {cost.wall:.1f} s", flush=True)
    kept = True
    for what in ("cpu", "wall"):
        engine, portal = (statistics.median(getattr(cost, what) for cost in found[who]) for who in found)
        kept = kept and portal <= WANTED * engine
        ratio = portal / engine
        print(f"{what}: portal {portal:.1f} s, bare engine {engine:.1f} s: {ratio:.3f} (wanted: {WANTED})")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
