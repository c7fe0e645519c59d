"""Recognise a file with an engine of this process, from decoding to transcript."""

from pathlib import Path

from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import Transcript


def ignore(_stage: str, _share: float) -> None:
    """Ignore progress."""


def recognise(engine: Engine, path: Path, options: Options) -> Transcript:
    """The transcript, with speakers if the options ask for them."""
    audio = engine.load_audio(path, options, ignore)
    transcript = engine.transcribe(audio, options, ignore)
    return engine.add_speakers(audio, transcript, options, ignore) if options.speakers else transcript
