"""A transcript as a page shows it: lines with speakers, and words with the times at which they are said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.formats import Context
from batches.formats.characters import one_line
from batches.formats.timing import timed_units
from batches.models import Task, languages
from batches.recognition.transcript import Segment, Transcript, Word
from speechportal.platform.templatetags.portal import duration

SPEAKER_COLOURS = 8
UNSURE = 0.4  # A word of a lower probability is marked: read it again.
VIDEO = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})


# Whisper's codes, which are those of ISO 639.
LANGUAGES: dict[str, str | Promise] = {
    **dict(languages.OTHERS),
    "ko": _("Korean"),
    "en": _("English"),
    "ja": _("Japanese"),
    "zh": _("Chinese"),
}


@dataclass(frozen=True)
class Speaker:
    label: str
    name: str  # as given by a person, else a letter
    given: str  # by a person; empty where there is none
    colour: int
    share: int  # per cent of the time in which somebody speaks


@dataclass(frozen=True)
class Line:
    """A segment. ``words`` is what static/portal/transcript.js makes words of, to be lit and clicked."""

    index: int
    start: int  # ms
    end: int  # ms
    text: str
    machine_text: str
    heard: str  # before replacements; empty where nothing was replaced
    redacted: bool
    edited: bool
    speaker: str  # the name; empty where speakers were not asked for
    label: str
    colour: int
    flags: Sequence[str]
    words: str  # "offset,length,start,end[,1]" joined by spaces; 1: unsure; times from the line's start


def notices_of(transcript: Transcript) -> list[str]:
    """Sentences about sound that is missing, left out, or has no words although somebody speaks."""
    found: list[str] = []
    if "truncated" in transcript.flags:
        found.append(_truncated(transcript.missing_duration))
    if "tracks_left_out" in transcript.flags:
        found.append(gettext("The recording has other audio tracks with sound; they were left out."))
    found += [
        gettext("No words were recognised in the speech from %(start)s to %(end)s.")
        % {"start": duration(span.start), "end": duration(span.end)}
        for span in transcript.unrecognised
    ]
    return found


def _truncated(missing: int) -> str:
    if missing:
        return gettext("The file is damaged or cut off: %(length)s of its sound is missing.") % {
            "length": duration(missing)
        }
    return gettext("The file is damaged or cut off: some of its sound is missing.")


def is_video(task: Task) -> bool:
    return PurePosixPath(task.name).suffix.lower() in VIDEO


def lines_of(transcript: Transcript, context: Context) -> list[Line]:
    return [line_of(transcript, index, context) for index in range(len(transcript.segments))]


def line_of(transcript: Transcript, index: int, context: Context) -> Line:
    segment = transcript.segments[index]
    machine_text = one_line(segment.text).strip()
    text = one_line(context.text_of(index, machine_text))
    return Line(
        index=index,
        start=segment.start,
        end=segment.end,
        text=text,
        machine_text=machine_text,
        heard=one_line(segment.machine_text).strip(),
        redacted=any(change.is_redaction for change in segment.changes),
        edited=text != machine_text,
        speaker=context.speaker_name(segment.speaker) if segment.speaker else "",
        label=segment.speaker,
        colour=_colours(transcript).get(segment.speaker, 0),
        flags=tuple(segment.flags),
        words=_words(segment, text),
    )


def speakers_of(transcript: Transcript, context: Context) -> list[Speaker]:
    """In order of first appearance."""
    spoken: dict[str, int] = dict.fromkeys(transcript.speakers, 0)
    for segment in transcript.segments:
        if segment.speaker in spoken:
            spoken[segment.speaker] += max(0, segment.end - segment.start)
    total = sum(spoken.values()) or 1
    return [
        Speaker(
            label=label,
            name=context.speaker_name(label),
            given=context.speaker_names.get(label, ""),
            colour=colour,
            share=round(100 * spoken[label] / total),
        )
        for label, colour in _colours(transcript).items()
    ]


def _colours(transcript: Transcript) -> dict[str, int]:
    return {label: number % SPEAKER_COLOURS for number, label in enumerate(transcript.speakers)}


def _words(segment: Segment, text: str) -> str:
    """Each unit of the text with its time; what was corrected takes the time of what it replaces."""
    unsure = [word for word in segment.words if word.probability < UNSURE]
    entries, offset = [], 0
    for unit in timed_units(text, segment.words, segment.start, segment.end):
        offset = text.index(unit.text, offset)
        parts = [offset, len(unit.text), unit.start - segment.start, unit.end - segment.start]
        if any(_same(word, unit.start, unit.text) for word in unsure):
            parts.append(1)
        entries.append(",".join(map(str, parts)))
        offset += len(unit.text)
    return " ".join(entries)


def _same(word: Word, start: int, text: str) -> bool:
    """Whether a piece of the text is (part of) this very word, not a correction in its place."""
    return word.start <= start < max(word.end, word.start + 1) and text in word.text
