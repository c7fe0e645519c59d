"""All recognisers and diarizers. To add one, write its module and name it here.

A model reference (a name, path or folder) belongs to the first provider that claims it.
"""

from __future__ import annotations

from batches.recognition.asr import faster_whisper, openai_whisper
from batches.recognition.diarization import senko
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.providers import DiarizerProvider, RecognizerProvider

RECOGNIZERS: tuple[RecognizerProvider, ...] = (openai_whisper.PROVIDER, faster_whisper.PROVIDER)
DIARIZERS: tuple[DiarizerProvider, ...] = (senko.PROVIDER,)


def recognizer_names() -> list[str]:
    """The names by which an operator chooses what runs a model."""
    return [provider.name for provider in RECOGNIZERS]


def find_recognizer(reference: str, store: ModelStore, name: str = "") -> RecognizerProvider:
    """The provider of that name, or else the first one that claims the model.

    Several may run the same weights, so that a name is needed to choose any but the first. Raises ValueError
    for an unknown name and ModelUnavailable where no provider takes the model.
    """
    if name and name not in recognizer_names():
        raise ValueError(f"There is no recogniser {name!r}, only {', '.join(recognizer_names())}.")
    for provider in RECOGNIZERS:
        if name in ("", provider.name) and provider.claims(reference, store):
            return provider
    by_name = f" by {name}" if name else ""
    raise ModelUnavailable(f"The model '{reference}' cannot be recognised with{by_name}.", name=reference)


def find_diarizer(reference: str, store: ModelStore) -> DiarizerProvider:
    """The first provider that claims the model. Raises ModelUnavailable."""
    for provider in DIARIZERS:
        if provider.claims(reference, store):
            return provider
    raise ModelUnavailable(f"'{reference}' is no speaker model.", name=reference)
