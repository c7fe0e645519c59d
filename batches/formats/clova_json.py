"""JSON in the structure of CLOVA Speech's result, so that programs written for it work unchanged.

The portal adds ``language``, ``engine``, ``quality``, ``flags``, ``unrecognisedSpeech`` and
``missingDuration`` of the transcript; ``quality`` and, if requested, ``wordConfidences`` of each segment;
``textMachine``, ``replacements`` and ``redactions`` of a segment that post-processing changed. CLOVA's own
keys keep their names, types and meanings.
"""

from __future__ import annotations

import json
import math
from typing import Any

from batches.recognition.transcript import SCHEMA_VERSION, Segment, TextChange, Transcript

from .characters import encodable
from .context import Context
from .forbidden import without_forbidden
from .format import Format
from .lines import as_corrected

# CLOVA's ``params.lang`` for its own codes of ``language``.
_CLOVA_LANGUAGES = {"ko-kr": "ko", "en-us": "en"}


def render(transcript: Transcript, context: Context) -> str:
    return json.dumps(document(transcript, context), ensure_ascii=False, allow_nan=False, indent=None)


def document(transcript: Transcript, context: Context) -> dict[str, Any]:
    """Result as plain data, for a webhook or a response of the API."""
    transcript, context = without_forbidden(*as_corrected(transcript, context))
    result: dict[str, Any] = {
        "result": "COMPLETED",
        "message": "Succeeded",
        "token": context.task_id,
        "version": context.version or _version(transcript),
        "params": _params(transcript, context),
        "progress": 100,
        "keywords": {},
        "segments": [_segment(index, segment, context) for index, segment in enumerate(transcript.segments)],
        "text": transcript.text if context.full_text else "",
        "confidence": _rounded(transcript.confidence),
        "speakers": [_speaker(label, context) for label in _labels(transcript)],
        # Sound events, always empty since there is no detector; CLOVA's clients read the lists.
        "events": [],
        "eventTypes": [],
        "language": {
            "code": transcript.language,
            "probability": _rounded(transcript.language_probability),
            "requested": context.language,
        },
        "engine": transcript.engine,
        "quality": {
            "noSpeechShare": _rounded(transcript.no_speech_share),
            "meanLogProbability": _rounded(transcript.mean_logprob),
            "flags": transcript.all_flags,
        },
        "flags": list(transcript.flags),
        "unrecognisedSpeech": [{"start": span.start, "end": span.end} for span in transcript.unrecognised],
        "missingDuration": transcript.missing_duration,
    }
    clean: dict[str, Any] = _encodable(result)
    return clean


def _params(transcript: Transcript, context: Context) -> dict[str, Any]:
    return {
        "service": context.service,
        "domain": context.domain,
        "lang": _language(transcript.language, context.language),
        "completion": context.completion,
        "diarization": {
            "enable": context.diarization,
            "speakerCountMin": context.min_speakers,
            "speakerCountMax": context.max_speakers,
        },
        "sed": {"enable": False},
        "boostings": [{"words": ",".join(context.keywords)}] if context.keywords else [],
        "forbiddens": context.asked_forbidden,
        "wordAlignment": context.word_alignment,
        "fullText": context.full_text,
        "userdata": context.userdata or {},
    }


def _segment(index: int, segment: Segment, context: Context) -> dict[str, Any]:
    text = segment.text.strip()
    words = [[word.start, word.end, word.text.strip()] for word in segment.words]
    confidences = [_rounded(word.probability) for word in segment.words]
    return {
        "start": segment.start,
        "end": segment.end,
        "text": text,
        "confidence": _rounded(segment.confidence),
        "diarization": {"label": segment.speaker},
        "speaker": _speaker(segment.speaker, context),
        "words": words if context.word_alignment else [],
        **({"wordConfidences": confidences} if context.word_confidence else {}),
        "textEdited": context.text_of(index, text),
        **_changes(segment, text),
        "quality": {
            "noSpeechProbability": _rounded(segment.no_speech_probability),
            "meanLogProbability": _rounded(segment.mean_logprob),
            "compressionRatio": _rounded(segment.compression_ratio),
            "flags": list(segment.flags),
        },
    }


def _changes(segment: Segment, text: str) -> dict[str, Any]:
    """Keys for the changes of a segment by post-processing; none if it is unchanged."""
    found: dict[str, Any] = {}
    if segment.machine_text:
        found["textMachine"] = segment.machine_text.strip()
    if replaced := [_replacement(text, change) for change in segment.changes if not change.is_redaction]:
        found["replacements"] = replaced
    if redacted := [_redaction(change) for change in segment.changes if change.is_redaction]:
        found["redactions"] = redacted
    return found


def _replacement(text: str, change: TextChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "offset": change.offset,
        "length": change.length,
        "written": text[change.offset : change.offset + change.length],
        "heard": change.heard,
        "start": change.start,
        "end": change.end,
    }


def _redaction(change: TextChange) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "offset": change.offset,
        "length": change.length,
        "start": change.start,
        "end": change.end,
    }


def _speaker(label: str, context: Context) -> dict[str, Any]:
    """Speaker object; its label and name are empty without diarization."""
    if not label:
        return {"label": "", "name": "", "edited": False}
    return {"label": label, "name": context.speaker_name(label), "edited": context.is_renamed(label)}


def _labels(transcript: Transcript) -> list[str]:
    heard = (segment.speaker for segment in transcript.segments if segment.speaker)
    return list(dict.fromkeys([*transcript.speakers, *heard]))


def _language(recognised: str, asked: str) -> str:
    """CLOVA's code of the requested language, or of the recognised one if detection was requested."""
    folded = asked.strip().lower().replace("_", "-")
    if folded in {"", "auto"}:
        return recognised
    return _CLOVA_LANGUAGES.get(folded, folded)


def _version(transcript: Transcript) -> str:
    names = (transcript.engine.get(key) for key in ("name", "version", "model"))
    return "_".join([str(name) for name in names if name] or [f"transcript_v{SCHEMA_VERSION}"])


def _rounded(number: float) -> float:
    return round(float(number), 4) if math.isfinite(number) else 0.0


def _encodable(value: Any) -> Any:
    """Copy the data without values that JSON in UTF-8 cannot encode: lone surrogates, NaN and infinity."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {encodable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


FORMAT = Format("json", "JSON", "application/json", render)
