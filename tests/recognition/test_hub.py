"""Fetching models from Hugging Face: the revision in the name, the token, and why something is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.loopback import Handler, serving


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
