"""This project's engine as a benchmark variant."""

from __future__ import annotations

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.variants import Found, Setup
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine


class Ours:
    """The engine as the recognition process runs it, with several files at once."""

    several = True

    def __init__(self, setup: Setup, *, recogniser: str = "whisper", speakers: bool = False) -> None:
        self._engine = Engine(
            models_dir=setup.models_dir,
            whisper_model=setup.whisper_model,
            speaker_model=setup.speaker_model,
            threads=setup.threads,
            recogniser=recogniser,
            device=setup.device,
        )
        self._speakers = speakers

    def load(self) -> None:
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
