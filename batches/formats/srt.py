"""SRT: SubRip subtitles: numbered cues, CRLF, UTF-8 without a byte order mark.

SRT has no escapes, yet players interpret ``<b>`` and ``{\\an8}`` as markup, and some interpret ``-->`` as a
time. An invisible word joiner inside such text prevents this.
"""

from __future__ import annotations

import re

from batches.recognition.transcript import Transcript

from .context import Context
from .cues import Cue, build_cues
from .format import Format
from .timestamps import timestamp

_MARKUP = re.compile(r"(<(?=[A-Za-z/!?])|\{(?=[\\A-Za-z])|--(?=>))")
_WORD_JOINER = "\u2060"


def render(transcript: Transcript, context: Context) -> str:
    cues = build_cues(transcript, context)
    return "".join(_block(number, cue, context) for number, cue in enumerate(cues, start=1))


def _block(number: int, cue: Cue, context: Context) -> str:
    text = "\n".join(cue.lines)
    if cue.opens_turn:
        text = f"{context.speaker_name(cue.speaker)}: {text}"
    times = f"{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}"
    text = _MARKUP.sub(rf"\g<1>{_WORD_JOINER}", text)
    return f"{number}\n{times}\n{text}\n\n".replace("\n", "\r\n")


FORMAT = Format("srt", "SRT (SubRip)", "application/x-subrip", render)
