"""Many results in one ZIP file, with a manifest."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment
from batches.recognition.transcript import Transcript as Document
from tests.api.client import Api
from tests.clients import Client
from tests.factories import make_batch, make_task


@pytest.fixture
def batch(alice: Api) -> Batch:
    batch = make_batch(alice.account, formats=["json", "srt"])
    for name in ("월/a.mp3", "../b.mp3", "b.mp3"):
        task = make_task(batch, name=name, state="completed")
        document = Document("ko", 1.0, 1000, [Segment(0, 1000, f"말 {name}")])
        StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    make_task(batch, name="bad.mp3", state="failed")
    make_task(batch, name="waiting.mp3")
    return batch


def unpacked(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_results_come_as_one_file_with_a_manifest(alice: Api, batch: Batch) -> None:
    answer = alice.get(f"batches/{batch.uid}/results.zip?format=srt&format=txt")
    assert answer.headers["Content-Type"] == "application/zip"
    found = unpacked(b"".join(answer.streaming_content))
    second = Task.unscoped.get(name="b.mp3")
    assert set(found) == {
        *("월/a.mp3.srt", "월/a.mp3.txt", "b.mp3.srt", "b.mp3.txt"),
        *(f"b.mp3.{second.uid}.srt", f"b.mp3.{second.uid}.txt", "manifest.json"),
    }
    assert "말 월/a.mp3" in found["월/a.mp3.txt"].decode()
    manifest = json.loads(found["manifest.json"])
    assert [each["name"] for each in manifest] == ["월/a.mp3", "../b.mp3", "b.mp3", "bad.mp3"]
    assert manifest[3]["files"] == []
    assert (manifest[3]["state"], manifest[3]["cause"]) == ("failed", "not_media")


def test_the_page_has_it_in_the_batchs_formats(alice: Api, batch: Batch) -> None:
    client = Client()
    client.force_login(alice.user)
    answer = client.get(f"/batches/{batch.uid}/results.zip")
    found = unpacked(b"".join(answer.streaming_content))  # type: ignore[attr-defined] # it streams
    assert {"월/a.mp3.json", "월/a.mp3.srt", "manifest.json"} <= set(found)


def test_strangers_get_nothing(charlie: Api, alice: Api, batch: Batch) -> None:
    assert charlie.get(f"batches/{batch.uid}/results.zip").status_code == 404
    unknown = alice.get(f"batches/{batch.uid}/results.zip?format=pdf")
    assert unknown.status_code == 400
