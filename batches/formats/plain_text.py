"""TXT: plain text with a paragraph per speaker turn, with time and name; without speakers, per pause."""

from __future__ import annotations

from dataclasses import dataclass

from batches.recognition.transcript import Transcript

from . import characters
from .context import Context
from .format import Format, gettext_noop
from .timestamps import hms

PAUSE_MS = 2_000  # begins a paragraph if speakers are unknown
LONGEST_COLUMNS = 700  # length after which such a paragraph ends with the current segment


@dataclass(slots=True)
class _Paragraph:
    start: int  # ms
    end: int  # ms
    text: str
    speaker: str


def render(transcript: Transcript, context: Context) -> str:
    paragraphs: list[_Paragraph] = []
    for index, segment in enumerate(transcript.segments):
        text = characters.one_line(context.text_of(index, segment.text))
        if not text:
            continue
        if paragraphs and _continues(paragraphs[-1], segment.start, segment.speaker):
            paragraphs[-1].text = characters.join(paragraphs[-1].text, text)
            paragraphs[-1].end = segment.end
        else:
            paragraphs.append(_Paragraph(segment.start, segment.end, text, segment.speaker))
    return "\n".join(_line(paragraph, context) for paragraph in paragraphs)


def _continues(paragraph: _Paragraph, start: int, speaker: str) -> bool:
    if speaker or paragraph.speaker:
        return speaker == paragraph.speaker
    return start - paragraph.end < PAUSE_MS and characters.columns(paragraph.text) < LONGEST_COLUMNS


def _line(paragraph: _Paragraph, context: Context) -> str:
    if not paragraph.speaker:
        return f"{paragraph.text}\n"
    name = context.speaker_name(paragraph.speaker)
    return f"[{hms(max(0, paragraph.start) // 1000)}] {name}: {paragraph.text}\n"


FORMAT = Format("txt", gettext_noop("TXT (plain text)"), "text/plain", render)
