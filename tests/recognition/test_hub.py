"""A pipeline from Hugging Face is asked for at the commit that its name gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.loopback import Handler, serving


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a hub on this machine is asked for; it has nothing."""
    paths: list[str] = []

    class Hub(Handler):
        def asked(self) -> None:
            paths.append(self.path)
            self.answer(b"", 404)

    with serving(Hub) as place:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://{place}")
        yield paths


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("owner/pipeline@0123abc", "/api/models/owner/pipeline/revision/0123abc"),
        ("owner/pipeline", "/api/models/owner/pipeline/revision/main"),
    ],
)
def test_the_commit_in_the_name_is_what_is_fetched(
    asked: list[str], tmp_path: Path, name: str, path: str
) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(ModelUnavailable):
        store.fetch(name)
    assert path in asked
    assert store.status(name).state == "missing"
