"""A pipeline from Hugging Face is asked for at the commit that its name gives."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from batches.recognition.errors import ModelUnavailable
from batches.recognition.model_store import ModelStore


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a hub on this machine is asked for; it has nothing."""
    paths: list[str] = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_arguments: object) -> None:
            """Not on the tests' own output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield paths
    server.shutdown()
    thread.join()
    server.server_close()


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
