"""All recognisers and diarizers. To add one, write its module and name it here.

A model reference (a name, path or folder) belongs to the first provider that claims it.
"""

from __future__ import annotations

from batches.recognition.asr import faster_whisper, openai_whisper, pocketsphinx
from batches.recognition.diarization import pyannote_pipeline, senko
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.providers import DiarizerProvider, Provider, RecogniserProvider

RECOGNISERS: tuple[RecogniserProvider, ...] = (
    openai_whisper.PROVIDER,
    faster_whisper.PROVIDER,
    pocketsphinx.PROVIDER,
)
DIARIZERS: tuple[DiarizerProvider, ...] = (pyannote_pipeline.PROVIDER, senko.PROVIDER)


def recogniser_names() -> list[str]:
    """The names by which an operator chooses what runs a model."""
    return [provider.name for provider in RECOGNISERS]


def find_recogniser(reference: str, store: ModelStore, name: str = "") -> RecogniserProvider:
    """The provider of that name if it takes the model, or else the first that does.

    Several run Whisper's weights, and ``name`` chooses among them; a model that only one provider runs needs
    no name. Raises ValueError for an unknown name and ModelUnavailable where no provider takes the model.
    """
    if name and name not in recogniser_names():
        raise ValueError(f"There is no recogniser {name!r}, only {', '.join(recogniser_names())}.")
    claiming = [provider for provider in RECOGNISERS if provider.claims(reference, store)]
    if not claiming:
        raise ModelUnavailable(f"There is no recogniser for the model '{reference}'.", name=reference)
    return next((provider for provider in claiming if provider.name == name), claiming[0])


def bundled_with(reference: str, store: ModelStore) -> Provider | None:
    """The provider whose packages contain this model; None for a model that has files of its own."""
    found = (each for each in (*RECOGNISERS, *DIARIZERS) if each.bundled and each.claims(reference, store))
    return next(found, None)


def find_diarizer(reference: str, store: ModelStore) -> DiarizerProvider:
    """The first provider that claims the model. Raises ModelUnavailable."""
    for provider in DIARIZERS:
        if provider.claims(reference, store):
            return provider
    raise ModelUnavailable(f"'{reference}' is no speaker model.", name=reference)
