"""A pyannote pipeline as the speaker model of a batch: from the file to the API's result."""

import json
from pathlib import Path

from pytest_django.fixtures import Settings

from batches.models import Task
from batches.tasks import scheduling
from batches.worker import processing
from tests.api.client import Api
from tests.factories import make_batch
from tests.recognition.engine_pools import client_of, engines
from tests.sample_speech import write_call
from tests.speaker_pipelines import make_community_1
from tests.workbench import drop, folder


def test_a_batch_has_its_speakers_from_a_pipeline(alice: Api, settings: Settings, tmp_path: Path) -> None:
    settings.SETTLE_SECONDS = 0
    pipeline = make_community_1(tmp_path / "community-1")
    settings.SPEAKER_MODELS = [str(pipeline)]
    batch = make_batch(alice.account, speakers=True, min_speakers=2, max_speakers=2, formats=["json"])
    task = drop(batch, "call.wav", write_call(tmp_path / "call.wav", 0, 30).read_bytes())
    claim = scheduling.claim_next("test")
    assert claim is not None
    engine = engines(tmp_path / "engines", speaker_model=str(pipeline), readable=(pipeline,))
    with engine as pool, client_of(pool) as client:
        processing.process(claim, client, lambda: False)
    task = Task.unscoped.get(pk=task.pk)
    assert task.state == Task.State.COMPLETED, task.error_message
    assert task.settings is not None
    assert task.settings.model_pair.speakers == str(pipeline)

    found = json.loads(alice.get(f"tasks/{task.uid}/results/json").content)
    assert {segment["speaker"]["label"] for segment in found["segments"]} == {"1", "2"}
    assert found == json.loads((folder(batch) / "out/call.wav.json").read_text())
