"""Speaker diarization by a whole pyannote pipeline of the operator's choice."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.diarization.segmentation import (
    SAMPLE_RATE,
    Progress,
    Samples,
    Segmentation,
)
from batches.recognition.diarization.turns import label_turns
from batches.recognition.errors import ModelUnavailable
from batches.recognition.transcript import SpeakerTurn


class PipelineDiarizer:
    """Any pyannote speaker diarization pipeline, by its name on Hugging Face or from a folder.

    A folder holds pyannote's ``config.yaml`` and the weights that it names; ``token`` is what gated names
    ask for. Raises ModelUnavailable where the pipeline does not load.
    """

    def __init__(
        self, name_or_folder: str | Path, *, token: str | None = None, threads: int = 1, device: str = "cpu"
    ) -> None:
        from pyannote.audio import Pipeline

        torch.set_num_threads(threads)
        # pyannote prints advice on standard output, which is not its own here.
        try:
            with contextlib.redirect_stdout(sys.stderr):
                pipeline: Any = Pipeline.from_pretrained(str(name_or_folder), token=token)
        except Exception as error:  # whatever the code that a pipeline's folder names may raise
            raise ModelUnavailable(
                f"The speaker pipeline '{name_or_folder}' cannot be loaded: {error}"
            ) from error
        if pipeline is None:
            raise ModelUnavailable(f"The speaker pipeline '{name_or_folder}' cannot be loaded.")
        pipeline.to(torch.device(device))
        self.pipeline = pipeline

    def run(
        self,
        samples: Samples,
        segmentation: Segmentation | None = None,
        *,
        min_speakers: int = -1,
        max_speakers: int = -1,
        progress: Progress | None = None,
    ) -> list[SpeakerTurn]:
        """Turns in order of start. ``segmentation`` is not used."""
        check_bounds(min_speakers, max_speakers)
        if not samples.size:
            return []
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "media"}
        bounds = {"min_speakers": min_speakers, "max_speakers": max_speakers}
        with contextlib.redirect_stdout(sys.stderr):
            output = self.pipeline(
                file,
                hook=_StepProgress(progress) if progress is not None else None,
                **{name: count for name, count in bounds.items() if count > 0},
            )
        # Pipelines before pyannote.audio 4 return the annotation itself.
        annotation = getattr(output, "speaker_diarization", output)
        return label_turns(
            [
                (turn.start, min(turn.end, samples.size / SAMPLE_RATE), str(speaker))
                for turn, _, speaker in annotation.itertracks(yield_label=True)
            ]
        )


class _StepProgress:
    """pyannote's hook, told of batches step by step, as one share that only grows."""

    _SHARES = {"segmentation": (0.0, 0.2), "embeddings": (0.2, 0.75)}  # where a step starts, how much it is

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

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
            start, share = self._SHARES[step]
            self.progress(start + share * min(1.0, completed / total))


def check_bounds(min_speakers: int, max_speakers: int) -> None:
    """Raise ValueError unless the numbers are -1 or positive and in order."""
    for number in (min_speakers, max_speakers):
        if number != -1 and number < 1:
            raise ValueError(f"a number of speakers is -1 (not set) or at least 1, not {number}")
    if -1 not in (min_speakers, max_speakers) and min_speakers > max_speakers:
        raise ValueError(f"at least {min_speakers} and at most {max_speakers} speakers is impossible")
