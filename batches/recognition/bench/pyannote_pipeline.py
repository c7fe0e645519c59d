"""pyannote.audio's diarization pipeline as its version 3.1 was published, with CAM++ as the embedding.

The published pipeline's own embedding needs an account at Hugging Face, so both sides use the same one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.diarization.campplus import EMBEDDING_SIZE, load_campplus
from batches.recognition.diarization.filter_bank import FilterBank
from batches.recognition.diarization.segmentation import SAMPLE_RATE, load_segmentation_model
from batches.recognition.models.store import SpeakerCheckpoints

# pyannote/speaker-diarization-3.1, config.yaml
_HYPERPARAMETERS = {
    "segmentation": {"min_duration_off": 0.0},
    "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7045654963945799},
}
_FEWEST_FRAMES = 10


class _Embedding:
    """CAM++ as an embedding of pyannote's pipeline: waveforms and masks in, vectors out."""

    sample_rate, dimension, metric = SAMPLE_RATE, EMBEDDING_SIZE, "cosine"
    min_num_samples = SAMPLE_RATE // 10

    def __init__(self, found: SpeakerCheckpoints) -> None:
        self._network = load_campplus(found.embedding)
        self._bank = FilterBank(torch.device("cpu"))
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> _Embedding:
        self._network.to(device)
        self._device = device
        return self

    @torch.inference_mode()
    def __call__(self, waveforms: torch.Tensor, masks: torch.Tensor) -> NDArray[np.float32]:
        """(B, 1, samples) and (B, frames) in, (B, 192) out; NaN where there is too little speech."""
        vectors = np.full((len(masks), EMBEDDING_SIZE), np.nan, dtype=np.float32)
        for row, (waveform, mask) in enumerate(zip(waveforms[:, 0], masks, strict=True)):
            if not mask.any():
                continue
            bank = self._bank(waveform.numpy())
            spread = torch.nn.functional.interpolate(mask[None, None].float(), size=len(bank))[0, 0] > 0.5
            if spread.sum() >= _FEWEST_FRAMES:
                features = bank[spread].to(self._device)
                vectors[row] = self._network((features - features.mean(dim=0))[None])[0].cpu().numpy()
        return vectors


def default_pipeline(found: SpeakerCheckpoints, *, threads: int) -> Any:
    """The pipeline, ready to run. It is typed as Any because pyannote leaves its types open."""
    from pyannote.audio.pipelines import speaker_diarization

    torch.set_num_threads(threads)
    # The constructor fetches an embedding and a PLDA by name; it is given local ones instead.
    names = ("PretrainedSpeakerEmbedding", "get_plda")
    kept = {name: getattr(speaker_diarization, name) for name in names}
    vars(speaker_diarization).update(
        PretrainedSpeakerEmbedding=lambda *_arguments, **_options: _Embedding(found),
        get_plda=lambda *_arguments, **_options: None,
    )
    try:
        pipeline: Any = speaker_diarization.SpeakerDiarization(
            segmentation=load_segmentation_model(found.segmentation),
            segmentation_step=0.1,
            segmentation_batch_size=32,
            embedding_batch_size=32,
            embedding_exclude_overlap=True,
            clustering="AgglomerativeClustering",
        )
    finally:
        vars(speaker_diarization).update(kept)
    pipeline.instantiate(_HYPERPARAMETERS)
    return pipeline
