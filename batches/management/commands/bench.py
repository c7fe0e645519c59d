"""``manage.py bench``: compares this engine with other engines that run the same weights."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from batches.recognition.bench import random_checkpoint, report, variants
from batches.recognition.bench.recordings import Recording, own_sample, read_manifest
from batches.recognition.bench.shapes import SHAPES
from batches.recognition.models.memory import MIB
from batches.recognition.runtime.engine_process import clean_environment

# Environment variables that keep torch, oneDNN, MKL and CTranslate2 from using AVX-512 and AMX.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
}


class Command(BaseCommand):
    help = "Measure speed, memory and errors of this engine and of other engines, in turns."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--manifest", type=Path, metavar="TSV", help="recordings: file, seconds, language, ..."
        )
        parser.add_argument("--rounds", type=int, default=3, metavar="N")
        parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the variants, by their names")
        parser.add_argument("--speakers", action="store_true", help="measure speaker diarization too")
        parser.add_argument("--device", default=variants.CPU, choices=(variants.CPU, variants.GPU))
        parser.add_argument(
            "--files-at-once",
            type=int,
            default=1,
            metavar="N",
            help="files in hand, by engines that take several",
        )
        parser.add_argument("--batch-size", type=int, default=0, metavar="N", help="of the other engines")
        parser.add_argument(
            "--shape",
            choices=list(SHAPES),
            help="random weights of this model's size, to measure speed alone",
        )
        parser.add_argument(
            "--model", default=settings.WHISPER_MODELS[0], help="a Whisper model by name or path"
        )
        parser.add_argument("--speaker-model", default=settings.SPEAKER_MODELS[0], help="by name or folder")
        parser.add_argument(
            "--avx2", action="store_true", help="measure as on a processor without AVX-512 and AMX"
        )
        parser.add_argument("--threads", type=int, default=1, metavar="N")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")

    def handle(self, *_args: Any, **arguments: Any) -> None:
        recordings = _recordings(arguments["manifest"])
        device = arguments["device"]
        names = self._names(arguments["only"], device, speakers=arguments["speakers"])
        if min(arguments["rounds"], arguments["files_at_once"], arguments["threads"]) < 1:
            raise CommandError("--rounds, --files-at-once and --threads are at least 1.")
        with tempfile.TemporaryDirectory(prefix="speechportal-bench-") as scratch:
            rounds, failures = self._measure(names, recordings, arguments, Path(scratch))
        if not rounds:
            raise CommandError("\n".join(f"{name} failed:\n{error}" for name, error in failures.items()))
        if arguments["shape"]:
            recordings = [replace(recording, reference="") for recording in recordings]
        rows = [report.make_row(name, recordings, results) for name, results in rounds.items()]
        preferred = variants.REFERENCES[device]
        reference = preferred if preferred in rounds else rows[0].name
        wall = device == variants.GPU
        report.set_ratios(rows, reference, wall=wall)
        self.stdout.write(_headline(recordings, arguments))
        self.stdout.write(report.as_table(rows, reference, wall=wall, failures=failures))
        if arguments["json"]:
            conditions = {
                key: arguments[key]
                for key in (
                    "device",
                    "threads",
                    "rounds",
                    "files_at_once",
                    "batch_size",
                    "avx2",
                    "shape",
                    "model",
                )
            }
            document = report.as_document(rows, recordings, reference, conditions, failures)
            arguments["json"].write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _names(self, only: list[str] | None, device: str, *, speakers: bool) -> list[str]:
        """Variants to measure: all that can run here. The others are named on standard error."""
        if unknown := set(only or ()) - set(variants.ALL):
            raise CommandError(f"Unknown: {', '.join(sorted(unknown))}. There is: {', '.join(variants.ALL)}.")
        names = []
        for name in only or variants.names(device, speakers=speakers):
            if reason := variants.missing(name, device):
                self.stderr.write(f"{name} is left out: {reason}")
            else:
                names.append(name)
        if not names:
            raise CommandError("There is nothing to measure.")
        return names

    def _measure(
        self, names: list[str], recordings: list[Recording], arguments: dict[str, Any], scratch: Path
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        """Measure the variants in turn.

        Returns the results by variant, one per round, and the errors of variants that failed, which are not
        run again and have no results.
        """
        model = arguments["model"]
        if arguments["shape"]:
            self.stderr.write(f"writing random weights of the size of {arguments['shape']}")
            model = str(random_checkpoint.make_checkpoint(arguments["shape"], scratch / "shapes").path)
        setup = variants.Setup(
            models_dir=settings.MODELS_DIR,
            whisper_model=model,
            speaker_model=arguments["speaker_model"],
            threads=arguments["threads"],
            cache=scratch / "weights",
            avx2=arguments["avx2"],
            device=arguments["device"],
            files_at_once=arguments["files_at_once"],
            batch_size=arguments["batch_size"],
            memory_limit=settings.RECOGNITION_MEMORY_MB * MIB,
            gpu_memory=settings.GPU_MEMORY_MB * MIB,
            trusted_pipelines=tuple(settings.TRUSTED_PIPELINES),
        )
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        failures: dict[str, str] = {}
        for number in range(1, arguments["rounds"] + 1):
            for name in list(results):
                self.stderr.write(f"round {number} of {arguments['rounds']}: {name}")
                try:
                    results[name].append(_run(name, setup, recordings, scratch))
                except VariantFailed as error:
                    self.stderr.write(f"{name} failed:\n{error}")
                    failures[name] = str(error)
                    del results[name]
        return results, failures


class VariantFailed(Exception):
    """The process of a variant ended with an error; with the end of its standard error."""


def _headline(recordings: list[Recording], arguments: dict[str, Any]) -> str:
    """Conditions of the measurement, in one paragraph above the table."""
    minutes = sum(recording.seconds for recording in recordings) / 60
    parts = [
        f"{report.processor()}{', AVX2 alone' if arguments['avx2'] else ''}",
        *([report.graphics_card()] if arguments["device"] == variants.GPU else []),
        f"{arguments['threads']} thread(s)",
        *([f"{arguments['files_at_once']} files at once"] if arguments["files_at_once"] > 1 else []),
        f"{len(recordings)} recordings of {minutes:.1f} minutes",
        f"medians of {arguments['rounds']} rounds",
    ]
    if arguments["shape"]:
        parts.append(
            f"random weights of the size of {arguments['shape']}: "
            f"{random_checkpoint.TOKENS} tokens in each window, no end of text before that, "
            "no loops to find; texts, times and scores mean nothing"
        )
    return ", ".join(parts)


def _recordings(manifest: Path | None) -> list[Recording]:
    if manifest is None:
        return [own_sample()]
    try:
        recordings = read_manifest(manifest)
    except (OSError, ValueError) as error:
        raise CommandError(f"The manifest cannot be read: {error}") from error
    if not recordings:
        raise CommandError("The manifest names no recording with a length and a language.")
    return recordings


def _environment(setup: variants.Setup, scratch: Path) -> dict[str, str]:
    """Environment of the recognition process, with ``ffmpeg`` on the path for whisper's command line."""
    programs = scratch / "bin"
    if not programs.is_dir():
        programs.mkdir()
        (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    environment = clean_environment(setup.threads, scratch, os.environ)
    if setup.avx2:
        environment |= AVX2
    return {**environment, "PATH": f"{programs}{os.pathsep}{environment.get('PATH', os.defpath)}"}


def _run(name: str, setup: variants.Setup, recordings: list[Recording], scratch: Path) -> dict[str, Any]:
    """Run one measurement in a process with a clean environment. Raises VariantFailed."""
    job, result = scratch / "job.json", scratch / "result.json"
    document = {
        "variant": name,
        "setup": {**asdict(setup), "models_dir": str(setup.models_dir), "cache": str(setup.cache)},
        "recordings": [recording.to_dict() for recording in recordings],
    }
    job.write_text(json.dumps(document), encoding="utf-8")
    result.unlink(missing_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "batches.recognition.bench.runner", str(job), str(result)],
        env=_environment(setup, scratch),
        cwd=scratch,
        stderr=subprocess.PIPE,
        check=False,
    )
    if process.returncode:
        errors = process.stderr.decode(errors="replace").strip()
        raise VariantFailed(errors[-2000:] or f"it ended with status {process.returncode}")
    loaded: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return loaded
