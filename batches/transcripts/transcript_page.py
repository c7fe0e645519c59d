"""Transcript page: lines with their speakers, and words with their times, as the page shows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.formats.characters import one_line
from batches.formats.context import default_speaker_name
from batches.formats.lines import Line, recognised_text, recognised_words
from batches.formats.timing import timed_units
from batches.models import Task, languages
from batches.recognition.transcript import Transcript, Word
from batches.transcripts.drafts import Draft
from speechportal.platform.templatetags.portal import duration

SPEAKER_COLOURS = 8
LONGEST_GAP = 1500  # ms of speech without text that are not shown as a gap
UNSURE = 0.4  # words of a lower probability are marked for review
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
    given: str  # by a person; empty if none was given
    colour: int
    share: int  # per cent of the speech time

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "name": self.name,
            "given": self.given,
            "colour": self.colour,
            "share": self.share,
        }


@dataclass(frozen=True)
class PageLine:
    """Line of the page. ``words`` is the encoded list that static/portal/transcript/words.js decodes."""

    uid: str
    start: int  # ms
    end: int  # ms
    text: str
    recognised: str
    heard: str  # before replacements; empty if nothing was replaced
    redacted: bool
    edited: bool
    speaker: str  # name; empty without diarization
    label: str
    colour: int
    flags: Sequence[str]
    segment: int  # the recognised segment in which it begins; lines are in order of segment, start, ID
    words: str  # "offset,length,start,end[,1]" joined by spaces; 1: unsure; times from the line's start
    tag: str

    def to_json(self) -> dict[str, Any]:
        """JSON for the page's script, which derives the speaker's name and colour from the label."""
        data: dict[str, Any] = {
            "id": self.uid,
            "segment": self.segment,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "label": self.label,
            "words": self.words,
            "tag": self.tag,
        }
        if self.edited:
            data["recognised"] = self.recognised
        if self.heard:
            data["heard"] = self.heard
        if self.redacted:
            data["redacted"] = True
        if self.flags:
            data["flags"] = list(self.flags)
        return data


def notices_of(transcript: Transcript) -> list[str]:
    """Notices about missing or omitted audio, and about speech without recognised words."""
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


def lines_of(draft: Draft, only: Collection[str] | None = None) -> list[PageLine]:
    """Lines in order; ``only`` limits them to those IDs."""
    colours = _colours(draft.speakers)
    return [_page_line(draft, line, colours) for line in draft.lines if only is None or line.uid in only]


def _page_line(draft: Draft, line: Line, colours: dict[str, int]) -> PageLine:
    recognised = recognised_text(draft.transcript, line)
    text = recognised if line.text is None else one_line(line.text)
    words = recognised_words(draft.transcript, line)
    places = dict.fromkeys(segment for segment, _, _ in line.spans)
    segments = [draft.transcript.segments[place] for place in places]
    flags = (flag for each in segments for flag in each.flags)
    return PageLine(
        uid=line.uid,
        start=line.start,
        end=line.end,
        text=text,
        recognised=recognised,
        heard=" ".join(one_line(each.machine_text).strip() for each in segments if each.machine_text),
        redacted=any(change.is_redaction for each in segments for change in each.changes),
        edited=text != recognised,
        speaker=speaker_name(draft, line.speaker) if line.speaker else "",
        label=line.speaker,
        colour=colours.get(line.speaker, 0),
        flags=tuple(dict.fromkeys(flags)),
        segment=line.spans[0][0],
        words=_words(words, line, text),
        tag=line.tag,
    )


def speaker_name(draft: Draft, label: str) -> str:
    return one_line(draft.names.get(label, "")) or default_speaker_name(label)


def speakers_of(draft: Draft) -> list[Speaker]:
    """Speakers by first appearance; recognised speakers without any lines left are included."""
    spoken: dict[str, int] = dict.fromkeys(draft.speakers, 0)
    for line in draft.lines:
        if line.speaker in spoken:
            spoken[line.speaker] += max(0, line.end - line.start)
    total = sum(spoken.values()) or 1
    return [
        Speaker(
            label=label,
            name=speaker_name(draft, label),
            given=draft.names.get(label, ""),
            colour=colour,
            share=round(100 * spoken[label] / total),
        )
        for label, colour in _colours(draft.speakers).items()
        if spoken[label] or label in draft.names
    ]


def unrecognised(draft: Draft) -> list[tuple[int, int]]:
    """Stretches of speech without text, (start, end) in ms, of at least :data:`LONGEST_GAP`."""
    spoken = [(line.start, line.end) for line in draft.lines if draft.text_of(line)]
    found = []
    for turn in draft.transcript.turns:
        at = turn.start
        for start, end in [(s, e) for s, e in spoken if s < turn.end and e > turn.start] + [
            (turn.end, turn.end)
        ]:
            if start - at >= LONGEST_GAP:
                found.append((at, start))
            at = max(at, end)
    return sorted(found)


def _colours(speakers: Sequence[str]) -> dict[str, int]:
    return {label: number % SPEAKER_COLOURS for number, label in enumerate(speakers)}


def _words(words: Sequence[Word], line: Line, text: str) -> str:
    """Encode each word of the text with its time; corrected words take the time of those they replace."""
    timed = _recognised_words(words, text) if line.text is None else None
    return " ".join(
        f"{offset},{length},{max(0, start - line.start)},{max(0, end - line.start)}{',1' if unsure else ''}"
        for offset, length, start, end, unsure in timed or _matched_words(words, line, text)
    )


TimedWord = tuple[int, int, int, int, bool]  # offset and length in the text, start and end in ms, unsure


def _recognised_words(words: Sequence[Word], text: str) -> list[TimedWord] | None:
    """Timed words of an uncorrected text, without matching; ``None`` if the words do not add up to it."""
    entries: list[TimedWord] = []
    offset = 0
    for word in words:
        own = " ".join(word.text.split())
        at = text.find(own, offset, offset + len(own) + 1)
        if at < 0:
            return None
        if own:
            entries.append((at, len(own), word.start, word.end, word.probability < UNSURE))
        offset = at + len(own)
    return entries if offset == len(text) else None


def _matched_words(words: Sequence[Word], line: Line, text: str) -> list[TimedWord]:
    unsure = [word for word in words if word.probability < UNSURE]
    entries: list[TimedWord] = []
    offset = 0
    for unit in timed_units(text, words, line.start, line.end):
        offset = text.index(unit.text, offset)
        is_unsure = any(_same(word, unit.start, unit.text) for word in unsure)
        entries.append((offset, len(unit.text), unit.start, unit.end, is_unsure))
        offset += len(unit.text)
    return entries


def _same(word: Word, start: int, text: str) -> bool:
    """Whether a piece of the text is (part of) the recognised word, not a correction of it."""
    return word.start <= start < max(word.end, word.start + 1) and text in word.text
