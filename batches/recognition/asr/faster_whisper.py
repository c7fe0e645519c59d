"""Provider of Whisper models in faster-whisper's runtime, CTranslate2. Needs the extra ``[faster]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batches.recognition.asr.openai_whisper import claims
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.gpu_memory import CTRANSLATE2_RECOGNISER, plan_ctranslate2
from batches.recognition.providers import LoadSettings, RecogniserProvider

if TYPE_CHECKING:
    from pathlib import Path

    from batches.recognition.contracts import SpeechRecogniser


def load(reference: str, settings: LoadSettings) -> SpeechRecogniser:
    """Load a Whisper model by name or path, caching its converted weights.

    Raises ModelUnavailable, also on a GPU without the libraries of CUDA 12.
    """
    PROVIDER.require()
    from batches.recognition.asr.faster_whisper_model import FasterDecoder, FasterModel
    from batches.recognition.asr.queued_decoder import QueuedChunkDecoder
    from batches.recognition.asr.whisper_recogniser import WhisperRecogniser
    from batches.recognition.runtime import cublas
    from batches.recognition.runtime.device import is_gpu

    if is_gpu(settings.device):
        cublas.require()
    checkpoint = settings.store.whisper(reference)
    cache = settings.store.folder / ".faster"
    model = FasterModel(checkpoint, cache, threads=settings.threads, device=settings.device)
    batch_size = settings.batch_size or _batch_size(checkpoint.path, settings)
    decoder = QueuedChunkDecoder(model, FasterDecoder(model), settings.batches, batch_size=batch_size)
    return WhisperRecogniser(
        decoder,
        model,
        name=CTRANSLATE2_RECOGNISER,
        model=checkpoint.name,
        in_flight=2 * batch_size,
        takes_bias=False,
        searches=True,
    )


def _batch_size(checkpoint: Path, settings: LoadSettings) -> int:
    """Chunks at once: the device's default, or on a GPU as many as fit into its memory."""
    from batches.recognition.runtime.device import default_batch_size, is_gpu, limit_memory

    if not is_gpu(settings.device):
        return default_batch_size(settings.device)
    allowed = limit_memory(settings.device, settings.gpu_memory)
    return plan_ctranslate2(read_dimensions(checkpoint), memory=allowed).rows


PROVIDER = RecogniserProvider(
    name=CTRANSLATE2_RECOGNISER, claims=claims, load=load, packages=("ctranslate2",), extra="faster"
)
