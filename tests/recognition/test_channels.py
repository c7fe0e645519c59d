"""Channels as speakers: each channel is recognised by itself, and the segments are merged."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command

from batches.recognition.media.channels import alike
from batches.recognition.media.decoding import Samples, probe
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from batches.recognition.transcript import Transcript
from tests.recognition.recognise import ignore, recognise
from tests.recognition.sounds import convert, write_wav
from tests.sample_speech import load_sample

RATE = 16_000
BY_CHANNEL = Options(language="en", channels=True)


def call() -> Samples:
    """Nine seconds: "This is Diane in New Jersey" on the left; on the right, meanwhile, about Chicago."""
    sample = load_sample()
    sound = np.zeros((9 * RATE, 2), dtype=np.float32)
    sound[RATE : 3 * RATE, 0] = sample[round(12.5 * RATE) : round(14.5 * RATE)]
    sound[2 * RATE : 7 * RATE, 1] = sample[15 * RATE : 20 * RATE]
    return sound


@pytest.fixture(scope="module")
def transcript(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    path = write_wav(tmp_path_factory.mktemp("call") / "call.wav", call())
    options = Options(language="en", channels=True, speakers=True)
    return recognise(engine, path, options)


def said(transcript: Transcript, speaker: str) -> str:
    return " ".join(segment.text for segment in transcript.segments if segment.speaker == speaker)


def test_each_channel_is_a_speaker_with_what_is_said_on_it(transcript: Transcript) -> None:
    assert sorted(transcript.speakers) == ["1", "2"]
    assert "Jersey" in said(transcript, "1")
    assert "Jersey" not in said(transcript, "2")
    assert "Chicago" in said(transcript, "2")
    assert transcript.engine["channels"] == 2


def test_segments_are_in_the_order_of_time_and_words_have_their_channels_speaker(
    transcript: Transcript,
) -> None:
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    for segment in transcript.segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert all(a.end <= b.start for a, b in itertools.pairwise(segment.words))


def test_people_who_speak_at_the_same_time_are_both_heard(transcript: Transcript) -> None:
    left = [turn for turn in transcript.turns if turn.speaker == "1"]
    right = [turn for turn in transcript.turns if turn.speaker == "2"]
    assert any(one.start < other.end and other.start < one.end for one in left for other in right)
    both = sum(turn.end - turn.start for turn in transcript.turns)
    assert 0 < transcript.speech_duration < both


@pytest.mark.parametrize("volume", [1.0, 0.4])
def test_the_same_sound_on_both_channels_is_heard_once(engine: Engine, tmp_path: Path, volume: float) -> None:
    one = load_sample()[round(12.5 * RATE) : round(14.5 * RATE)]
    path = write_wav(tmp_path / "double.wav", np.stack([one, volume * one], axis=1))
    found = recognise(engine, path, BY_CHANNEL)
    assert found.text.count("Jersey") == 1
    assert found.engine["channels"] == 1
    assert found.speakers == ["1"]


def test_a_mono_file_has_one_speaker_unless_voices_are_told_apart(engine: Engine, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "mono.wav", load_sample()[6 * RATE : 20 * RATE])
    assert recognise(engine, path, BY_CHANNEL).speakers == ["1"]
    options = Options(language="en", channels=True, speakers=True)
    audio = engine.load_audio(path, options, ignore)
    words = engine.transcribe(audio, options, ignore)
    assert words.speakers == []
    assert engine.add_speakers(audio, words, options, ignore).speakers == ["1", "2"]


def test_a_channel_on_which_nobody_speaks_has_no_speaker(engine: Engine, tmp_path: Path) -> None:
    sound = call()
    sound[:, 1] = 0.0
    found = recognise(engine, write_wav(tmp_path / "half.wav", sound), BY_CHANNEL)
    assert found.speakers == ["1"]
    assert "Jersey" in found.text


def test_without_the_setting_channels_are_mixed_down(engine: Engine, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "call.wav", call())
    found = recognise(engine, path, Options(language="en"))
    assert found.speakers == []
    assert "channels" not in found.engine


@pytest.mark.parametrize(
    ("layout", "count"), [("mono", 1), ("stereo", 2), ("3.0", 3), ("quad", 4), ("5.1", 6), ("7.1", 8)]
)
def test_channels_are_counted_by_the_layouts_name(tmp_path: Path, layout: str, count: int) -> None:
    source = write_wav(tmp_path / "mono.wav", load_sample()[: 4 * RATE])
    path = convert(source, tmp_path / "many.flac", "-af", f"aformat=channel_layouts={layout}")
    assert probe(path).channels == count


def test_channels_are_alike_whatever_their_volume_but_not_whatever_their_sound() -> None:
    random = np.random.default_rng(7)
    one, other = (random.normal(size=RATE).astype(np.float32) for _ in range(2))
    nothing = np.zeros(RATE, dtype=np.float32)
    assert alike(one, 0.1 * one)
    assert alike(one, -one)
    assert alike(one, one + 0.05 * other)
    assert not alike(one, other)
    assert not alike(one, one + 0.5 * other)
    assert alike(nothing, nothing)
    assert not alike(one, nothing)


def test_the_command_takes_channels_as_speakers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_wav(tmp_path / "call.wav", call())
    call_command("recognise", str(path), "--language", "en", "--channels", "--format", "json")
    result = json.loads(capsys.readouterr().out)
    texts = dict.fromkeys("AB", "")
    for segment in result["segments"]:
        texts[segment["speaker"]["name"]] += segment["text"]
    assert "Jersey" in texts["A"]
    assert "Chicago" in texts["B"]
    assert result["params"]["diarization"]["enable"] is True
