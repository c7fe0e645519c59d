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
from batches.models.recognition_settings import SETTINGS, Choice, Number, RecognitionSettings, Setting
from batches.models.task_settings import TaskSettings
from batches.recognition.errors import RecognitionError
from batches.recognition.options import Options
from batches.recognition.registry import recognizer_names
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.transcript import Transcript
from batches.worker.engine_options import engine_options

# A file that is tried out has no batch: its language is detected, and speakers are separated on request.
DEFAULTS = {"language": "auto", "speakers": False}


class Command(BaseCommand):
    help = "Recognise media files and write their transcripts."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        for name, setting in SETTINGS.items():
            if setting.option:
                _add_option(parser, name, setting)
        parser.add_argument("--keywords", default="", help='words to expect: "a, b"')
        parser.add_argument(
            "--format", nargs="+", default=["txt"], choices=list(formats.FORMATS), dest="formats"
        )
        parser.add_argument("--output", type=Path, metavar="DIR", help="write FILE.FORMAT here")
        parser.add_argument("--model", default=settings.WHISPER_MODEL, help="a Whisper model by name or path")
        parser.add_argument("--speaker-model", default=settings.SPEAKER_MODEL, help="by name or folder")
        parser.add_argument("--models-dir", type=Path, help="the models folder, if not the configured one")
        parser.add_argument("--engine", default=settings.RECOGNITION_ENGINE, choices=recognizer_names())
        parser.add_argument("--threads", type=int, default=1, metavar="N")

    def handle(self, *_args: Any, **arguments: Any) -> None:
        files: list[Path] = arguments["files"]
        output: Path | None = arguments["output"]
        if output is None and len(arguments["formats"]) > 1:
            raise CommandError("Several formats need --output DIR.")
        if output is None and (binary := [n for n in arguments["formats"] if formats.FORMATS[n].binary]):
            raise CommandError(f"The format {binary[0]} needs --output DIR.")
        chosen = _settings(arguments)
        options = _options(chosen)
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
                self._write(path, transcript, chosen, arguments["formats"], output, several=len(files) > 1)
        if failed:
            sys.exit(1)

    def _write(
        self,
        path: Path,
        transcript: Transcript,
        chosen: TaskSettings,
        names: list[str],
        output: Path | None,
        *,
        several: bool,
    ) -> None:
        for name in names:
            document = formats.render(name, transcript, chosen.context(""))
            if output:
                extension = formats.FORMATS[name].extension
                (output / f"{path.name}{extension}").write_bytes(document)
                continue
            if several and name != "json":
                self.stdout.write(f"==> {path} <==")
            # JSON documents of several files are told apart by their own braces: a stream for jq.
            self.stdout.write(document.decode())


def _add_option(parser: argparse.ArgumentParser, name: str, setting: Setting) -> None:
    option, help_text = f"--{setting.option}", str(setting.help_text or setting.label)
    match setting:
        case Choice():
            parser.add_argument(option, dest=name, default=DEFAULTS[name], metavar="CODE", help=help_text)
        case Number():
            parser.add_argument(option, dest=name, type=int, metavar="N", help=help_text)
        case _:
            parser.add_argument(
                option, dest=name, action="store_true", default=DEFAULTS.get(name, False), help=help_text
            )


def _settings(arguments: dict[str, Any]) -> TaskSettings:
    recognition = {name: arguments[name] for name, setting in SETTINGS.items() if setting.option}
    if arguments["min_speakers"] is not None or arguments["max_speakers"] is not None:
        recognition["speakers"] = True
    keywords = tuple(word.strip() for word in arguments["keywords"].split(",") if word.strip())
    return TaskSettings(recognition=RecognitionSettings(**recognition), keywords=keywords)


def _options(chosen: TaskSettings) -> Options:
    try:
        return engine_options(chosen.recognition, keywords=chosen.keywords)
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
