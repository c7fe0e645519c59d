"""Registers pyannote pipelines: any folder with a ``config.yaml``, and any name on Hugging Face.

Names are fetched beforehand (``manage.py models fetch NAME``): recognition has no network. Folders listed in
``SPEECHPORTAL_TRUSTED_PIPELINES`` are loaded with whatever code their files name; all others are checked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from batches.recognition.diarization.pipeline_folder import is_pipeline
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.providers import DiarizerProvider, LoadSettings

if TYPE_CHECKING:
    from batches.recognition.contracts import Diarizer

TRUSTED = "SPEECHPORTAL_TRUSTED_PIPELINES"


def claims(reference: str, store: ModelStore) -> bool:
    """Whether this is a pipeline's folder, or a repository's name ("owner/name")."""
    return is_pipeline(_folder(reference, store)) or (not Path(reference).is_absolute() and "/" in reference)


def load(reference: str, settings: LoadSettings) -> Diarizer:
    """Load a pipeline by folder, or by name from the models folder. Raises ModelUnavailable."""
    from batches.recognition.diarization.pipeline_diarizer import PipelineDiarizer

    store = settings.store
    folder = _folder(reference, store)
    if not Path(reference).is_absolute() and (problems := store.verify(reference)):
        raise ModelUnavailable(f"{problems[0]} Run: manage.py models fetch {reference}", name=reference)
    return PipelineDiarizer(
        folder,
        model=folder.name if Path(reference).is_absolute() else reference,
        threads=settings.threads,
        device=settings.device,
        trusted=reference in _trusted(),
    )


def _folder(reference: str, store: ModelStore) -> Path:
    path = Path(reference)
    return path if path.is_absolute() else store.folder / reference.replace("/", "--")


def _trusted() -> list[str]:
    return [each.strip() for each in os.environ.get(TRUSTED, "").split(",") if each.strip()]


PROVIDER = DiarizerProvider(name="pyannote", claims=claims, load=load)
