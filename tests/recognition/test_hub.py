"""Download of models from Hugging Face: pinned revision, token, and reasons for refusals."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from batches.recognition import registry
from batches.recognition.diarization.pipeline_folder import part_folder, pipeline_problems
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.loopback import Handler, serving
from tests.speaker_pipelines import make_version_3_1


class Hub(Handler):
    """Refuses every request, with ``status`` and ``code`` as the hub names its reasons."""

    status, code = 404, "RepoNotFound"
    paths: list[str]
    tokens: list[str]

    def asked(self) -> None:
        self.paths.append(self.path)
        self.tokens.append(self.headers.get("Authorization", ""))
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine."""

    class Own(Hub):
        paths: list[str] = []
        tokens: list[str] = []

    with serving(Own) as place:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://{place}")
        yield Own


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("owner/pipeline@0123abc", "/api/models/owner/pipeline/revision/0123abc"),
        ("owner/pipeline", "/api/models/owner/pipeline/revision/main"),
    ],
)
def test_the_commit_in_the_name_is_what_is_fetched(
    hub: type[Hub], tmp_path: Path, name: str, path: str
) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(ModelUnavailable):
        store.fetch(name)
    assert path in hub.paths
    assert store.status(name).state == "missing"


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "GatedRepo", "accept them on its page"),
        (404, "RepoNotFound", "check the name"),
        (404, "RevisionNotFound", "no revision 'v9'"),
    ],
)
def test_the_reason_of_a_refusal_is_told_with_the_remedy(
    hub: type[Hub], tmp_path: Path, status: int, code: str, sentence: str
) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(ModelUnavailable) as caught:
        ModelStore(tmp_path, hub_token="hf_secret").fetch("owner/gated@v9")
    assert sentence in caught.value.message
    assert "hf_secret" not in caught.value.message
    assert "Bearer hf_secret" in hub.tokens


def test_a_pipelines_repositories_are_fetched_into_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 3.1 names two other repositories, with their checkpoints at the top level."""
    made = make_version_3_1(tmp_path / "made")
    repositories = {"pyannote/speaker-diarization-3.1": made}
    for name in ("pyannote/segmentation-3.0", "pyannote/wespeaker-voxceleb-resnet34-LM"):
        repositories[name] = part_folder(made, name)
    asked: list[str] = []

    def download(
        repository: str, *, local_dir: Path, token: str | None, ignore_patterns: list[str], **_: object
    ) -> None:
        asked.append(f"{repository} {token}")
        local_dir.mkdir(parents=True, exist_ok=True)
        for path in repositories[repository].iterdir():
            if path.is_file() and not any(fnmatch(path.name, pattern) for pattern in ignore_patterns):
                shutil.copy(path, local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    store = ModelStore(tmp_path / "models", hub_token="hf_secret")
    folder = store.fetch("pyannote/speaker-diarization-3.1")
    assert asked == [f"{name} hf_secret" for name in repositories]
    assert pipeline_problems(folder) == []
    assert store.verify("pyannote/speaker-diarization-3.1") == []
    assert registry.find_diarizer("pyannote/speaker-diarization-3.1", store).name == "pyannote"

    checkpoint = part_folder(folder, "pyannote/segmentation-3.0") / "pytorch_model.bin"
    checkpoint.write_bytes(b"damaged")
    (problem,) = store.verify("pyannote/speaker-diarization-3.1")
    assert "does not match its SHA-256" in problem
