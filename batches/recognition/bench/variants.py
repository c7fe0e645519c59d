"""The engines that are compared, each behind the same steps: load, recognise a file, say what it found."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from batches.recognition.bench.recordings import Recording
from batches.recognition.media.decoding import decode
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import SpeakerTurn


@dataclass(slots=True)
class Found:
    text: str = ""
    turns: list[SpeakerTurn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setup:
    """What all variants share."""

    models_dir: Path
    whisper_model: str
    speaker_model: str
    threads: int
    cache: Path  # for weights in another format
    avx2: bool = False  # whether to do without AVX-512


class Variant(Protocol):
    def load(self) -> None: ...
    def run(self, recording: Recording) -> Found: ...


class Ours:
    """This project's engine, as the child process runs it."""

    def __init__(self, setup: Setup, *, engine: str, speakers: bool) -> None:
        self._engine = Engine(
            models_dir=setup.models_dir,
            whisper_model=setup.whisper_model,
            speaker_model=setup.speaker_model,
            threads=setup.threads,
            recognizer=engine,
        )
        self._speakers = speakers

    def load(self) -> None:
        self._engine.load(speakers=self._speakers)

    def run(self, recording: Recording) -> Found:
        options = Options(language=recording.language, speakers=self._speakers)
        audio = self._engine.load_audio(recording.path, options, _silent)
        transcript = self._engine.transcribe(audio, options, _silent)
        if self._speakers:
            transcript = self._engine.add_speakers(audio, transcript, options, _silent)
        return Found(transcript.text, transcript.turns)


def _silent(_stage: str, _share: float) -> None:
    return


class WhisperCommand:
    """openai-whisper's command line as it comes: beams, temperatures, 30 s at a time."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def load(self) -> None:
        return  # the command loads its model itself, each time

    def run(self, recording: Recording) -> Found:
        checkpoint = ModelStore(self._setup.models_dir).whisper(self._setup.whisper_model)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [
                    sys.executable, "-m", "whisper", str(recording.path), "--model", str(checkpoint.path),
                    "--device", "cpu", "--fp16", "False", "--threads", str(self._setup.threads),
                    "--language", recording.language, "--output_format", "json", "--output_dir", folder,
                    "--verbose", "False",
                ],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            (result,) = Path(folder).glob("*.json")
            return Found(json.loads(result.read_text(encoding="utf-8"))["text"])


class FasterWhisper:
    """faster-whisper as its documentation uses it: sequential, or batched with its own voice activity."""

    def __init__(self, setup: Setup, *, compute_type: str, batched: bool) -> None:
        self._setup = setup
        self._compute_type, self._batched = compute_type, batched
        self._transcribe: Any = None

    def load(self) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        from batches.recognition.models.faster_whisper_weights import faster_folder

        setup = self._setup
        folder = faster_folder(ModelStore(setup.models_dir).whisper(setup.whisper_model), setup.cache)
        model = WhisperModel(
            str(folder), device="cpu", compute_type=self._compute_type, cpu_threads=setup.threads
        )
        self._transcribe = BatchedInferencePipeline(model).transcribe if self._batched else model.transcribe

    def run(self, recording: Recording) -> Found:
        more = {"batch_size": 8} if self._batched else {}
        segments, _ = self._transcribe(str(recording.path), language=recording.language, beam_size=1, **more)
        return Found(" ".join(segment.text.strip() for segment in segments))


class Pyannote:
    """pyannote.audio's own diarization pipeline with its defaults and the same two models."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._pipeline: Any = None

    def load(self) -> None:
        from batches.recognition.bench.pyannote_pipeline import default_pipeline

        setup = self._setup
        found = ModelStore(setup.models_dir).speakers(setup.speaker_model)
        self._pipeline = default_pipeline(found, threads=setup.threads)

    def run(self, recording: Recording) -> Found:
        import torch

        samples = decode(recording.path).samples
        with contextlib.redirect_stdout(sys.stderr):
            output = self._pipeline({"waveform": torch.from_numpy(samples)[None], "sample_rate": 16_000})
        tracks = output.speaker_diarization.itertracks(yield_label=True)
        return Found(
            turns=[
                SpeakerTurn(round(turn.start * 1000), round(turn.end * 1000), str(speaker))
                for turn, _, speaker in tracks
            ]
        )


OURS, OURS_FASTER = "ours", "ours on faster-whisper"
WHISPER = "whisper command line"
FASTER_INT8 = "faster-whisper batched int8"
SPEAKERS, PYANNOTE = "ours with speakers", "pyannote pipeline"
_FASTER = {
    "faster-whisper float32": ("float32", False),
    "faster-whisper int8": ("int8", False),
    "faster-whisper batched float32": ("float32", True),
    FASTER_INT8: ("int8", True),
}
TEXT = (OURS, OURS_FASTER, *_FASTER, WHISPER)
TURNS = (SPEAKERS, PYANNOTE)


def missing(name: str) -> str:
    """What is to be installed before a variant can run; nothing if it can."""
    needs_faster = name in _FASTER or name == OURS_FASTER
    if needs_faster and importlib.util.find_spec("faster_whisper") is None:
        return 'pip install "speechportal[faster]"'
    return ""


def make(name: str, setup: Setup) -> Variant:
    """Raises KeyError for a name that is in neither TEXT nor TURNS."""
    if name in _FASTER:
        compute_type, batched = _FASTER[name]
        return FasterWhisper(setup, compute_type=compute_type, batched=batched)
    makers: dict[str, Any] = {
        OURS: lambda: Ours(setup, engine="whisper", speakers=False),
        OURS_FASTER: lambda: Ours(setup, engine="faster-whisper", speakers=False),
        SPEAKERS: lambda: Ours(setup, engine="whisper", speakers=True),
        WHISPER: lambda: WhisperCommand(setup),
        PYANNOTE: lambda: Pyannote(setup),
    }
    variant: Variant = makers[name]()
    return variant
