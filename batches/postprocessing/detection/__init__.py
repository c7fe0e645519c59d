"""Detection of sensitive data in texts: the kinds, and where each stands.

Written or spoken digit by digit, in Korean and English, also over the ends of segments. No Django.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batches.postprocessing.detection import numbers, spoken, written
from batches.postprocessing.detection.context import Contexts
from batches.postprocessing.detection.vocabulary import LETTER_NAMES

# One or two letters, written or spoken, right before the digits of a passport or a licence.
_NAMES = "|".join(sorted(LETTER_NAMES))
_LETTER = re.compile(rf"(?<![A-Za-z가-힣])((?:(?:[A-Za-z]|{_NAMES})[\s,-]+){{1,2}})$")
KINDS = ("card", "resident", "business", "passport", "licence", "phone", "account", "email", "birth")


@dataclass(frozen=True, slots=True)
class Finding:
    """Sensitive data of one kind. ``parts`` are its stretches of the text, without what stands between."""

    kind: str
    parts: tuple[tuple[int, int], ...]

    @property
    def start(self) -> int:
        return self.parts[0][0]


def find(text: str) -> list[Finding]:
    """Everything sensitive in a text whose lines are the segments of a transcript; nothing overlaps."""
    contexts = Contexts.of(text)
    found: list[Finding] = []
    taken: list[tuple[int, int]] = []
    # Sorted so that of overlapping patterns the longest wins, e-mail addresses first.
    patterns = sorted(written.spans(text, contexts), key=lambda each: (each[0] != "email", each[1] - each[2]))
    for kind, start, end in patterns:
        if _apart((start, end), taken):
            taken.append((start, end))
            found.append(Finding(kind, tuple(_lines(text, start, end))))
    in_runs = (finding for run in spoken.runs(text) for finding in _in_run(run, text, contexts))
    found += [each for each in in_runs if all(_apart(part, taken) for part in each.parts)]
    return sorted(found, key=lambda finding: finding.start)


def _apart(part: tuple[int, int], taken: Sequence[tuple[int, int]]) -> bool:
    return all(part[1] <= first or part[0] >= last for first, last in taken)


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A stretch in parts that each lie in one line."""
    parts: list[tuple[int, int]] = []
    at = start
    for line in text[start:end].split("\n"):
        if line.strip():
            parts += [(at + len(line) - len(line.lstrip()), at + len(line.rstrip()))]
        at += len(line) + 1
    return parts


def _in_run(run: spoken.Run, text: str, contexts: Contexts) -> list[Finding]:
    """The findings of a run. Digits beside a match are of its kind: said twice, or a slip corrected."""
    matches = numbers.matches(run, text, contexts)
    if not matches:
        return []
    edges = [*(match.window.first for match in matches[1:]), len(run.atoms)]
    found: list[Finding] = []
    first = 0
    while first < matches[0].window.first and _is_lone(run, first):
        first += 1
    for match, edge in zip(matches, edges, strict=True):
        parts = _parts(run, text, first, edge)
        if (
            first == 0
            and match.kind in {"passport", "licence"}
            and (letter := _LETTER.search(text, 0, parts[0][0]))
        ):
            parts[0] = (letter.start(1), parts[0][1])
        found.append(Finding(match.kind, tuple(parts)))
        first = edge
    return found


def _is_lone(run: spoken.Run, at: int) -> bool:
    """Whether an atom before a number may be a word that only sounds like a digit, such as 이 or 일."""
    atom = run.atoms[at]
    alone = at + 1 < len(run.atoms) and run.atoms[at + 1].token != atom.token
    return at == 0 and alone and (atom.letter or (atom.spoken and atom.digits in {"1", "2", "4", "5", "0"}))


def _parts(run: spoken.Run, text: str, first: int, edge: int) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for at in range(first, edge):
        atom = run.atoms[at]
        joined = parts and (run.close[at] or text[parts[-1][1] : atom.start].strip(" ,.-–()") == "")
        if joined and "\n" not in text[parts[-1][1] : atom.start]:
            parts[-1] = (parts[-1][0], atom.end)
        else:
            parts.append((atom.start, atom.end))
    return parts
