r"""TSV: one row per segment, with the columns of whisper's own command, and the speaker.

=======  =====================================================
start    of the segment, in ms
end      of the segment, in ms
text     as corrected, else as recognised
speaker  name of the speaker; empty if speakers are unknown
=======  =====================================================

If word confidence is requested, ``words`` follows: each recognised word, a colon and its confidence,
separated by spaces; spaces inside a word are underscores.

A tab, a line feed, a carriage return and a backslash in a text are written ``\t``, ``\n``, ``\r`` and
``\\``, as databases do, so that each line is one row with four fields.
"""

from __future__ import annotations

from batches.recognition.transcript import Transcript, Word

from . import characters
from .context import Context
from .format import Format, gettext_noop

COLUMNS = ("start", "end", "text", "speaker")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def render(transcript: Transcript, context: Context) -> str:
    rows: list[tuple[str, ...]] = [(*COLUMNS, "words") if context.word_confidence else COLUMNS]
    for index, segment in enumerate(transcript.segments):
        name = context.speaker_name(segment.speaker) if segment.speaker else ""
        text = context.text_of(index, segment.text)
        words = (_field(" ".join(map(_word, segment.words))),) if context.word_confidence else ()
        rows.append((str(segment.start), str(segment.end), _field(text), _field(name), *words))
    return "".join("\t".join(row) + "\n" for row in rows)


def _word(word: Word) -> str:
    return f"{'_'.join(word.text.split())}:{word.probability:.2f}"


def _field(text: str) -> str:
    """Escape a field. Other control characters and line ends become a space or are removed."""
    return characters.one_line(text.translate(_ESCAPES))


FORMAT = Format("tsv", gettext_noop("TSV (table)"), "text/tab-separated-values", render)
