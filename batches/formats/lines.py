"""Lines of a transcript as edited by members: split, merged, assigned to another speaker, corrected.

The recognised transcript never changes. A correction stores a :class:`Line` for each line that differs, or
``None`` for one that was merged into another. A line refers to recognised words, from which its times,
confidence and recognised text are derived. :func:`as_corrected` returns the transcript from which every
format is rendered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from batches.recognition.transcript import Segment, Transcript, Word

from .characters import one_line
from .context import Context
from .timing import timed_units

Span = tuple[int, int, int]  # segment, first word, end (exclusive)


@dataclass(frozen=True)
class Line:
    """Line of the transcript.

    Args:
        uid: Decimal digits: the segment's index for a recognised line, a higher number for one that was
            split off.
        start: ms from the start of the media.
        end: ms.
        speaker: Label of the speaker; empty without diarization.
        spans: Its recognised words, in order; at least one span, which may be empty.
        text: Corrected text; ``None`` if it is as recognised.
    """

    uid: str
    start: int
    end: int
    speaker: str
    spans: tuple[Span, ...]
    text: str | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        return self.spans[0][0], self.start, int(self.uid)

    @property
    def tag(self) -> str:
        """Version tag of everything that members can change in the line, to detect concurrent changes."""
        state = json.dumps([self.start, self.end, self.speaker, self.spans, self.text], ensure_ascii=False)
        return hashlib.sha256(state.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        spans = [list(span) for span in self.spans]
        return {
            "start": self.start,
            "end": self.end,
            "speaker": self.speaker,
            "spans": spans,
            "text": self.text,
        }

    @classmethod
    def from_json(cls, uid: str, value: Mapping[str, Any]) -> Self:
        spans = tuple((segment, first, stop) for segment, first, stop in value["spans"])
        return cls(uid, value["start"], value["end"], value["speaker"], spans, value["text"])


def recognised_line(transcript: Transcript, index: int) -> Line:
    """Line of segment ``index`` as recognised, without changes."""
    segment = transcript.segments[index]
    spans = ((index, 0, len(words_of(segment))),)
    return Line(str(index), segment.start, segment.end, segment.speaker, spans)


def lines_of(transcript: Transcript, edits: Mapping[str, Any]) -> list[Line]:
    """All lines in order. ``edits`` maps line IDs to a line's JSON, or ``None`` for a removed line."""
    lines = [
        recognised_line(transcript, index)
        for index in range(len(transcript.segments))
        if str(index) not in edits
    ]
    lines += [Line.from_json(uid, value) for uid, value in edits.items() if value is not None]
    return sorted(lines, key=lambda line: line.order)


def words_of(segment: Segment) -> list[Word]:
    """Words of the segment; without any, its text is split at spaces and spread over its duration."""
    if segment.words:
        return segment.words
    pieces = timed_units(one_line(segment.text).strip(), [], segment.start, segment.end)
    return [Word(each.start, each.end, f"{' ' if each.space else ''}{each.text}") for each in pieces]


def recognised_words(transcript: Transcript, line: Line) -> list[Word]:
    return [
        word
        for segment, first, stop in line.spans
        for word in words_of(transcript.segments[segment])[first:stop]
    ]


def recognised_text(transcript: Transcript, line: Line) -> str:
    """Recognised text of the line, as a single line."""
    texts = []
    for at, first, stop in line.spans:
        segment = transcript.segments[at]
        words = words_of(segment)
        whole = (first, stop) == (0, len(words))
        texts.append(segment.text if whole else "".join(word.text for word in words[first:stop]))
    return " ".join(text for each in texts if (text := one_line(each).strip()))


def segment_of(transcript: Transcript, line: Line) -> Segment:
    """Convert a line to a segment; the recognised segment itself if at most the text was changed."""
    at = line.spans[0][0]
    first = transcript.segments[at]
    own = recognised_line(transcript, at)
    if replace(line, uid=own.uid, text=None) == own:
        return first
    words = [replace(word, speaker=line.speaker) for word in recognised_words(transcript, line)]
    sources = [transcript.segments[segment] for segment, _first, _stop in line.spans]
    return replace(
        first,
        start=line.start,
        end=line.end,
        text=recognised_text(transcript, line),
        words=words if first.words else [],
        confidence=sum(word.probability for word in words) / len(words) if words else first.confidence,
        speaker=line.speaker,
        flags=list(dict.fromkeys(flag for source in sources for flag in source.flags)),
        changes=[],  # Their offsets are those of the recognised line.
        machine_text="",
    )


def as_corrected(transcript: Transcript, context: Context) -> tuple[Transcript, Context]:
    """Apply the edits: returns the transcript with edited lines, and the context with texts by new index."""
    if not context.lines:
        return transcript, context
    lines = lines_of(transcript, context.lines)
    segments = [segment_of(transcript, line) for line in lines]
    used = dict.fromkeys(segment.speaker for segment in segments if segment.speaker)
    speakers = [label for label in transcript.speakers if label in used]
    speakers += [label for label in used if label not in transcript.speakers]
    texts = {index: line.text for index, line in enumerate(lines) if line.text is not None}
    corrected = replace(transcript, segments=segments, speakers=speakers)
    return corrected, replace(context, lines={}, edited_texts=texts)
