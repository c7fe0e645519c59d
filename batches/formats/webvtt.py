"""WebVTT (https://www.w3.org/TR/webvtt1/), with a voice span if the speaker is known."""

from __future__ import annotations

from batches.recognition.transcript import Transcript

from .context import Context
from .cues import Cue, build_cues
from .format import Format
from .timestamps import timestamp


def render(transcript: Transcript, context: Context) -> str:
    blocks = [_block(cue, context) for cue in build_cues(transcript, context)]
    return "\n".join(["WEBVTT\n", *blocks])


def _block(cue: Cue, context: Context) -> str:
    text = "\n".join(map(_escape, cue.lines))
    if cue.speaker:
        text = f"<v {_annotation(context.speaker_name(cue.speaker))}>{text}</v>"
    return f"{timestamp(cue.start, '.')} --> {timestamp(cue.end, '.')}\n{text}\n"


def _annotation(name: str) -> str:
    """Escape a name inside a tag, so that it does not form an arrow with the tag's end.

    Readers strip the trailing space.
    """
    return f"{_escape(name)} " if name.endswith("--") else _escape(name)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMAT = Format("vtt", "VTT (WebVTT)", "text/vtt", render)
