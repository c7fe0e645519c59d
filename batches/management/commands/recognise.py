"""``manage.py recognise FILE...``: recognises files with the engine and its settings, without a database."""

from __future__ import annotations

import argparse
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from batches import formats
from batches.models.recognition_settings import SETTINGS, Choice, Number, RecognitionSettings, Setting
from batches.models.task_settings import TaskSettings
from batches.postprocessing import transcript as postprocessing
from batches.recognition.errors import RecognitionError
from batches.recognition.options import Options
from batches.recognition.registry import recogniser_names
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import EnginePool
from batches.recognition.transcript import Transcript
from batches.worker import engines, work_folder
from batches.worker.engine_options import engine_options

# Defaults without a batch: the language is detected, and speakers are separated on request.
DEFAULTS = {"language": "auto", "speakers": False}
LONG_CHOICE = 10


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
        parser.add_argument(
            "--model", default=settings.WHISPER_MODELS[0], help="a Whisper model by name or path"
        )
        parser.add_argument("--speaker-model", default=settings.SPEAKER_MODELS[0], help="by name or folder")
        parser.add_argument("--models-dir", type=Path, help="the models folder, if not the configured one")
        parser.add_argument("--engine", default=settings.RECOGNITION_ENGINE, choices=recogniser_names())
        parser.add_argument("--threads", type=int, default=settings.RECOGNITION_THREADS, metavar="N")
        parser.add_argument(
            "--device", default=settings.RECOGNITION_DEVICE, help="auto, cpu, cuda, cuda:1, ..."
        )

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
        with _recognised(files, options, arguments) as results:
            for path, result in zip(files, results, strict=True):
                try:
                    transcript = result.result()
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
        transcript = postprocessing.process(transcript, chosen.rules)
        for name in names:
            document = formats.render(name, transcript, chosen.context(""))
            if output:
                extension = formats.FORMATS[name].extension
                (output / f"{path.name}{extension}").write_bytes(document)
                continue
            if several and name != "json":
                self.stdout.write(f"==> {path} <==")
            # JSON documents of several files are concatenated, as a stream for jq.
            self.stdout.write(document.decode())


def _add_option(parser: argparse.ArgumentParser, name: str, setting: Setting) -> None:
    option, help_text = f"--{setting.option}", str(setting.help_text or setting.label)
    match setting:
        case Choice():
            default = DEFAULTS.get(name, getattr(RecognitionSettings(), name))
            help_text = f"{help_text} {_codes(setting)}".strip()
            parser.add_argument(option, dest=name, default=default, metavar="CODE", help=help_text)
        case Number():
            parser.add_argument(option, dest=name, type=int, metavar="N", help=help_text)
        case _:
            parser.add_argument(
                option, dest=name, action="store_true", default=DEFAULTS.get(name, False), help=help_text
            )


def _codes(setting: Choice) -> str:
    """Codes of a choice, for the help text; empty if there are too many, as of languages."""
    codes = [code for code, _label in setting.choices()]
    return f"({', '.join(codes)})" if len(codes) < LONG_CHOICE else ""


def _settings(arguments: dict[str, Any]) -> TaskSettings:
    recognition = {name: arguments[name] for name, setting in SETTINGS.items() if setting.option}
    if arguments["min_speakers"] is not None or arguments["max_speakers"] is not None:
        recognition["speakers"] = True
    keywords = tuple(word.strip() for word in arguments["keywords"].split(",") if word.strip())
    chosen = RecognitionSettings(**recognition)
    for name, errors in chosen.errors().items():
        # The engine checks the language: files alone may be in any of Whisper's, also by its own code.
        if name != "language":
            raise CommandError(f"--{SETTINGS[name].option}: {' '.join(errors[0].messages)}")
    return TaskSettings(recognition=chosen, keywords=keywords)


def _options(chosen: TaskSettings) -> Options:
    try:
        return engine_options(chosen.recognition, keywords=chosen.keywords)
    except ValueError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _recognised(
    files: Sequence[Path], options: Options, arguments: dict[str, Any]
) -> Iterator[list[Future[Transcript]]]:
    """Context manager: recognises the files, as many at once as the engines take; yields their futures."""
    devices = engines.devices(arguments["device"])
    each = engines.files_at_once(devices[0])
    pool = EnginePool(
        engines.config(
            models_dir=arguments["models_dir"],
            whisper_model=arguments["model"],
            speaker_model=arguments["speaker_model"],
            threads=arguments["threads"],
            engine=arguments["engine"],
        ),
        devices=devices[: len(files)],
        files_at_once=each,
        scratch=work_folder.engines_folder(),
    )
    workers = min(len(files), len(devices) * each)
    with pool.running() as endpoints, _Bar(files) as bar:
        clients: queue.SimpleQueue[RecognitionClient] = queue.SimpleQueue()
        for _ in range(workers):
            clients.put(RecognitionClient(endpoints, limits=engines.limits()))

        def recognise(number: int, path: Path) -> Transcript:
            client = clients.get()
            try:
                return _recognise(client, path, options, bar, number)
            finally:
                client.forget(path)
                bar.finish(number)
                clients.put(client)

        with ThreadPoolExecutor(workers) as threads:
            try:
                yield [threads.submit(recognise, number, path) for number, path in enumerate(files)]
            except BaseException:
                bar.stopped.set()
                threads.shutdown(cancel_futures=True)
                raise


class _Stopped(Exception):
    """Raised on Ctrl-C: the files in progress are abandoned."""


class _Bar:
    """Progress bar of all files together, on standard error."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.stopped = threading.Event()
        self._names = [path.name for path in files]
        self._shares = [0.0] * len(files)
        self._lock = threading.Lock()
        label = files[0].name if len(files) == 1 else f"{len(files)} files"
        self._bar = tqdm(
            total=100 * len(files), desc=label, file=sys.stderr, bar_format="{l_bar}{bar}| {postfix}"
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._bar.close()

    def show(self, number: int, share: float, stage: str) -> None:
        """Update the share of a file that is done, and its stage."""
        if self.stopped.is_set():
            raise _Stopped
        with self._lock:
            self._shares[number] = max(share, self._shares[number])
            several = len(self._names) > 1
            self._bar.set_postfix_str(f"{self._names[number]}: {stage}" if several else stage, refresh=False)
            self._bar.update(100 * sum(self._shares) - self._bar.n)

    def finish(self, number: int) -> None:
        """Count a file as done, also one that failed."""
        if not self.stopped.is_set():
            self.show(number, 1.0, "done")


def _recognise(client: RecognitionClient, path: Path, options: Options, bar: _Bar, number: int) -> Transcript:
    words = 0.8 if options.speakers else 1.0  # share of the work up to the recognised words
    transcript = client.transcribe(path, options, lambda share: bar.show(number, share * words, client.stage))
    if options.speakers:
        transcript = client.add_speakers(
            path,
            transcript,
            options,
            lambda share: bar.show(number, words + share * (1 - words), client.stage),
        )
    return transcript
