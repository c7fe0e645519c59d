"""Subtitles: a transcript cut into cues that can be read in the time they are shown.

The measures are those of common subtitle style guides (Netflix, BBC): two lines of 42 Latin or 21 Chinese,
Japanese or Korean characters, at most 7 s, at least 5/6 s, and time enough to read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from batches.recognition.transcript import Transcript

from . import characters
from .context import Context
from .timing import Piece, timed_pieces

LINE_COLUMNS = 42  # a Chinese, Japanese or Korean character takes two
LINES = 2
LONGEST_MS = 7_000
SHORTEST_MS = 500  # held at any price: the next cue comes later
READABLE_MS = 833  # held where the next cue leaves room
COLUMNS_PER_SECOND = 20
BLINK_MS = 100  # an empty screen shorter than this only flickers: the cue stays until the next
PAUSE_MS = 1_000  # a silence that no cue is shown through
_LARGEST_NAME = 20  # columns of a cue that a speaker's name may take away from the text

_SENTENCE_END = (".", "?", "!", "。", "？", "！", "…", "۔", "।", "؟")
_CLAUSE_END = (",", ";", ":", "，", "、", "；", "：", "،")


@dataclass(frozen=True, slots=True)
class Cue:
    start: int  # ms
    end: int  # ms, > start, and no later than the next cue's start
    lines: tuple[str, ...]  # one or two, never empty
    speaker: str = ""  # label; empty where speakers are not known
    opens_turn: bool = False  # whether the cue before is another speaker's


def build_cues(transcript: Transcript, context: Context) -> list[Cue]:
    """Cues in the order of the transcript, which never overlap nor go back in time."""
    cues: list[Cue] = []
    speaker = ""
    for run in _runs(transcript, context):
        opens_turn = bool(run.speaker) and run.speaker != speaker
        speaker = run.speaker
        name = f"{context.speaker_name(speaker)}: " if opens_turn else ""
        cues += _cut(run, opens_turn, min(_LARGEST_NAME, characters.columns(name)))
    return _settle(cues)


@dataclass(slots=True)
class _Run:
    """What one speaker says without a pause."""

    speaker: str
    pieces: list[Piece]


def _runs(transcript: Transcript, context: Context) -> Iterator[_Run]:
    current = _Run("", [])
    for index, segment in enumerate(transcript.segments):
        line = characters.one_line(context.text_of(index, segment.text))
        pieces = timed_pieces(line, segment.words, segment.start, segment.end)
        for number, piece in enumerate(pieces):
            if current.pieces:
                last = current.pieces[-1]
                if segment.speaker != current.speaker or piece.start - last.end >= PAUSE_MS:
                    yield current
                    current = _Run(segment.speaker, [])
                elif number == 0:
                    piece.space = characters.join(last.text, piece.text) != last.text + piece.text
            current.speaker = segment.speaker
            current.pieces.append(piece)
    if current.pieces:
        yield current


def _cut(run: _Run, opens_turn: bool, name_columns: int) -> list[Cue]:
    """The cheapest cut of a run into cues, found from its end to its start."""
    pieces = run.pieces
    endings = _endings(pieces)
    best: list[tuple[float, int]] = [(0.0, 0)] * (len(pieces) + 1)
    for begin in range(len(pieces) - 1, -1, -1):
        taken = name_columns if begin == 0 else 0
        best[begin] = min(
            (cost + best[end][0], end) for end, cost in _candidates(pieces, endings, begin, taken)
        )
    cues: list[Cue] = []
    begin = 0
    while begin < len(pieces):
        end = best[begin][1]
        lines = _wrap(pieces[begin:end], name_columns if begin == 0 else 0)
        start = max(0, pieces[begin].start)
        stop = max(piece.end for piece in pieces[begin:end])
        cues.append(Cue(start, min(stop, start + LONGEST_MS), lines, run.speaker, opens_turn and begin == 0))
        begin = end
    return cues


def _candidates(
    pieces: Sequence[Piece], endings: Sequence[float], begin: int, taken: int
) -> Iterator[tuple[int, float]]:
    """Where a cue that begins at ``begin`` may end, with what that costs; at least one piece."""
    start = pieces[begin].start
    lines, line, total = 1, taken, taken  # lines so far, columns of the last, columns of all
    for end in range(begin + 1, len(pieces) + 1):
        piece = pieces[end - 1]
        own = piece.columns
        if end > begin + 1:
            own += piece.space
            if line + own > LINE_COLUMNS:
                lines, line = lines + 1, -piece.space
            if lines > LINES or piece.end - start > LONGEST_MS:
                return
        line += own
        total += own
        following = pieces[end].start if end < len(pieces) else piece.end + PAUSE_MS
        yield end, endings[end - 1] + _cost(total, following - start)


def _cost(width: int, shown: int) -> float:
    """Cues are few, well filled, and shown for as long as it takes to read them."""
    empty = 0.0 if width >= LINE_COLUMNS else 1 - width / LINE_COLUMNS
    readable = max(READABLE_MS, width * 1000 / COLUMNS_PER_SECOND)
    hurry = 0.0 if shown >= readable else 1 - shown / readable
    return 30.0 + 20.0 * empty * empty + 20.0 * hurry


def _endings(pieces: Sequence[Piece]) -> list[float]:
    """What it costs to end a cue after each piece: best at the end of a sentence, a clause, or at a pause."""
    costs = []
    for piece, following in itertools.pairwise(pieces):
        if piece.text.endswith(_SENTENCE_END):
            costs.append(0.0)
            continue
        pause = min(1.0, max(0, following.start - piece.end) / PAUSE_MS)
        costs.append((15.0 if piece.text.endswith(_CLAUSE_END) else 35.0) * (1 - pause))
    return [*costs, 0.0]


def _text(pieces: Sequence[Piece]) -> str:
    return "".join((" " if piece.space and index else "") + piece.text for index, piece in enumerate(pieces))


def _wrap(pieces: Sequence[Piece], taken: int) -> tuple[str, ...]:
    """One line if it fits, else two of about the same width, cut after a clause if that costs little."""
    whole = _text(pieces)
    if len(pieces) == 1 or taken + characters.columns(whole) <= LINE_COLUMNS:
        return (whole,)

    def uneven(cut: int) -> tuple[bool, float]:
        first = taken + characters.columns(_text(pieces[:cut]))
        second = characters.columns(_text(pieces[cut:]))
        bonus = 10 if pieces[cut - 1].text.endswith(_SENTENCE_END + _CLAUSE_END) else 0
        return max(first, second) > LINE_COLUMNS, abs(first - second) - bonus

    cut = min(range(1, len(pieces)), key=uneven)
    return _text(pieces[:cut]), _text(pieces[cut:])


def _settle(cues: Sequence[Cue]) -> list[Cue]:
    """Make times follow each other and last long enough, at the cost of the pauses in between."""
    settled: list[Cue] = []
    earliest = 0
    for index, cue in enumerate(cues):
        start = max(cue.start, earliest)
        following = cues[index + 1].start if index + 1 < len(cues) else None
        width = sum(map(characters.columns, cue.lines))
        wanted = max(READABLE_MS, min(LONGEST_MS, width * 1000 // COLUMNS_PER_SECOND))
        end = max(cue.end, start + wanted)
        if following is not None:
            end = following if following - end < BLINK_MS else end
        end = min(max(end, start + SHORTEST_MS), start + LONGEST_MS)
        settled.append(replace(cue, start=start, end=end))
        earliest = end
    return settled
