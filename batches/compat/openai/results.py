"""Transcripts in the response formats of OpenAI's API. Times are in seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse, JsonResponse

from batches import formats
from batches.compat.openai import parameters
from batches.formats import Context
from batches.formats.forbidden import without_forbidden
from batches.models import ClientRequest, StoredTranscript, Task
from batches.models.languages import english_name
from batches.recognition.transcript import Segment, Transcript
from batches.status.failures import Level, failure_of_task
from batches.worker.result_files import result_context
from speechportal.api.problems import Problem

RENDERED = {parameters.SRT: "srt", parameters.VTT: "vtt"}
TASK_HEADER = "X-SpeechPortal-Task"
NO_RETRY = {"x-should-retry": "false"}  # Otherwise OpenAI's SDKs retry on 409, 429 and 5xx.


class Result:
    """Transcript of a completed task, with the response format of its request.

    Raises ``Problem`` for a failed or cancelled task, and for one whose transcript was deleted.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        request = ClientRequest.unscoped.filter(task=task).first()
        self.wanted: dict[str, Any] = dict(request.answer) if request else {}
        kept = StoredTranscript.unscoped.filter(task=task).first()
        if kept is None or task.state != Task.State.COMPLETED:
            raise _failure(task)
        self.transcript: Transcript
        self.context: Context
        found = kept.published()
        self.transcript, self.context = without_forbidden(found, result_context(task))

    @property
    def text(self) -> str:
        texts = (self.text_of(index, each) for index, each in enumerate(self.transcript.segments))
        return " ".join(filter(None, texts))

    def text_of(self, index: int, segment: Segment) -> str:
        return self.context.text_of(index, segment.text.strip())

    def response(self) -> HttpResponse:
        wanted = self.wanted.get("response_format", parameters.JSON)
        if wanted in RENDERED:
            body = formats.render(RENDERED[wanted], self.transcript, self.context)
            return HttpResponse(body, content_type=formats.FORMATS[RENDERED[wanted]].content_type)
        if wanted == parameters.TEXT:
            return HttpResponse(f"{self.text}\n", content_type="text/plain; charset=utf-8")
        return JsonResponse(self.document(wanted), json_dumps_params={"ensure_ascii": False})

    def document(self, wanted: str) -> dict[str, Any]:
        if wanted == parameters.VERBOSE:
            return self.verbose()
        if wanted == parameters.DIARIZED:
            return self.diarized()
        return {"text": self.text, "usage": self.usage()}

    def usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": math.ceil(self.transcript.duration / 1000)}

    def verbose(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "task": "transcribe",
            "language": english_name(self.transcript.language),
            "duration": _seconds(self.transcript.duration),
            "text": self.text,
            "usage": self.usage(),
        }
        granularities = self.wanted.get("granularities", ["segment"])
        if "segment" in granularities:
            numbered = enumerate(self.transcript.segments)
            found["segments"] = [self.segment(index, each) for index, each in numbered]
        if "word" in granularities:
            found["words"] = [
                {"word": word.text.strip(), "start": _seconds(word.start), "end": _seconds(word.end)}
                for segment in self.transcript.segments
                for word in segment.words
            ]
        return found

    def segment(self, index: int, segment: Segment) -> dict[str, Any]:
        return {
            "id": index,
            "seek": 0,
            "start": _seconds(segment.start),
            "end": _seconds(segment.end),
            "text": self.text_of(index, segment),
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": _finite(segment.mean_logprob),
            "compression_ratio": _finite(segment.compression_ratio),
            "no_speech_prob": _finite(segment.no_speech_probability),
        }

    def diarized(self) -> dict[str, Any]:
        return {
            "task": "transcribe",
            "duration": _seconds(self.transcript.duration),
            "text": self.text,
            "segments": [self.turn(index, each) for index, each in enumerate(self.transcript.segments)],
            "usage": self.usage(),
        }

    def turn(self, index: int, segment: Segment) -> dict[str, Any]:
        name = self.context.speaker_name(segment.speaker or "1")
        return turn(index, segment.start, segment.end, self.text_of(index, segment), name)

    def events(self) -> Iterator[bytes]:
        """The whole transcript as server-sent events: one for each segment, then one with the full text."""
        streamed = Streamed(is_diarized=self.wanted.get("response_format") == parameters.DIARIZED)
        for index, segment in enumerate(self.transcript.segments):
            name = self.context.speaker_name(segment.speaker or "1")
            yield streamed.add(segment.start, segment.end, self.text_of(index, segment), name)
        yield event({"type": "transcript.text.done", "text": self.text, "usage": self.usage()})


class Streamed:
    """Segments that were sent on a stream, as text deltas or, with diarization, as speaker turns."""

    def __init__(self, *, is_diarized: bool) -> None:
        self.is_diarized = is_diarized
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))

    def add(self, start: int, end: int, text: str, speaker: str) -> bytes:
        """Add the next segment; return its event, empty for a segment without text. Times are in ms."""
        space = " " if any(self.texts) else ""
        self.texts.append(text)
        if not text:
            return b""
        if self.is_diarized:
            return event(turn(len(self.texts) - 1, start, end, text, speaker))
        return event({"type": "transcript.text.delta", "delta": space + text})


def turn(index: int, start: int, end: int, text: str, speaker: str) -> dict[str, Any]:
    """Segment in OpenAI's ``diarized_json`` format. ``start`` and ``end`` are in ms."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{index + 1:03d}",
        "start": _seconds(start),
        "end": _seconds(end),
        "text": text,
        "speaker": speaker,
    }


def event(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def _failure(task: Task) -> Problem:
    """Error for a task without a transcript.

    400 if the task was cancelled or if its input file is the reason, 410 if the transcript was deleted,
    otherwise 500.
    """
    headers = {**NO_RETRY, TASK_HEADER: task.uid}
    if task.state == Task.State.CANCELLED:
        return Problem(400, "canceled", "The task was canceled.", headers)
    found = failure_of_task(task)
    if found is None:
        return Problem(410, "transcript_deleted", "The transcript was deleted.", headers)
    of_file = found.reason is None or found.reason.level is Level.FILE
    return Problem(400 if of_file else 500, found.code, found.sentence, headers)


def _seconds(milliseconds: int) -> float:
    return round(milliseconds / 1000, 3)


def _finite(number: float) -> float:
    return round(float(number), 6) if math.isfinite(number) else 0.0
