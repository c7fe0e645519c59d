"""JSON: CLOVA Speech's keys, and our additional ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batches.formats import Context
from batches.formats.characters import encodable
from batches.formats.clova_json import document
from batches.recognition.transcript import Span, Transcript
from tests.formats.samples import any_text, interview, silence, text_of, transcripts

CONTEXT = Context(
    task_id="8f2c",
    service="speechportal",
    domain="meetings",
    language="en-US",
    diarization=True,
    max_speakers=3,
    keywords=("Speech Portal", "CLOVA"),
    userdata={"case": 17},
    speaker_names={"2": "Dr. Kim"},
    edited_texts={1: "Fine, thank you!"},
)


def test_example() -> None:
    read = json.loads(text_of("json", interview(), CONTEXT))
    segments = read.pop("segments")
    assert read == {
        "result": "COMPLETED",
        "message": "Succeeded",
        "token": "8f2c",
        "version": "openai-whisper_20250625_base",
        "params": {
            "service": "speechportal",
            "domain": "meetings",
            "lang": "en",
            "completion": "async",
            "diarization": {"enable": True, "speakerCountMin": -1, "speakerCountMax": 3},
            "sed": {"enable": False},
            "boostings": [{"words": "Speech Portal,CLOVA"}],
            "forbiddens": "",
            "wordAlignment": True,
            "fullText": True,
            "userdata": {"case": 17},
        },
        "progress": 100,
        "keywords": {},
        "text": "Good morning. How are you? Fine, thanks! Then let us begin.",
        "confidence": 0.9471,
        "speakers": [
            {"label": "1", "name": "A", "edited": False},
            {"label": "2", "name": "Dr. Kim", "edited": True},
        ],
        "events": [],
        "eventTypes": [],
        "language": {"code": "en", "probability": 0.9877, "requested": "en-US"},
        "engine": {"name": "openai-whisper", "version": "20250625", "model": "base"},
        "quality": {"noSpeechShare": 0.3, "meanLogProbability": -0.25, "flags": []},
        "flags": [],
        "missingDuration": 0,
        "unrecognisedSpeech": [],
    }
    assert segments[1] == {
        "start": 3200,
        "end": 3950,
        "text": "Fine, thanks!",
        "confidence": 0.9471,
        "diarization": {"label": "2"},
        "speaker": {"label": "2", "name": "Dr. Kim", "edited": True},
        "words": [[3200, 3550, "Fine,"], [3600, 3950, "thanks!"]],
        "textEdited": "Fine, thank you!",
        "quality": {
            "noSpeechProbability": 0.01,
            "meanLogProbability": -0.25,
            "compressionRatio": 1.2,
            "flags": [],
        },
    }


def test_signs_of_doubt_are_told_of_the_whole_and_of_the_segment() -> None:
    transcript = interview()
    transcript.flags = ["language_mismatch", "truncated"]
    transcript.segments[2].flags = ["repetition", "low_confidence"]
    transcript.segments[2].mean_logprob = -1.5
    read = json.loads(text_of("json", transcript, CONTEXT))
    assert read["flags"] == ["language_mismatch", "truncated"]
    assert read["quality"]["flags"] == ["language_mismatch", "truncated", "repetition", "low_confidence"]
    assert -1.5 < read["quality"]["meanLogProbability"] < -0.25
    assert read["segments"][2]["quality"]["flags"] == ["repetition", "low_confidence"]
    assert len(read["segments"]) == 3


def test_speech_without_words_and_missing_sound_are_named() -> None:
    transcript = interview()
    transcript.unrecognised, transcript.missing_duration = [Span(5000, 9000)], 1200
    read = json.loads(text_of("json", transcript, CONTEXT))
    assert read["unrecognisedSpeech"] == [{"start": 5000, "end": 9000}]
    assert read["missingDuration"] == 1200


def test_words_have_their_confidence_where_it_is_asked_for() -> None:
    transcript = interview()
    plain, full = (
        json.loads(text_of("json", transcript, replace(CONTEXT, word_confidence=wanted)))
        for wanted in (False, True)
    )
    assert not any("wordConfidences" in segment for segment in plain["segments"])
    for segment, written in zip(transcript.segments, full["segments"], strict=True):
        assert written["wordConfidences"] == [round(word.probability, 4) for word in segment.words]
        assert len(written["wordConfidences"]) == len(written["words"])


def test_keys_stand_in_clovas_order() -> None:
    keys = list(json.loads(text_of("json", interview(), CONTEXT)))
    assert keys[:11] == [
        "result", "message", "token", "version", "params", "progress", "keywords", "segments", "text",
        "confidence", "speakers",
    ]  # fmt: skip


def test_a_client_that_knows_clova_reads_it() -> None:
    """The walk that public clients take: speakers' turns from segments, words from their lists."""
    result = json.loads(text_of("json", interview(), CONTEXT))
    assert result["result"] == "COMPLETED"
    turns = [f"{segment['speaker']['name']}: {segment['textEdited']}" for segment in result["segments"]]
    assert turns[1] == "Dr. Kim: Fine, thank you!"
    for segment in result["segments"]:
        for start, end, word in segment["words"]:
            assert segment["start"] <= start <= end <= segment["end"]
            assert word in segment["text"]
        assert segment["diarization"]["label"] in {speaker["label"] for speaker in result["speakers"]}


def test_silence() -> None:
    read = json.loads(text_of("json", silence()))
    assert (read["segments"], read["text"], read["confidence"], read["speakers"]) == ([], "", 0.0, [])
    assert read["flags"] == ["no_speech"]


def test_without_speakers_the_objects_are_there_and_empty() -> None:
    transcript = interview()
    transcript.speakers = []
    for segment in transcript.segments:
        segment.speaker = ""
    read = json.loads(text_of("json", transcript))
    assert read["speakers"] == []
    assert read["segments"][0]["diarization"] == {"label": ""}
    assert read["segments"][0]["speaker"] == {"label": "", "name": "", "edited": False}


def test_language_codes() -> None:
    def lang(asked: str) -> str:
        found: str = document(interview(), Context(language=asked))["params"]["lang"]
        return found

    asked = ["ko-KR", "en-us", "enko", "ja", "zh-CN", "zh_tw", "fr", "auto", ""]
    assert [lang(code) for code in asked] == ["ko", "en", "enko", "ja", "zh-cn", "zh-tw", "fr", "en", "en"]


def test_word_times_and_full_text_can_be_left_out() -> None:
    read = document(interview(), Context(word_alignment=False, full_text=False))
    assert read["text"] == ""
    assert [segment["words"] for segment in read["segments"]] == [[], [], []]


def test_korean_is_written_as_it_is() -> None:
    assert "김 박사" in text_of("json", interview(), Context(speaker_names={"1": "김 박사"}))


def test_numbers_that_json_does_not_know() -> None:
    transcript = interview()
    transcript.segments[0].mean_logprob = float("-inf")
    transcript.engine["threshold"] = float("nan")
    read = json.loads(text_of("json", transcript))
    assert read["segments"][0]["quality"]["meanLogProbability"] == 0.0
    assert read["engine"]["threshold"] is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


@given(transcripts(), st.dictionaries(any_text, _json, max_size=3))
def test_round_trip(transcript: Transcript, userdata: dict[str, Any]) -> None:
    context = Context(userdata=userdata)
    text = text_of("json", transcript, context)
    read = json.loads(text.encode().decode())
    assert read == document(transcript, context)
    assert [segment["text"] for segment in read["segments"]] == [
        encodable(segment.text.strip()) for segment in transcript.segments
    ]
    words = [word for segment in read["segments"] for word in segment["words"]]
    assert words == [
        [word.start, word.end, encodable(word.text.strip())]
        for segment in transcript.segments
        for word in segment.words
    ]
