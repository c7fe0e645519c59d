"""Registry of recognisers and diarizers. To add one, write its module and list it here.

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
    """Names of the recognisers that an operator can choose."""
    return [provider.name for provider in RECOGNISERS]


def find_recogniser(reference: str, store: ModelStore, name: str = "") -> RecogniserProvider:
    """Provider with that name if it can run the model, else the first one that can.

    Several providers run Whisper's weights, and ``name`` chooses among them; a model with a single provider
    needs no name. Raises ValueError for an unknown name and ModelUnavailable if no provider runs the model.
    """
    if name and name not in recogniser_names():
        raise ValueError(f"There is no recogniser {name!r}, only {', '.join(recogniser_names())}.")
    claiming = [provider for provider in RECOGNISERS if provider.claims(reference, store)]
    if not claiming:
        raise ModelUnavailable(f"There is no recogniser for the model '{reference}'.", name=reference)
    return next((provider for provider in claiming if provider.name == name), claiming[0])


def bundled_with(reference: str, store: ModelStore) -> Provider | None:
    """Provider whose packages contain this model; None for a model with its own files."""
    found = (each for each in (*RECOGNISERS, *DIARIZERS) if each.bundled and each.claims(reference, store))
    return next(found, None)


def find_diarizer(reference: str, store: ModelStore) -> DiarizerProvider:
    """First diarizer provider that claims the model. Raises ModelUnavailable."""
    for provider in DIARIZERS:
        if provider.claims(reference, store):
            return provider
    raise ModelUnavailable(f"'{reference}' is no speaker model.", name=reference)
