"""Pipeline folder: layout of a pyannote pipeline on disk; reads its ``config.yaml`` and checks its parts.

A pipeline folder contains ``config.yaml`` and its parts: a segmentation checkpoint, an embedding checkpoint
and, for VBx clustering, a PLDA. A part is named as ``$model/SUBFOLDER``, by a path, or by a repository on
Hugging Face ("pyannote/segmentation-3.0"); repositories are stored in ``parts/OWNER--NAME`` of the folder.

Nothing here imports torch or pyannote, and nothing of the folder is executed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from batches.recognition.errors import ModelUnavailable

CONFIG = "config.yaml"
CHECKPOINT = "pytorch_model.bin"
PLDA_FILES = ("xvec_transform.npz", "plda.npz")
PARTS_FOLDER = "parts"

AGGLOMERATIVE, VBX = "AgglomerativeClustering", "VBxClustering"

_PIPELINE_CLASSES = {
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
}
# "device" and "dependencies" are accepted and ignored: the engine chooses the device.
_TOP_LEVEL = {"version", "dependencies", "pipeline", "params", "freeze", "device"}
_PLAIN_PARAMETERS = {
    "segmentation_step",
    "segmentation_batch_size",
    "embedding_batch_size",
    "embedding_exclude_overlap",
}
_IGNORED_PARAMETERS = {"legacy", "der_variant", "token", "use_auth_token", "cache_dir"}
_PART_NAMES = ("segmentation", "embedding", "plda")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")

Plain = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a pipeline: ``path`` is its folder or file; ``repository`` is set where that is missing."""

    name: str
    path: Path
    repository: str = ""


@dataclass(slots=True)
class PipelineConfig:
    """Content of a ``config.yaml`` that passed all checks."""

    folder: Path
    clustering: str  # AGGLOMERATIVE or VBX
    parts: dict[str, Part]
    parameters: dict[str, Plain] = field(default_factory=dict)  # of the pipeline's constructor
    hyperparameters: dict[str, object] = field(default_factory=dict)  # of ``Pipeline.instantiate``

    @property
    def missing_repositories(self) -> list[str]:
        """Repositories on Hugging Face whose files the folder lacks."""
        return [part.repository for part in self.parts.values() if part.repository]


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a pyannote pipeline, as opposed to a pair of speaker models."""
    return (folder / CONFIG).is_file()


def part_folder(folder: Path, repository: str) -> Path:
    """Folder for the files of a repository that a pipeline's ``config.yaml`` names."""
    return folder / PARTS_FOLDER / repository.partition("@")[0].replace("/", "--")


def read_config(folder: Path) -> PipelineConfig:
    """Read and check ``config.yaml``. Raises ModelUnavailable for anything but a plain diarization pipeline.

    Parts may be missing from the disk; see :func:`pipeline_problems`.
    """
    document = _load_yaml(folder)
    if unknown := set(document) - _TOP_LEVEL:
        raise _refused(folder, f"{', '.join(sorted(unknown))} is not supported")
    pipeline = _mapping(folder, document.get("pipeline"), "pipeline")
    name = pipeline.get("name")
    if name not in _PIPELINE_CLASSES:
        raise _refused(folder, f"it names the code {name}; only pyannote's SpeakerDiarization is run")
    given = _mapping(folder, pipeline.get("params") or {}, "pipeline.params")
    if unknown := set(given) - _PLAIN_PARAMETERS - _IGNORED_PARAMETERS - {*_PART_NAMES, "clustering"}:
        raise _refused(folder, f"the parameter {', '.join(sorted(unknown))} is not supported")
    clustering = given.get("clustering", VBX)
    if clustering not in (AGGLOMERATIVE, VBX):
        raise _refused(folder, f"the clustering is {clustering}, not {AGGLOMERATIVE} or {VBX}")
    needed = _PART_NAMES if clustering == VBX else _PART_NAMES[:2]
    for part in needed:
        if part not in given:
            raise _refused(folder, f"it names no {part} model")
    hyperparameters = {
        **_mapping(folder, document.get("freeze") or {}, "freeze"),
        **_mapping(folder, document.get("params") or {}, "params"),
    }
    return PipelineConfig(
        folder=folder,
        clustering=clustering,
        parts={part: _resolve(folder, part, given[part]) for part in needed},
        parameters={key: _plain(folder, key, given[key]) for key in _PLAIN_PARAMETERS & set(given)},
        hyperparameters=hyperparameters,
    )


def pipeline_problems(folder: Path) -> list[str]:
    """Problems that prevent loading a pipeline folder, one sentence each; empty for a complete folder."""
    try:
        config = read_config(folder)
    except ModelUnavailable as error:
        return [str(error)]
    return [problem for part in config.parts.values() for problem in _part_problems(part)]


def checkpoint_file(part: Part) -> Path:
    """The checkpoint of a segmentation or embedding part."""
    return part.path / CHECKPOINT if part.path.is_dir() else part.path


def plda_files(part: Part) -> tuple[Path, Path]:
    """(transform, PLDA) of a PLDA part."""
    return part.path / PLDA_FILES[0], part.path / PLDA_FILES[1]


def _part_problems(part: Part) -> list[str]:
    if part.repository:
        return [f"The {part.name} model {part.repository} has not been fetched."]
    files = plda_files(part) if part.name == "plda" else (checkpoint_file(part),)
    problems = []
    for file in files:
        if not file.is_file():
            problems.append(f"{part.name}/{file.name} is missing.")
        elif file.suffix == ".npz" and not zipfile.is_zipfile(file):
            problems.append(f"{part.name}/{file.name} is damaged.")
    return problems


def _resolve(folder: Path, name: str, reference: object) -> Part:
    """Resolve a part's path. Relative paths are relative to the folder, and must stay in it."""
    subfolder = ""
    if isinstance(reference, Mapping):
        subfolder = str(reference.get("subfolder") or "")
        reference = reference.get("checkpoint")
    if not isinstance(reference, str) or not reference:
        raise _refused(folder, f"the {name} model is not named by a path or a repository")
    if reference.startswith("$model/"):
        return Part(
            name, _inside(folder, name, f"{reference.removeprefix('$model/').partition('@')[0]}/{subfolder}")
        )
    if Path(reference).is_absolute():
        return Part(name, Path(reference) / subfolder)
    local = _inside(folder, name, f"{reference}/{subfolder}")
    if local.exists():
        return Part(name, local)
    if reference.startswith(("speechbrain/", "nvidia/", "hbredin/wespeaker")):
        raise _refused(folder, f"the {name} model {reference} is not a pyannote checkpoint")
    if not _REPOSITORY.fullmatch(reference):
        raise _refused(folder, f"the {name} model {reference} does not exist")
    kept = part_folder(folder, reference) / subfolder
    return Part(name, kept, "" if kept.exists() else reference)


def _inside(folder: Path, name: str, relative: str) -> Path:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise _refused(folder, f"the {name} model lies outside the folder")
    return path


def _load_yaml(folder: Path) -> dict[str, object]:
    try:
        document = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelUnavailable(
            f"There is no speaker pipeline in {folder.name}: {CONFIG} cannot be read."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        # yaml.safe_load builds plain values only, so a tag such as !!python/object ends here.
        raise _refused(folder, f"{CONFIG} is not plain YAML") from error
    return _mapping(folder, document, "the document")


def _mapping(folder: Path, value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _refused(folder, f"{name} is not a mapping")
    return cast("dict[str, object]", value)


def _plain(folder: Path, name: str, value: object) -> Plain:
    if not isinstance(value, Plain):
        raise _refused(folder, f"the parameter {name} is not a plain value")
    return value


def _refused(folder: Path, reason: str) -> ModelUnavailable:
    return ModelUnavailable(f"The speaker pipeline {folder.name} is not loaded: {reason}.")
