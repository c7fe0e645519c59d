"""``manage.py recognise FILE...``: the recognition engine on files, without a database."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from batches import formats
from batches.recognition.errors import RecognitionError
from batches.recognition.options import ENGINES, Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.transcript import Transcript


class Command(BaseCommand):
    help = "Recognise media files and write their transcripts."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument(
            "--language", default="auto", metavar="CODE", help="e.g. ko-KR, en, enko; or auto"
        )
        parser.add_argument("--speakers", action="store_true", help="say who speaks")
        parser.add_argument("--min-speakers", type=int, default=-1, metavar="N")
        parser.add_argument("--max-speakers", type=int, default=-1, metavar="N")
        parser.add_argument("--channels", action="store_true", help="each channel of a file is a speaker")
        parser.add_argument("--keywords", default="", help='words to expect: "a, b"')
        parser.add_argument(
            "--format", nargs="+", default=["txt"], choices=list(formats.FORMATS), dest="formats"
        )
        parser.add_argument("--output", type=Path, metavar="DIR", help="write FILE.FORMAT here")
        parser.add_argument("--model", default=settings.WHISPER_MODEL, help="a Whisper model by name or path")
        parser.add_argument("--speaker-model", default=settings.SPEAKER_MODEL, help="by name or folder")
        parser.add_argument("--models-dir", type=Path, help="the models folder, if not the configured one")
        parser.add_argument("--engine", default=settings.RECOGNITION_ENGINE, choices=ENGINES)
        parser.add_argument("--threads", type=int, default=1, metavar="N")

    def handle(self, *_args: Any, **arguments: Any) -> None:
        files: list[Path] = arguments["files"]
        output: Path | None = arguments["output"]
        if output is None and len(arguments["formats"]) > 1:
            raise CommandError("Several formats need --output DIR.")
        options = _options(arguments)
        if output:
            output.mkdir(parents=True, exist_ok=True)
        failed = 0
        with RecognitionClient(
            models_dir=arguments["models_dir"] or settings.MODELS_DIR,
            whisper_model=arguments["model"],
            speaker_model=arguments["speaker_model"],
            threads=arguments["threads"],
            engine=arguments["engine"],
        ) as client:
            for path in files:
                try:
                    transcript = _recognise(client, path, options)
                except RecognitionError as error:
                    failed += 1
                    self.stderr.write(f"{path}: {error.message}")
                    continue
                self._write(path, transcript, options, arguments["formats"], output, several=len(files) > 1)
        if failed:
            sys.exit(1)

    def _write(
        self,
        path: Path,
        transcript: Transcript,
        options: Options,
        names: list[str],
        output: Path | None,
        *,
        several: bool,
    ) -> None:
        for name in names:
            text = formats.render(name, transcript, _context(options))
            if output:
                (output / f"{path.name}.{name}").write_text(text, encoding="utf-8")
                continue
            if several and name != "json":
                self.stdout.write(f"==> {path} <==")
            # JSON documents of several files are told apart by their own braces: a stream for jq.
            self.stdout.write(text)


def _context(options: Options) -> formats.Context:
    return formats.Context(
        language=options.language,
        diarization=options.speakers or options.channels,
        min_speakers=options.min_speakers,
        max_speakers=options.max_speakers,
        keywords=tuple(options.keywords),
    )


def _options(arguments: dict[str, Any]) -> Options:
    least, most = arguments["min_speakers"], arguments["max_speakers"]
    try:
        return Options(
            language=arguments["language"],
            keywords=[word.strip() for word in arguments["keywords"].split(",") if word.strip()],
            speakers=arguments["speakers"] or least != -1 or most != -1,
            channels=arguments["channels"],
            min_speakers=least,
            max_speakers=most,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error


def _recognise(client: RecognitionClient, path: Path, options: Options) -> Transcript:
    with tqdm(total=100, desc=path.name, file=sys.stderr, bar_format="{l_bar}{bar}| {postfix}") as bar:

        def show(fraction: float) -> None:
            bar.set_postfix_str(client.stage, refresh=False)
            bar.update(100 * fraction - bar.n)

        transcript = client.transcribe(path, options, show)
        if options.speakers:
            bar.reset()
            transcript = client.add_speakers(path, transcript, options, show)
    return transcript
