"""Registers Whisper models run by openai-whisper's own layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batches.recognition.models.store import ModelStore
from batches.recognition.providers import LoadSettings, RecognizerProvider

if TYPE_CHECKING:
    from batches.recognition.contracts import SpeechRecognizer


def load(reference: str, settings: LoadSettings) -> SpeechRecognizer:
    """Load a Whisper model by name or path. Raises ModelUnavailable."""
    from batches.recognition.asr.decoding import BatchDecoder
    from batches.recognition.asr.queued_decoder import QueuedChunkDecoder
    from batches.recognition.asr.whisper_model import WhisperModel
    from batches.recognition.asr.whisper_recognizer import WhisperRecognizer
    from batches.recognition.runtime.device import default_batch_size

    checkpoint = settings.store.whisper(reference)
    model = WhisperModel(
        checkpoint,
        threads=settings.threads,
        device=str(settings.device),
        precision=settings.precision,
    )
    batch_size = settings.batch_size or default_batch_size(settings.device)
    decoder = QueuedChunkDecoder(model, BatchDecoder(model), settings.batches, batch_size=batch_size)
    return WhisperRecognizer(
        decoder, model, name="openai-whisper", model=checkpoint.name, in_flight=2 * batch_size
    )


def claims(reference: str, store: ModelStore) -> bool:
    """Whether the model is Whisper's. Names that nobody knows are too: fetching them says what is known."""
    return True


PROVIDER = RecognizerProvider(name="whisper", claims=claims, load=load)
