"""``manage.py bench``: this engine against whisper's command line, faster-whisper and pyannote."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from batches.recognition.bench import report, variants
from batches.recognition.bench.recordings import Recording, own_sample, read_manifest
from batches.recognition.runtime.engine_process import clean_environment

# What torch, oneDNN, MKL and CTranslate2 take for the word that there is no AVX-512.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
}


class Command(BaseCommand):
    help = "Measure speed, memory and errors of this engine and of its peers, in turns."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--manifest", type=Path, metavar="TSV", help="recordings: file, seconds, language, ..."
        )
        parser.add_argument("--rounds", type=int, default=3, metavar="N")
        parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the variants, by their names")
        parser.add_argument("--speakers", action="store_true", help="measure the separation of speakers too")
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
        names = self._names(arguments["only"], speakers=arguments["speakers"])
        with tempfile.TemporaryDirectory(prefix="speechportal-bench-") as scratch:
            rounds = self._measure(names, recordings, arguments, Path(scratch))
        rows = [report.make_row(name, recordings, rounds[name]) for name in names]
        reference = variants.FASTER_INT8 if variants.FASTER_INT8 in names else names[0]
        report.set_ratios(rows, reference)
        minutes = sum(recording.seconds for recording in recordings) / 60
        self.stdout.write(
            f"{report.processor()}{', AVX2 alone' if arguments['avx2'] else ''}, "
            f"{arguments['threads']} thread(s), {len(recordings)} recordings of "
            f"{minutes:.1f} minutes, medians of {arguments['rounds']} rounds"
        )
        self.stdout.write(report.as_table(rows, reference))
        if arguments["json"]:
            document = report.as_document(rows, recordings, reference)
            arguments["json"].write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _names(self, only: list[str] | None, *, speakers: bool) -> list[str]:
        """What is measured: all that is installed. What is not is named."""
        every = [*variants.TEXT, *variants.TURNS]
        if unknown := set(only or ()) - set(every):
            raise CommandError(f"Unknown: {', '.join(sorted(unknown))}. There is: {', '.join(every)}.")
        chosen = only or [*variants.TEXT, *(variants.TURNS if speakers else ())]
        names = []
        for name in chosen:
            if remedy := variants.missing(name):
                self.stderr.write(f"{name} is left out: {remedy}")
            else:
                names.append(name)
        if not names:
            raise CommandError("There is nothing to measure.")
        return names

    def _measure(
        self, names: list[str], recordings: list[Recording], arguments: dict[str, Any], scratch: Path
    ) -> dict[str, list[dict[str, Any]]]:
        """Results by variant, one for each round. The variants take turns."""
        setup = variants.Setup(
            models_dir=settings.MODELS_DIR,
            whisper_model=arguments["model"],
            speaker_model=arguments["speaker_model"],
            threads=arguments["threads"],
            cache=scratch / "weights",
            avx2=arguments["avx2"],
        )
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for number in range(1, arguments["rounds"] + 1):
            for name in names:
                self.stderr.write(f"round {number} of {arguments['rounds']}: {name}")
                results[name].append(_run(name, setup, recordings, scratch))
        return results


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
    """As the child's, with an ``ffmpeg`` on the path: whisper's command line calls it by that name."""
    programs = scratch / "bin"
    if not programs.is_dir():
        programs.mkdir()
        (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    environment = clean_environment(setup.threads, scratch, os.environ)
    if setup.avx2:
        environment |= AVX2
    return {**environment, "PATH": f"{programs}{os.pathsep}{environment.get('PATH', os.defpath)}"}


def _run(name: str, setup: variants.Setup, recordings: list[Recording], scratch: Path) -> dict[str, Any]:
    """One measurement, in a process with a clean environment."""
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
        raise CommandError(f"{name} failed:\n{process.stderr.decode(errors='replace')[-2000:]}")
    loaded: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return loaded
