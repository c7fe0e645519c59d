"""The engine's path for a GPU, run on the CPU: the continuous decoder in place of the queued one."""

from dataclasses import replace

import pytest

from batches.recognition import registry
from batches.recognition.asr import openai_whisper
from batches.recognition.contracts import SpeechRecogniser
from batches.recognition.providers import LoadSettings


def run_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine take the decoder that it has for a GPU, on the CPU."""

    def load(reference: str, settings: LoadSettings) -> SpeechRecogniser:
        return openai_whisper._load_on_gpu(settings.store.whisper(reference), settings)

    provider = replace(openai_whisper.PROVIDER, load=load)
    monkeypatch.setattr(registry, "find_recogniser", lambda *_arguments: provider)
