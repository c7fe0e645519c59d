"""A pyannote pipeline as the speaker model of ``manage.py recognise``."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.sample_speech import write_call
from tests.speaker_pipelines import make_community_1, make_version_3_1


def test_recognise_takes_a_pipeline_as_the_speaker_model(tmp_path: Path) -> None:
    pipeline = make_version_3_1(tmp_path / "pipeline")
    options = ["--speaker-model", str(pipeline), "--min-speakers", "2", "--max-speakers", "2"]
    output = ["--format", "json", "--output", str(tmp_path)]
    call = write_call(tmp_path / "call.wav", 0, 30)
    call_command("recognise", str(call), "--language", "en", *options, *output)
    document = json.loads((tmp_path / "call.wav.json").read_text())
    assert {speaker["label"] for speaker in document["speakers"]} == {"1", "2"}
    assert {segment["speaker"]["label"] for segment in document["segments"]} == {"1", "2"}
    assert "New Jersey" in document["text"]


def test_a_pipeline_that_is_refused_is_said_plainly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = make_community_1(tmp_path / "ours")
    call = write_call(tmp_path / "call.wav", 0, 30)
    config = pipeline / "config.yaml"
    config.write_text(config.read_text().replace("pyannote.audio.pipelines.", "our.own."))
    with pytest.raises(SystemExit):
        call_command("recognise", str(call), "--speakers", "--speaker-model", str(pipeline))
    assert "The speaker pipeline ours is not loaded: it names the code our.own." in capsys.readouterr().err
