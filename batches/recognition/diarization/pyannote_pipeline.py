"""Provider of pyannote pipelines: any folder with a ``config.yaml``, and any name on Hugging Face.

Names are fetched beforehand (``manage.py models fetch NAME``), since recognition has no network. Trusted
pipelines (``LoadSettings.trusted_pipelines``) may execute code in their files; all others are checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batches.recognition.diarization.pipeline_folder import checkpoint_file, is_pipeline, read_config
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.providers import DiarizerProvider, LoadSettings

if TYPE_CHECKING:
    from batches.recognition.contracts import Diarizer


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
        trusted=reference in settings.trusted_pipelines,
    )


def _folder(reference: str, store: ModelStore) -> Path:
    path = Path(reference)
    return path if path.is_absolute() else store.folder / reference.replace("/", "--")


def segmentation(reference: str, store: ModelStore) -> Path | None:
    """The pipeline's segmentation checkpoint, if it is here and its ``config.yaml`` is a plain one."""
    try:
        found = checkpoint_file(read_config(_folder(reference, store)).parts["segmentation"])
    except ModelUnavailable:
        return None
    return found if found.is_file() else None


PROVIDER = DiarizerProvider(name="pyannote", claims=claims, load=load, segmentation=segmentation)
