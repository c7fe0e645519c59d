"""PocketSphinx, a recogniser other than Whisper, with the same contract: words with times and scores."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command

from batches.recognition import registry
from batches.recognition.asr.pocketsphinx import MODEL
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.sample_speech import write_call


@pytest.mark.parametrize("engine", ["", "whisper", "faster-whisper", "pocketsphinx"])
def test_its_model_needs_no_engine_by_name(engine: str) -> None:
    assert registry.find_recogniser(MODEL, ModelStore(), engine).name == "pocketsphinx"


@pytest.mark.parametrize(("engine", "expected"), [("", "whisper"), ("faster-whisper", "faster-whisper")])
def test_whisper_models_stay_with_whisper(engine: str, expected: str) -> None:
    assert registry.find_recogniser("base", ModelStore(), engine).name == expected
    assert registry.find_recogniser("/srv/models/fine:tuned.pt", ModelStore(), engine).name == expected


def test_an_unknown_model_of_another_recogniser_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="pocketsphinx:ko"):
        registry.find_recogniser("pocketsphinx:ko", ModelStore())


def test_its_model_is_there_without_a_models_folder(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    registry.find_recogniser(MODEL, store).require_present(MODEL, store)
    with pytest.raises(ModelUnavailable, match="models fetch base"):
        registry.find_recogniser("base", store).require_present("base", store)


def test_the_sample_has_words_with_times_and_scores(tmp_path: Path) -> None:
    call = write_call(tmp_path / "call.wav", 0, 22)
    options = ["--model", MODEL, "--language", "en", "--format", "json", "--output", str(tmp_path)]
    call_command("recognise", str(call), *options)
    document = json.loads((tmp_path / "call.wav.json").read_text())
    text = " ".join(segment["text"] for segment in document["segments"])
    for word in ("hello", "chicago"):
        assert word in text.lower()
    words = [word for segment in document["segments"] for word in segment["words"]]
    assert len(words) > 25
    assert all(0 <= start < end <= 22_000 for start, end, _ in words)
    assert [start for start, _, _ in words] == sorted(start for start, _, _ in words)
