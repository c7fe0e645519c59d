"""SMI: Microsoft's SAMI subtitles, as Korean players read them.

Players detect the language by the class of the paragraphs (KRCC, ENCC, ...), and the encoding by the byte
order mark: without one, Korean players assume CP949. An empty paragraph clears the screen.
"""

from __future__ import annotations

from batches.recognition.transcript import Transcript

from . import characters
from .context import Context
from .cues import Cue, build_cues, screens
from .format import Format

# Class, name and language tag. For any other language the code is used.
_CLASSES = {
    "ko": ("KRCC", "Korean", "ko-KR"),
    "en": ("ENCC", "English", "en-US"),
    "ja": ("JPCC", "Japanese", "ja-JP"),
    "zh": ("CNCC", "Chinese", "zh-CN"),
    "zh-tw": ("TWCC", "Chinese (traditional)", "zh-TW"),
}

_HEAD = """\ufeff<SAMI>
<HEAD>
<TITLE>{title}</TITLE>
<STYLE TYPE="text/css">
<!--
P {{ margin-left:8pt; margin-right:8pt; margin-bottom:2pt; margin-top:2pt; text-align:center; \
font-size:20pt; font-family:sans-serif; font-weight:normal; color:white; }}
.{css_class} {{ Name:{name}; lang:{tag}; SAMIType:CC; }}
-->
</STYLE>
</HEAD>
<BODY>
"""
_TAIL = "</BODY>\n</SAMI>\n"


def render(transcript: Transcript, context: Context) -> str:
    css_class, name, tag = _language(transcript.language, context.language)
    parts = [_HEAD.format(title=_escape(context.task_id), css_class=css_class, name=name, tag=tag)]
    shown = list(screens(build_cues(transcript, context)))
    for index, (start, end, cues) in enumerate(shown):
        body = "<br>".join(_body(cue, context) for cue in cues)
        parts.append(f"<SYNC Start={start}><P Class={css_class}>{body}\n")
        if index + 1 == len(shown) or shown[index + 1][0] > end:
            parts.append(f"<SYNC Start={end}><P Class={css_class}>&nbsp;\n")
    return "".join([*parts, _TAIL]).replace("\n", "\r\n")


def _body(cue: Cue, context: Context) -> str:
    text = "<br>".join(map(_escape, cue.lines))
    return f"{_escape(context.speaker_name(cue.speaker))}: {text}" if cue.opens_turn else text


def _language(recognised: str, asked: str) -> tuple[str, str, str]:
    if recognised == "zh" and asked.lower().replace("_", "-") == "zh-tw":
        return _CLASSES["zh-tw"]
    code = "".join(letter for letter in recognised if letter.isascii() and letter.isalpha()) or "un"
    return _CLASSES.get(code, (f"{code.upper()}CC", code, code))


def _escape(text: str) -> str:
    line = characters.one_line(text)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


FORMAT = Format("smi", "SMI (SAMI)", "application/x-sami", render)
