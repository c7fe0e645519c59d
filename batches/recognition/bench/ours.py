"""This project's engine as a benchmark variant."""

from __future__ import annotations

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.variants import Found, Setup
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.runtime.memory import end_above
from batches.recognition.runtime.memory_check import require_memory


class Ours:
    """The engine as the recognition process runs it, with several files at once."""

    several = True

    def __init__(self, setup: Setup, *, recogniser: str = "whisper", speakers: bool = False) -> None:
        self._setup, self._recogniser = setup, recogniser
        self._engine = Engine(
            models_dir=setup.models_dir,
            whisper_model=setup.whisper_model,
            speaker_model=setup.speaker_model,
            threads=setup.threads,
            recogniser=recogniser,
            device=setup.device,
            gpu_memory=setup.gpu_memory,
            trusted_pipelines=setup.trusted_pipelines,
        )
        self._speakers = speakers

    def load(self) -> None:
        """Load the models, within the memory that an engine process may take."""
        setup = self._setup
        computed = require_memory(
            setup.models_dir,
            setup.whisper_model,
            recogniser=self._recogniser,
            device=setup.device,
            gpu_memory=setup.gpu_memory,
        )
        if limit := setup.memory_limit or computed:
            end_above(limit)
        self._engine.load(speakers=self._speakers)

    def run(self, recording: Recording) -> Found:
        options = Options(language=recording.language, speakers=self._speakers)
        audio = self._engine.load_audio(recording.path, options, _ignore)
        transcript = self._engine.transcribe(audio, options, _ignore)
        if self._speakers:
            transcript = self._engine.add_speakers(audio, transcript, options, _ignore)
        return Found(transcript.text, transcript.turns)


def _ignore(_stage: str, _share: float) -> None:
    return
