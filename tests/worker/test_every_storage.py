"""One batch on every kind of storage: found, recognised, written, moved, and read by links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batches.intake import polling, uploads
from batches.models import ResultFile, Task
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.models import Connection
from tests.factories import make_batch
from tests.workbench import Engine, work

pytestmark = pytest.mark.django_db
Opener = Callable[..., ObjectStore]
KINDS = ["swift_store", "gcs_store", "sftp_store"]


def read(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("azure_store", marks=pytest.mark.programs)])
def test_a_batch_runs_from_end_to_end(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.SETTLE_SECONDS = 0
    opener: Opener = request.getfixturevalue(kind)
    store = opener()
    monkeypatch.setattr(Connection, "store", lambda _connection: store)
    batch = make_batch(name="calls", formats=["json", "srt", "docx"])
    store.put("in/monday/통화 1.mp3", b"sound", "audio/mpeg")
    store.put("in/notes.txt", b"no sound")
    assert polling.poll(batch.pk) == 0  # It has to settle.
    assert polling.poll(batch.pk) == 1
    # A second file is uploaded meanwhile, and becomes a task without a poll.
    assert uploads.prepare(batch=batch, name="upload.mp3").url.startswith(("http://", "https://"))
    store.put("in/upload.mp3", b"more sound")
    uploads.finish(batch=batch, name="upload.mp3")
    engine = Engine()
    for _ in range(2):
        ended = work(engine)
        assert ended.state == Task.State.COMPLETED, (ended.error_code, ended.error_message)
    batch.refresh_from_db()
    assert [each["names"] for each in batch.left_alone] == [["in/notes.txt"]]
    results = set(ResultFile.unscoped.exclude(written_at=None).values_list("key", flat=True))
    assert results == {
        f"out/{name}.{ending}"
        for name in ("monday/통화 1.mp3", "upload.mp3")
        for ending in ("json", "srt", "docx")
    }
    assert b"Good morning" in read(store, "out/monday/통화 1.mp3.json")
    assert read(store, "out/upload.mp3.docx").startswith(b"PK")
    assert read(store, "in/calls/monday/통화 1.mp3") == b"sound"
    assert read(store, "in/calls/upload.mp3") == b"more sound"
    assert store.stat("in/monday/통화 1.mp3") is None
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)
    link = store.presign("out/upload.mp3.srt", expires=60, filename="upload.srt")
    assert link.startswith(("http://", "https://"))
