"""Engine process: ``python -m batches.recognition.runtime.server``, started by the pool's owner.

It listens on an inherited socket, implements :mod:`batches.recognition.runtime.protocol`, and recognises the
files of all clients at once, with one thread per request. Models load at the start or with the first request
that names them; a pair that no request uses is unloaded before another is loaded. The process has no secrets,
no network, and access only to the models and its scratch folder; audio arrives as descriptors of files that
the clients have decoded.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batches.recognition.errors import (
    NO_ROOM,
    HostExhausted,
    RecognitionError,
    UnexpectedFailure,
    WorkDiskFull,
    is_exhausted,
)
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.runtime import memory, sandbox
from batches.recognition.runtime.load_errors import as_installation_faults, is_hopeless
from batches.recognition.runtime.pool import MEMORY_LIMIT_FILE
from batches.recognition.runtime.protocol import VERSION, Channel, ChannelClosed, Message

if TYPE_CHECKING:
    from batches.recognition.options import Options
    from batches.recognition.runtime.engine import Engine, LoadedAudio
    from batches.recognition.transcript import Segment

Models = tuple[str, str]  # names of the speech model and of the speaker model

_PROGRESS_SECONDS = 0.5  # between two progress reports of one file
_DEVICE_LOST = 71  # exit status
logger = logging.getLogger("engine")


class RequestCancelled(Exception):
    """The client has cancelled the request."""


class Server:
    """Server that accepts clients and owns the engine that they share."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._loading = threading.Lock()
        self._engines: dict[Models, Engine] = {}
        self._limits: dict[Models, int] = {}  # memory limit of each pair in bytes
        self._users: Counter[Models] = Counter()  # running requests of each pair

    def serve(self, listener: socket.socket) -> None:
        """Serve clients until this process is ended."""
        if self._arguments.preload:
            threading.Thread(target=self._preload, daemon=True).start()
        while True:
            connection, _ = listener.accept()
            channel = Channel(connection, takes_descriptors=True)
            threading.Thread(target=Connection(self, channel).serve, daemon=True).start()

    def models_of(self, options: Options) -> Models:
        """Model pair of a request; the configured one if the request names none."""
        arguments = self._arguments
        return (
            options.whisper_model or arguments.whisper_model,
            options.speaker_model or arguments.speaker_model,
        )

    @contextmanager
    def engine(self, models: Models) -> Iterator[Engine]:
        """Engine with these models loaded. The next request tries again after an error.

        Unused pairs are unloaded before another is loaded. Raises ModelUnavailable, and EngineUnavailable for
        any other error of loading, which no file has caused.
        """
        with self._loading:
            if models not in self._engines:
                with as_installation_faults():
                    self._load(models)
            self._users[models] += 1
        try:
            yield self._engines[models]
        finally:
            self._users[models] -= 1

    def loaded(self, models: Models) -> bool:
        return models in self._engines

    def _load(self, models: Models) -> None:
        from batches.recognition.runtime.engine import Engine
        from batches.recognition.runtime.memory_check import require_memory

        for idle in [each for each in self._engines if not self._users[each]]:
            self._engines.pop(idle).close()
            self._limits.pop(idle)
        gc.collect()
        memory.release()
        arguments, (whisper_model, speaker_model) = self._arguments, models
        limit = require_memory(
            arguments.models_dir,
            whisper_model,
            recogniser=arguments.engine,
            device=arguments.device,
            batch_size=arguments.batch_size,
            gpu_memory=arguments.gpu_memory,
        )
        self._note_limit({**self._limits, models: limit})
        engine = Engine(
            models_dir=arguments.models_dir,
            whisper_model=whisper_model,
            speaker_model=speaker_model,
            threads=arguments.threads,
            batch_size=arguments.batch_size,
            device=arguments.device,
            recogniser=arguments.engine,
            gpu_memory=arguments.gpu_memory,
            trusted_pipelines=arguments.trusted_pipeline,
        )
        engine.load()
        self._engines[models], self._limits[models] = engine, limit

    def _note_limit(self, limits: dict[Models, int]) -> None:
        """Write this process's memory limit to a file for the owner; 0 for no limit."""
        total = sum(limits.values()) if all(limits.values()) else 0
        path = self._arguments.home / MEMORY_LIMIT_FILE
        part = path.with_suffix(".part")
        part.write_text(str(total), encoding="ascii")
        part.replace(path)

    def _preload(self) -> None:
        try:
            with self.engine((self._arguments.whisper_model, self._arguments.speaker_model)):
                pass
        except RecognitionError as error:
            logger.warning("The models are not loaded yet: %s", error.message)
        except Exception as error:  # noqa: BLE001 - the first request fails in the same way, and reports it
            end_if_hopeless(error)
            traceback.print_exc()


class Connection:
    """Connection of one client: its open recordings and its requests."""

    def __init__(self, server: Server, channel: Channel) -> None:
        self._server, self._channel = server, channel
        self._recordings: dict[str, LoadedAudio] = {}
        self._requests: dict[int, Request] = {}

    def serve(self) -> None:
        """Serve requests until the client disconnects; then cancel those still running."""
        try:
            self._channel.send({"hello": VERSION, "pid": os.getpid()})
            while True:
                if message := self._channel.receive():
                    self._handle(message)
        except ChannelClosed:
            pass
        except (KeyError, TypeError, ValueError, OSError):
            traceback.print_exc()  # an invalid request: the connection is closed
        finally:
            for request in list(self._requests.values()):
                request.cancelled.set()
            self._channel.close()

    def _handle(self, message: Message) -> None:
        content = message.content
        number, call = int(content["id"]), str(content["call"])
        if call == "open":
            from batches.recognition.runtime.engine import LoadedAudio
            from batches.recognition.runtime.recordings import Recording

            try:
                received = Recording.received(content, message.descriptors)
                self._recordings[content["file"]] = LoadedAudio(received.sounds)
            finally:
                message.close()
        elif call == "close":
            self._recordings.pop(content["file"], None)
        elif call == "cancel":
            if request := self._requests.get(int(content["request"])):
                request.cancelled.set()
        elif call == "ping":
            self._channel.send({"id": number, "done": True})
        elif call in {"transcribe", "add_speakers"}:
            recording = self._recordings[content["file"]]
            request = Request(self._server, self._channel, content, recording)
            self._requests[number] = request
            threading.Thread(target=self._run, args=(number, request), daemon=True).start()
        else:
            raise ValueError(f"unknown call {call!r}")

    def _run(self, number: int, request: Request) -> None:
        try:
            request.run()
        except ChannelClosed:
            pass
        finally:
            self._requests.pop(number, None)


class Request:
    """Request for one recording, run in its own thread."""

    def __init__(
        self, server: Server, channel: Channel, content: dict[str, Any], recording: LoadedAudio
    ) -> None:
        self.cancelled = threading.Event()
        self._server, self._channel, self._content, self._recording = server, channel, content, recording
        self._reported = (0.0, "")  # time and stage of the last progress report
        self._fraction = 0.0  # completed share in the last report

    def run(self) -> None:
        """Run the request and send its response. Raises ChannelClosed if the client has disconnected."""
        try:
            transcript = self._call()
        except RequestCancelled:
            self._answer(cancelled=True)
        except RecognitionError as error:
            self._answer(error=error.to_dict())
        except Exception as error:
            if isinstance(error, ChannelClosed):
                raise
            end_if_hopeless(error)
            traceback.print_exc()
            self._answer(error=_as_failure(error).to_dict())
        else:
            self._answer(done=True, transcript=transcript)

    def _call(self) -> dict[str, Any]:
        from batches.recognition.options import Options
        from batches.recognition.transcript import Transcript

        options = Options.from_dict(self._content["options"])
        models = self._server.models_of(options)
        if not self._server.loaded(models):
            self._answer(stage="loading models", fraction=0.0)
        with self._server.engine(models) as engine:
            self._answer(stage="starting", fraction=0.0)
            if self._content["call"] == "transcribe":
                on_segments = self._segments if self._content.get("live") else None
                transcript = engine.transcribe(self._recording, options, self._progress, on_segments)
            else:
                before = Transcript.from_dict(self._content["transcript"])
                transcript = engine.add_speakers(self._recording, before, options, self._progress)
        return transcript.to_dict()

    def _progress(self, stage: str, fraction: float) -> None:
        """Progress callback of the engine. Reports are throttled; raises RequestCancelled."""
        if self.cancelled.is_set():
            raise RequestCancelled
        now = time.monotonic()
        if stage != self._reported[1] or now - self._reported[0] >= _PROGRESS_SECONDS:
            self._reported, self._fraction = (now, stage), round(fraction, 4)
            self._answer(stage=stage, fraction=self._fraction)

    def _segments(self, first: int, segments: Sequence[Segment], language: str) -> None:
        """Callback of the engine with final segments."""
        documents = [dataclasses.asdict(segment) for segment in segments]
        stage, fraction = self._reported[1], self._fraction
        self._answer(stage=stage, fraction=fraction, first=first, segments=documents, language=language)

    def _answer(self, **content: object) -> None:
        self._channel.send({"id": self._content["id"], **content})


def _as_failure(error: Exception) -> RecognitionError:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return WorkDiskFull()
    if is_exhausted(error):
        return HostExhausted()
    return UnexpectedFailure(f"Recognition failed unexpectedly ({type(error).__name__}).")


def end_if_hopeless(error: Exception) -> None:
    """End the process after an error that would affect every file; the owner starts a new one."""
    if not is_hopeless(error):
        return
    if isinstance(error, MemoryError):
        print("There is no memory left.", file=sys.stderr, flush=True)
        os._exit(memory.OUT_OF_MEMORY)
    traceback.print_exception(error)
    os._exit(_DEVICE_LOST)


def _confine(arguments: argparse.Namespace) -> None:
    """Enter the sandbox; ``manage.py doctor`` reports restrictions that the system does not support."""
    if arguments.no_sandbox:
        sandbox.set_limits()
    else:
        models: Path = arguments.models_dir
        sandbox.confine(
            readable=[
                *sandbox.system_libraries(),
                *sandbox.python_libraries(),
                models,
                *arguments.readable,
            ],
            # Weights converted for another runtime are stored beside the models.
            writable=[arguments.home, models / ".faster"],
            devices=sandbox.null_devices(),
            graphics=arguments.device != "cpu",
        )
    sandbox.die_with_parent(arguments.owner)


def main() -> None:
    parser = argparse.ArgumentParser(description="Recognise media files for clients on a Unix socket.")
    parser.add_argument("--owner", type=int, required=True)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--whisper-model", required=True)
    parser.add_argument("--speaker-model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="")
    parser.add_argument("--gpu-memory", type=int, default=DEFAULT_GPU_MEMORY)
    parser.add_argument("--trusted-pipeline", action="append", default=[])
    parser.add_argument("--readable", type=Path, action="append", default=[])
    parser.add_argument("--preload", action="store_true")
    parser.add_argument("--no-sandbox", action="store_true")
    arguments = parser.parse_args()
    listener = socket.socket(fileno=arguments.socket)
    _confine(arguments)
    Server(arguments).serve(listener)


if __name__ == "__main__":
    main()
