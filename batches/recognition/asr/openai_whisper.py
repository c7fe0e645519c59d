"""Provider of Whisper models that run with openai-whisper's own layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batches.recognition.models.store import ModelStore, WhisperCheckpoint
from batches.recognition.providers import LoadSettings, RecogniserProvider

if TYPE_CHECKING:
    from batches.recognition.contracts import SpeechRecogniser


def load(reference: str, settings: LoadSettings) -> SpeechRecogniser:
    """Load a Whisper model by name or path. Raises ModelUnavailable."""
    from batches.recognition.asr.decoding import BatchDecoder
    from batches.recognition.asr.queued_decoder import ScoringChunkDecoder
    from batches.recognition.asr.whisper_model import WhisperModel
    from batches.recognition.asr.whisper_recogniser import WhisperRecogniser
    from batches.recognition.models.weights import open_weights
    from batches.recognition.runtime.device import default_batch_size, is_gpu

    checkpoint = settings.store.whisper(reference)
    if is_gpu(settings.device):
        return _load_on_gpu(checkpoint, settings)
    model = WhisperModel(
        open_weights(checkpoint),
        threads=settings.threads,
        device=str(settings.device),
        precision=settings.precision,
    )
    batch_size = settings.batch_size or default_batch_size(settings.device)
    decoder = ScoringChunkDecoder(model, BatchDecoder(model), settings.batches, batch_size=batch_size)
    return WhisperRecogniser(
        decoder,
        model,
        name="openai-whisper",
        model=checkpoint.name,
        in_flight=2 * batch_size,
        searches=True,
        scorer=decoder,
    )


def _load_on_gpu(checkpoint: WhisperCheckpoint, settings: LoadSettings) -> SpeechRecogniser:
    from batches.recognition.asr.continuous.loading import load_decoder, read_checkpoint
    from batches.recognition.asr.whisper_model import AudioModel
    from batches.recognition.asr.whisper_recogniser import WhisperRecogniser

    dims, state_dict, alignment_heads = read_checkpoint(checkpoint)
    vocabulary = AudioModel(checkpoint.name, dims)
    decoder, plan = load_decoder(
        dims,
        state_dict,
        alignment_heads,
        vocabulary.tokenizer,
        name=checkpoint.name,
        device=settings.device,
        precision=settings.precision,
        memory=settings.gpu_memory,
        rows=settings.batch_size,
    )
    # A file may fill one batch and have as many chunks waiting.
    return WhisperRecogniser(
        decoder,
        vocabulary,
        name="openai-whisper",
        model=checkpoint.name,
        in_flight=2 * plan.rows,
        speculates=True,
        scorer=decoder,
    )


def claims(reference: str, store: ModelStore) -> bool:
    """Whether the model is a Whisper model: any path, and any name without another recogniser's prefix.

    Models of other recognisers are named ``RECOGNISER:MODEL``. Unknown names count as Whisper's, so that
    the error lists the known ones.
    """
    return Path(reference).is_absolute() or ":" not in reference


PROVIDER = RecogniserProvider(name="whisper", claims=claims, load=load)
