"""Subtitle cues: splits a transcript into cues that can be read while they are shown.

The limits are those of common subtitle style guides (Netflix, BBC): two lines of 42 Latin or 21 Chinese,
Japanese or Korean characters, at most 7 s, at least 5/6 s, and enough time to read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from batches.recognition.transcript import Transcript

from . import characters
from .context import Context
from .timing import TextUnit, timed_units

LINE_COLUMNS = 42  # a Chinese, Japanese or Korean character takes two
LINES = 2
LONGEST_MS = 7_000
SHORTEST_MS = 500  # hard minimum: the next cue is delayed if necessary
READABLE_MS = 833  # minimum if the next cue allows it
COLUMNS_PER_SECOND = 20
OVERLAP_MS = 300  # overlap of two people's speech from which their cues are shown together
_NEIGHBOURS = 8  # cues before and after that may be shown at the same time
BLINK_MS = 100  # a shorter empty screen would flicker: the cue stays until the next
PAUSE_MS = 1_000  # silence that always ends a cue
_LARGEST_NAME = 20  # columns of a cue that a speaker's name may occupy

_SENTENCE_END = (".", "?", "!", "。", "？", "！", "…", "۔", "।", "؟")
_CLAUSE_END = (",", ";", ":", "，", "、", "；", "：", "،")


@dataclass(frozen=True, slots=True)
class Cue:
    start: int  # ms
    end: int  # ms, > start, and no later than the start of the same speaker's next cue
    lines: tuple[str, ...]  # one or two, never empty
    speaker: str = ""  # label; empty if speakers are unknown
    opens_turn: bool = False  # whether the previous cue is another speaker's


def build_cues(transcript: Transcript, context: Context) -> list[Cue]:
    """Split a transcript into cues, sorted by start. Only cues of simultaneous speech overlap."""
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
    """Run of text by one speaker without a pause."""

    speaker: str
    units: list[TextUnit]


def _runs(transcript: Transcript, context: Context) -> Iterator[_Run]:
    current = _Run("", [])
    for index, segment in enumerate(transcript.segments):
        line = characters.one_line(context.text_of(index, segment.text))
        units = timed_units(line, segment.words, segment.start, segment.end)
        for number, unit in enumerate(units):
            if current.units:
                last = current.units[-1]
                if segment.speaker != current.speaker or unit.start - last.end >= PAUSE_MS:
                    yield current
                    current = _Run(segment.speaker, [])
                elif number == 0:
                    unit.space = characters.join(last.text, unit.text) != last.text + unit.text
            current.speaker = segment.speaker
            current.units.append(unit)
    if current.units:
        yield current


def _cut(run: _Run, opens_turn: bool, name_columns: int) -> list[Cue]:
    """Cut a run into cues at the lowest total cost, by dynamic programming from its end to its start."""
    units = run.units
    endings = _endings(units)
    best: list[tuple[float, int]] = [(0.0, 0)] * (len(units) + 1)
    for begin in range(len(units) - 1, -1, -1):
        taken = name_columns if begin == 0 else 0
        best[begin] = min(
            (cost + best[end][0], end) for end, cost in _candidates(units, endings, begin, taken)
        )
    cues: list[Cue] = []
    begin = 0
    while begin < len(units):
        end = best[begin][1]
        lines = _wrap(units[begin:end], name_columns if begin == 0 else 0)
        start = max(0, units[begin].start)
        stop = max(unit.end for unit in units[begin:end])
        cues.append(Cue(start, min(stop, start + LONGEST_MS), lines, run.speaker, opens_turn and begin == 0))
        begin = end
    return cues


def _candidates(
    units: Sequence[TextUnit], endings: Sequence[float], begin: int, taken: int
) -> Iterator[tuple[int, float]]:
    """Yield the possible ends of a cue that begins at ``begin``, with their cost; at least one unit."""
    start = units[begin].start
    lines, line, total = 1, taken, taken  # lines so far, columns of the last, columns of all
    for end in range(begin + 1, len(units) + 1):
        unit = units[end - 1]
        own = unit.columns
        if end > begin + 1:
            own += unit.space
            if line + own > LINE_COLUMNS:
                lines, line = lines + 1, -unit.space
            if lines > LINES or unit.end - start > LONGEST_MS:
                return
        line += own
        total += own
        following = units[end].start if end < len(units) else unit.end + PAUSE_MS
        yield end, endings[end - 1] + _cost(total, following - start)


def _cost(width: int, shown: int) -> float:
    """Cost of a cue: low for few, well-filled cues that are shown long enough to read them."""
    empty = 0.0 if width >= LINE_COLUMNS else 1 - width / LINE_COLUMNS
    readable = max(READABLE_MS, width * 1000 / COLUMNS_PER_SECOND)
    hurry = 0.0 if shown >= readable else 1 - shown / readable
    return 30.0 + 20.0 * empty * empty + 20.0 * hurry


def _endings(units: Sequence[TextUnit]) -> list[float]:
    """Cost of ending a cue after each unit: lowest at the end of a sentence or clause, or at a pause."""
    costs = []
    for unit, following in itertools.pairwise(units):
        if unit.text.endswith(_SENTENCE_END):
            costs.append(0.0)
            continue
        pause = min(1.0, max(0, following.start - unit.end) / PAUSE_MS)
        costs.append((15.0 if unit.text.endswith(_CLAUSE_END) else 35.0) * (1 - pause))
    return [*costs, 0.0]


def _text(units: Sequence[TextUnit]) -> str:
    return "".join((" " if unit.space and index else "") + unit.text for index, unit in enumerate(units))


def _wrap(units: Sequence[TextUnit], taken: int) -> tuple[str, ...]:
    """Wrap to one line if it fits, else to two of similar width, preferably after a clause."""
    whole = _text(units)
    if len(units) == 1 or taken + characters.columns(whole) <= LINE_COLUMNS:
        return (whole,)

    def uneven(cut: int) -> tuple[bool, float]:
        first = taken + characters.columns(_text(units[:cut]))
        second = characters.columns(_text(units[cut:]))
        bonus = 10 if units[cut - 1].text.endswith(_SENTENCE_END + _CLAUSE_END) else 0
        return max(first, second) > LINE_COLUMNS, abs(first - second) - bonus

    cut = min(range(1, len(units)), key=uneven)
    return _text(units[:cut]), _text(units[cut:])


def _settle(cues: Sequence[Cue]) -> list[Cue]:
    """Adjust the times so that cues do not overlap and last long enough, at the expense of pauses.

    Cues of people who speak at the same time keep their times and are shown together.
    """
    settled: list[Cue] = []
    for index, cue in enumerate(cues):
        near = range(max(0, index - _NEIGHBOURS), index)
        before = [settled[other].end for other in near if not _at_once(cues[other], cue)]
        start = max([cue.start, *before])
        later = cues[index + 1 : index + 1 + _NEIGHBOURS]
        following = next((other.start for other in later if not _at_once(cue, other)), None)
        width = sum(map(characters.columns, cue.lines))
        wanted = max(READABLE_MS, min(LONGEST_MS, width * 1000 // COLUMNS_PER_SECOND))
        end = max(cue.end, start + wanted)
        if following is not None:
            end = following if following - end < BLINK_MS else end
        end = min(max(end, start + SHORTEST_MS), start + LONGEST_MS)
        settled.append(replace(cue, start=start, end=end))
    return sorted(settled, key=lambda cue: cue.start)


def _at_once(one: Cue, other: Cue) -> bool:
    """Whether two cues are spoken at the same time, rather than just after each other."""
    common = min(one.end, other.end) - max(one.start, other.start)
    return one.speaker != other.speaker and common > OVERLAP_MS


def screens(cues: Sequence[Cue]) -> Iterator[tuple[int, int, list[Cue]]]:
    """Yield (start, end, cues) per interval with the same cues, for formats that show one text at a time."""
    edges = sorted({edge for cue in cues for edge in (cue.start, cue.end)})
    shown: list[Cue] = []
    waiting = list(reversed(cues))
    for start, end in itertools.pairwise(edges):
        shown = [cue for cue in shown if cue.end > start]
        while waiting and waiting[-1].start <= start:
            shown.append(waiting.pop())
        if shown:
            yield start, end, list(shown)
