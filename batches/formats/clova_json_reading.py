"""Parser of JSON result files, to restore transcripts that the database has lost.

Words, times, speakers, confidences and quality signals are restored as written, rounded; the file does not
contain speaker turns and the waveform. Without word times in the file, segments have no words.
"""

from __future__ import annotations

import json
from typing import Any

from batches.recognition.transcript import Segment, Span, TextChange, Transcript, Word


class NotAResult(ValueError):
    """Raised when the bytes are not a result file of this portal."""


def read(data: bytes) -> tuple[str, Transcript]:
    """Parse a JSON result file: returns the task's ID and the transcript. Raises NotAResult."""
    try:
        document = json.loads(data)
        return str(document["token"]), _transcript(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAResult("This is no JSON result file of the portal.") from error


def _transcript(document: dict[str, Any]) -> Transcript:
    segments = [_segment(each) for each in document["segments"]]
    language = document["language"]
    duration = max((segment.end for segment in segments), default=0)
    spoken = sum(segment.end - segment.start for segment in segments)
    return Transcript(
        str(language["code"]),
        float(language["probability"]),
        duration,
        segments,
        speakers=[str(each["label"]) for each in document["speakers"]],
        speech_duration=min(spoken, duration),
        engine=dict(document["engine"]),
        flags=[str(flag) for flag in document["flags"]],
        unrecognised=[Span(int(each["start"]), int(each["end"])) for each in document["unrecognisedSpeech"]],
        missing_duration=int(document["missingDuration"]),
    )


def _segment(document: dict[str, Any]) -> Segment:
    speaker = str(document["diarization"]["label"])
    text, quality = str(document["text"]), document["quality"]
    return Segment(
        int(document["start"]),
        int(document["end"]),
        text,
        words=_words(document, speaker, text),
        confidence=float(document["confidence"]),
        speaker=speaker,
        mean_logprob=float(quality["meanLogProbability"]),
        no_speech_probability=float(quality["noSpeechProbability"]),
        compression_ratio=float(quality["compressionRatio"]),
        flags=[str(flag) for flag in quality["flags"]],
        changes=[*_changes(document.get("replacements", [])), *_changes(document.get("redactions", []))],
        machine_text=str(document.get("textMachine", "")),
    )


def _words(document: dict[str, Any], speaker: str, text: str) -> list[Word]:
    """Words of a segment, each with the preceding space that the text has there."""
    found = document["words"]
    confidences = document.get("wordConfidences") or [float(document["confidence"])] * len(found)
    words, place = [], 0
    for (start, end, word), confidence in zip(found, confidences, strict=True):
        at = text.find(word, place)
        spaced = at > 0 and text[at - 1].isspace()
        place = at + len(word) if at >= 0 else place
        written = f" {word}" if spaced else str(word)
        words.append(Word(int(start), int(end), written, float(confidence), speaker))
    return words


def _changes(documents: list[dict[str, Any]]) -> list[TextChange]:
    return [
        TextChange(
            str(each.get("kind", "replacement")),
            int(each["offset"]),
            int(each["length"]),
            int(each["start"]),
            int(each["end"]),
            str(each.get("heard", "")),
        )
        for each in documents
    ]
