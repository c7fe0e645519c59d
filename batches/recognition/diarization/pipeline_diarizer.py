"""Speaker diarization by a pyannote pipeline: community-1, 3.1 and others of their kind.

Source: H. Bredin, "pyannote.audio 2.1 speaker diarization pipeline: principle, benchmark, and recipe" (2023);
F. Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx)" (2022).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from batches.recognition.contracts import Progress
from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.diarization.checkpoints import load_model
from batches.recognition.diarization.pipeline_folder import (
    VBX,
    PipelineConfig,
    checkpoint_file,
    is_pipeline,
    pipeline_problems,
    plda_files,
    read_config,
)
from batches.recognition.diarization.speaker_bounds import check_bounds
from batches.recognition.diarization.turns import label_turns
from batches.recognition.errors import GpuMemoryExhausted, ModelUnavailable
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.runtime.device import is_gpu, release_memory
from batches.recognition.transcript import SpeakerTurn

if TYPE_CHECKING:
    from pyannote.audio.core.plda import PLDA
    from pyannote.core import SlidingWindowFeature

    from batches.recognition.diarization.segmentation import Segmentation

_BATCH_SIZES = ("segmentation_batch_size", "embedding_batch_size")  # parameters of a pipeline
_CPU_BATCH = 8  # windows at once on a CPU: published pipelines say 32, which takes 2.6 GB
logger = logging.getLogger(__name__)
_WAIT = 0.5  # s between two looks at whether a waiting call was cancelled


class PipelineDiarizer:
    """Diarizer that runs a pyannote pipeline from a folder with ``config.yaml``.

    Calls from several threads are serialised. ``trusted`` passes the folder to pyannote unchecked, including
    any code in its files. Raises ModelUnavailable if the pipeline does not load.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str = "",
        threads: int = 1,
        device: torch.device | str = "cpu",
        trusted: bool = False,
    ) -> None:
        torch.set_num_threads(threads)
        self._model = model or folder.name
        self._device = torch.device(device)
        self._turn = threading.Lock()
        if not is_pipeline(folder):
            raise ModelUnavailable(f"There is no speaker pipeline in {folder.name}: it has no config.yaml.")
        # pyannote prints advice on standard output, which carries the engine's protocol.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._pipeline = _load_trusted(folder) if trusted else _load(folder, self._device)
            self._pipeline.to(self._device)

    @property
    def model(self) -> str:
        """The pipeline's name as the operator offers it."""
        return self._model

    def diarize(
        self,
        samples: Samples,
        segmentation: Segmentation | None = None,
        *,
        min_speakers: int = -1,
        max_speakers: int = -1,
        progress: Progress,
    ) -> list[SpeakerTurn]:
        """See :class:`batches.recognition.contracts.Diarizer`. ``segmentation`` is the pipeline's own."""
        check_bounds(min_speakers, max_speakers)
        if not samples.any():
            return []
        bounds = {"min_speakers": min_speakers, "max_speakers": max_speakers}
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "media"}
        progress(0.0)
        while not self._turn.acquire(timeout=_WAIT):
            progress(0.0)
        try:
            output = self._run(
                file,
                hook=_StepProgress(progress),
                **{name: count for name, count in bounds.items() if count > 0},
            )
        finally:
            self._turn.release()
        # Pipelines before pyannote.audio 4 return the annotation itself.
        annotation = getattr(output, "speaker_diarization", output)
        duration = samples.size / SAMPLE_RATE
        progress(1.0)
        return label_turns(
            [
                (max(0.0, turn.start), min(turn.end, duration), str(speaker))
                for turn, _, speaker in annotation.itertracks(yield_label=True)
                if turn.start < duration
            ]
        )

    def _run(self, file: dict[str, Any], **options: Any) -> Any:
        """Run the pipeline. When the GPU's memory does not suffice, run it again with half the batch sizes.

        Sizes that sufficed are kept for further files. Raises GpuMemoryExhausted if not even one window at
        once fits; the sizes are then as before, since they were not the cause.
        """
        before = self._batch_sizes()
        while True:
            try:
                with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return self._pipeline(file, **options)
            except (MemoryError, torch.OutOfMemoryError) as error:
                if not is_gpu(self._device) or not _is_of_gpu(error):
                    raise
            # Outside of the handler, whose exception would keep the tensors of the failed call.
            release_memory(self._device)
            sizes = self._batch_sizes()
            if all(size == 1 for size in sizes.values()):
                self._set_batch_sizes(before)
                raise GpuMemoryExhausted(
                    f"The graphics card's memory does not suffice for this file in {self._model}, even "
                    "with one window. Lower SPEECHPORTAL_FILES_AT_ONCE, or raise SPEECHPORTAL_GPU_MEMORY_MB."
                )
            self._set_batch_sizes({name: max(1, size // 2) for name, size in sizes.items()})
            logger.warning("The GPU's memory does not suffice for %s: its batches are halved.", self._model)

    def _batch_sizes(self) -> dict[str, int]:
        """Batch sizes of the pipeline's steps; empty for a trusted pipeline without such settings."""
        return {name: getattr(self._pipeline, name) for name in _BATCH_SIZES if hasattr(self._pipeline, name)}

    def _set_batch_sizes(self, sizes: dict[str, int]) -> None:
        for name, size in sizes.items():
            setattr(self._pipeline, name, size)


def _is_of_gpu(error: Exception) -> bool:
    """Whether it is the GPU's memory that did not suffice: pyannote raises MemoryError then, from torch's."""
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error.__context__, RuntimeError)


class _StepProgress:
    """Progress hook of pyannote: converts the batches of its steps to one monotonic share."""

    _SHARES = {"segmentation": (0.0, 0.2), "embeddings": (0.2, 0.75)}  # where a step starts, and its size

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reached = 0.0

    def __call__(
        self,
        step: str,
        _artefact: object,
        *,
        file: object = None,
        total: int | None = None,
        completed: int | None = None,
    ) -> None:
        if total and completed is not None and step in self._SHARES:
            start, size = self._SHARES[step]
            self._reached = max(self._reached, start + size * min(1.0, completed / total))
        self._progress(self._reached)


def _load(folder: Path, device: torch.device) -> Any:
    """The pipeline, built from checked parts. Its type is Any because pyannote leaves its types open."""
    from pyannote.audio.pipelines import SpeakerDiarization

    config = read_config(folder)
    if problems := pipeline_problems(folder):
        raise ModelUnavailable(f"The speaker pipeline {folder.name} is incomplete: {problems[0]}")
    parameters: dict[str, Any] = dict(config.parameters)
    if device.type == "cpu":
        for name in _BATCH_SIZES:
            parameters[name] = min(int(parameters.get(name, 1)), _CPU_BATCH)
    try:
        pipeline = SpeakerDiarization(
            segmentation=load_model(checkpoint_file(config.parts["segmentation"])),
            embedding=load_model(checkpoint_file(config.parts["embedding"])),
            plda=_load_plda(config),
            clustering=config.clustering,
            **parameters,
        )
        pipeline.clustering = _bounded(pipeline.clustering)
        pipeline.instantiate(config.hyperparameters)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        raise ModelUnavailable(f"The speaker pipeline {folder.name} cannot be loaded: {error}") from error
    return pipeline


def _load_trusted(folder: Path) -> Any:
    from pyannote.audio import Pipeline

    try:
        pipeline = Pipeline.from_pretrained(folder)
    except Exception as error:  # a trusted folder's own code may raise anything
        raise ModelUnavailable(f"The speaker pipeline {folder.name} cannot be loaded: {error}") from error
    if pipeline is None:
        raise ModelUnavailable(f"The speaker pipeline {folder.name} cannot be loaded.")
    return pipeline


def _load_plda(config: PipelineConfig) -> PLDA:
    """Load the pipeline's PLDA; an empty one for clustering without PLDA, since pyannote would fetch one."""
    from pyannote.audio.core.plda import PLDA

    class NoPLDA(PLDA):
        def __init__(self) -> None:
            return

    if config.clustering != VBX:
        return NoPLDA()
    return PLDA(*plda_files(config.parts["plda"]))


def _bounded(clustering: Any) -> Any:
    """Bound the minimum of a clustering by its embeddings: VBx fails if it has fewer than the minimum."""
    from pyannote.audio.pipelines.clustering import VBxClustering

    if not isinstance(clustering, VBxClustering):
        return clustering

    class BoundedVBx(VBxClustering):
        def __call__(
            self,
            embeddings: npt.NDArray[np.float32],
            segmentations: SlidingWindowFeature | None = None,
            num_clusters: int | None = None,
            min_clusters: int | None = None,
            max_clusters: int | None = None,
            **options: Any,
        ) -> Any:
            count = len(self.filter_embeddings(embeddings, segmentations=segmentations)[0])
            bounds = self.set_num_clusters(count, num_clusters, min_clusters, max_clusters)
            return super().__call__(embeddings, segmentations, *bounds, **options)

    return BoundedVBx(clustering.plda, metric=clustering.metric)
