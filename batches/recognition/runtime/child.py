"""The child process: ``python -m batches.recognition.runtime.child``, started by ``RecognitionClient``.

JSON lines come in on standard input and go out on standard output, one request at a time:

    -> {"id": 1, "call": "transcribe", "path": "...", "options": {...}, "result": "/scratch/1.json"}
    <- {"id": 1, "stage": "recognising", "fraction": 0.4}
    <- {"id": 1, "done": true}   or   {"id": 1, "error": {"code": ..., "message": ..., ...}}

"add_speakers" also takes "transcript", the path of the transcript to add to. Transcripts travel as files
in the scratch folder, because that of a long recording is larger than a pipe. "ping" only answers.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batches.recognition.errors import NO_ROOM, RecognitionError, UnexpectedFailure, WorkDiskFull
from batches.recognition.runtime import sandbox

if TYPE_CHECKING:
    from batches.recognition.options import Options
    from batches.recognition.runtime.engine import Engine, LoadedAudio

_PROGRESS_EVERY = 0.5  # seconds
_DECODED = 0.05  # share of a call that is done when the file is decoded


class _Server:
    def __init__(self, arguments: argparse.Namespace, requests: IO[str], answers: IO[str]) -> None:
        self._arguments = arguments
        self._requests, self._answers = requests, answers
        self._engine: Engine | None = None
        self._audio: LoadedAudio | None = None  # of the last file
        self._identity: tuple[object, ...] = ()  # of the last file, to know it again
        self._last = (0.0, "", 0.0)  # when progress was last reported, with its stage and share

    def serve(self) -> None:
        """Answer requests until the parent closes its end."""
        for line in self._requests:
            request = json.loads(line)
            try:
                self._call(request)
            except RecognitionError as error:
                self._answer(request, error=error.to_dict())
            except MemoryError:
                raise  # there is nothing left to go on with: the parent starts another child
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this file's, and it is told
                traceback.print_exc()
                failure: RecognitionError
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    failure = WorkDiskFull()
                else:
                    failure = UnexpectedFailure(f"Recognition failed unexpectedly ({type(error).__name__}).")
                self._answer(request, error=failure.to_dict())

    def _answer(self, request: dict[str, Any], **content: object) -> None:
        self._answers.write(json.dumps({"id": request["id"], **content}) + "\n")
        self._answers.flush()

    def _call(self, request: dict[str, Any]) -> None:
        if request["call"] == "ping":
            self._answer(request, done=True)
            return
        self._answer(request, stage="loading models", fraction=0.0)
        from batches.recognition.options import Options
        from batches.recognition.transcript import Transcript

        engine = self._load()
        report = functools.partial(self._report, request)
        path, options = Path(request["path"]), Options.from_dict(request["options"])
        audio = self._load_audio(path, options, report)

        def progress(stage: str, fraction: float) -> None:
            report(stage, _DECODED + (1.0 - _DECODED) * fraction)

        if request["call"] == "transcribe":
            transcript = engine.transcribe(audio, options, progress)
        elif request["call"] == "add_speakers":
            before = Transcript.from_dict(json.loads(Path(request["transcript"]).read_text()))
            transcript = engine.add_speakers(audio, before, options, progress)
        else:
            raise ValueError(f"unknown call {request['call']!r}")
        Path(request["result"]).write_text(json.dumps(transcript.to_dict(), ensure_ascii=False))
        self._answer(request, done=True)

    def _load_audio(self, path: Path, options: Options, report: Callable[[str, float], None]) -> LoadedAudio:
        """Decode the file, unless the last call was for the same one."""
        status = path.stat() if path.exists() else None
        identity = (
            path, options.channels, status and status.st_mtime_ns, status and status.st_size
        )  # fmt: skip
        if self._audio is None or self._identity != identity:
            self._audio = None  # before decoding: two files at once would need twice the memory
            self._audio = self._load().load_audio(
                path, options, lambda stage, fraction: report(stage, _DECODED * fraction)
            )
            self._identity = identity
        return self._audio

    def _report(self, request: dict[str, Any], stage: str, fraction: float) -> None:
        """Tell the parent what has changed; a call without progress looks stalled to it, as it should."""
        now = time.monotonic()
        last_time, last_stage, last_fraction = self._last
        if stage != last_stage or (fraction != last_fraction and now - last_time >= _PROGRESS_EVERY):
            self._last = (now, stage, fraction)
            seconds = self._audio.seconds if self._audio else 0.0
            self._answer(request, stage=stage, fraction=round(fraction, 4), seconds=seconds)

    def _load(self) -> Engine:
        if self._engine is None:
            from batches.recognition.runtime.engine import Engine

            arguments = self._arguments
            self._engine = Engine(
                models_dir=arguments.models_dir,
                whisper_model=arguments.whisper_model,
                speaker_model=arguments.speaker_model,
                threads=arguments.threads,
                batch_size=arguments.batch_size,
                device=arguments.device,
                recognizer=arguments.engine,
            )
        return self._engine


def _take_pipes() -> tuple[IO[str], IO[str]]:
    """Keep standard input and output for the protocol; what libraries print goes to standard error."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def main() -> None:
    parser = argparse.ArgumentParser(description="Recognise media files for a parent process.")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--whisper-model", required=True)
    parser.add_argument("--speaker-model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="whisper")
    parser.add_argument("--keep-network", action="store_true")
    arguments = parser.parse_args()
    requests, answers = _take_pipes()
    if not arguments.keep_network and not sandbox.leave_network():
        print("This system lets no process leave the network; going on with it.", file=sys.stderr)
    sandbox.die_with_parent(arguments.parent)
    sandbox.set_limits()
    _Server(arguments, requests, answers).serve()


if __name__ == "__main__":
    main()
