r"""ASS: Advanced SubStation Alpha (``v4.00+``), a style and a colour for each speaker.

The escapes are those of FFmpeg's encoder with one difference. Players interpret ``{…}`` as commands and
``\N`` as a line break, and only some support ``\{``. Braces are therefore replaced by their full-width forms,
and a backslash is followed by a word joiner, which is invisible.
"""

from __future__ import annotations

from batches.recognition.transcript import Transcript

from . import characters
from .context import Context
from .cues import Cue, build_cues
from .format import Format, gettext_noop

_WORD_JOINER = "\u2060"
_ESCAPES = str.maketrans({"\\": f"\\{_WORD_JOINER}", "{": "\uff5b", "}": "\uff5d"})
# Fields are separated by commas, and a style's name must not begin with an asterisk.
_NAME_ESCAPES = str.maketrans({",": "\uff0c", "*": "\uff0a"})
# &HAABBGGRR: white, then colours that are distinguishable on dark pictures (Okabe and Ito's palette).
_COLOURS = ("FFFFFF", "42E4F0", "E9B456", "739E00", "009FE6", "A779CC", "005ED5", "B27200")

_HEAD = """\ufeff[Script Info]
; Speech Portal
Title: {title}
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
"""
_STYLE = (
    "Style: {name},{font},64,&H00{colour},&H000000FF,&H00000000,&H80000000,"
    "0,0,0,0,100,100,0,0,1,3,1,2,80,80,60,1\n"
)
_EVENTS = """
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def render(transcript: Transcript, context: Context) -> str:
    cues = build_cues(transcript, context)
    font = "Malgun Gothic" if transcript.language == "ko" else "Arial"
    labels = list(dict.fromkeys(cue.speaker for cue in cues if cue.speaker))
    styles = {"": "Default"} | {label: f"Speaker {number}" for number, label in enumerate(labels, start=1)}
    head = _HEAD.format(title=characters.one_line(context.task_id))
    parts = [head]
    for number, name in enumerate(styles.values()):
        colour = _COLOURS[0] if number == 0 else _COLOURS[(number - 1) % len(_COLOURS)]
        parts.append(_STYLE.format(name=name, font=font, colour=colour))
    parts += [_EVENTS, *(_event(cue, styles[cue.speaker], context) for cue in cues)]
    return "".join(parts).replace("\n", "\r\n")


def _event(cue: Cue, style: str, context: Context) -> str:
    name = context.speaker_name(cue.speaker) if cue.speaker else ""
    text = r"\N".join(line.translate(_ESCAPES) for line in cue.lines)
    if cue.opens_turn:
        text = f"{name.translate(_ESCAPES)}: {text}"
    times = f"{_timestamp(cue.start)},{_timestamp(cue.end)}"
    return f"Dialogue: 0,{times},{style},{name.translate(_NAME_ESCAPES)},0,0,0,,{text}\n"


def _timestamp(milliseconds: int) -> str:
    """Format a time as ``1:02:03.45``, in hundredths of a second, rounded down."""
    seconds, rest = divmod(max(0, milliseconds), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}.{rest // 10:02}"


FORMAT = Format("ass", gettext_noop("ASS (Advanced SubStation)"), "text/x-ssa", render)
