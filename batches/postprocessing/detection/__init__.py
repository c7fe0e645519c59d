"""Detection of sensitive data in texts: finds the spans of each kind.

Covers data in writing and spoken digit by digit, in Korean and English, also across segments; names and
addresses by lists, context and form. No Django.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from batches.postprocessing.detection import addresses, english_names, korean_names, numbers, spoken, written
from batches.postprocessing.detection.context import Contexts
from batches.postprocessing.detection.vocabulary import LETTER_NAMES

# One or two letters, written or spoken, immediately before the digits of a passport or licence number.
_NAMES = "|".join(sorted(LETTER_NAMES))
_LETTER = re.compile(rf"(?<![A-Za-z가-힣])((?:(?:[A-Za-z]|{_NAMES})[\s,-]+){{1,2}})$")
_REACH = 400  # characters; longest distance over which anything but a digit run can belong to a finding
KINDS = (
    "card",
    "resident",
    "business",
    "passport",
    "licence",
    "phone",
    "account",
    "email",
    "birth",
    "name",
    "address",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Sensitive data of one kind. ``parts`` are its spans of the text, without the text between them."""

    kind: str
    parts: tuple[tuple[int, int], ...]

    @property
    def start(self) -> int:
        return self.parts[0][0]


def find(text: str, kinds: Collection[str] = KINDS) -> list[Finding]:
    """Non-overlapping findings of some kinds in a text whose lines are the segments of a transcript.

    Names and addresses are searched for only if they are in ``kinds``, and give way to all other findings.
    """
    found = [finding for finding in _numbers(text) if finding.kind in kinds]
    if "name" in kinds or "address" in kinds:
        found += [finding for finding in _named(text, found) if finding.kind in kinds]
    return sorted(found, key=lambda finding: finding.start)


def _numbers(text: str) -> list[Finding]:
    """Findings of all kinds but names and addresses."""
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
    return found


def _named(text: str, found: Sequence[Finding]) -> Iterator[Finding]:
    """Addresses, and names outside of them, without what other findings cover."""
    located = _merged(addresses.spans(text))
    names = _merged([*english_names.spans(text), *korean_names.spans(text)])
    taken = sorted(part for finding in found for part in finding.parts)
    for kind, spans, others in (("address", located, taken), ("name", names, _merged([*taken, *located]))):
        for start, end in spans:
            parts = [part for rest in _outside(start, end, others) for part in _lines(text, *rest)]
            parts = [part for part in parts if any(letter.isalnum() for letter in text[slice(*part)])]
            if parts:
                yield Finding(kind, tuple(parts))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, with overlapping ones merged."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _outside(start: int, end: int, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Parts of a span that none of the ordered, separate spans ``taken`` covers."""
    index = bisect_right(taken, start, key=lambda each: each[1])
    while index < len(taken) and taken[index][0] < end:
        if start < taken[index][0]:
            yield start, taken[index][0]
        start = max(start, taken[index][1])
        index += 1
    if start < end:
        yield start, end


def settled(text: str) -> int:
    """Offset before which further text cannot change the findings.

    It is outside an open digit run, and too far from the end for context words and addresses.
    """
    open_run = spoken.runs(f"{text}\n1", at_least=1)[-1]
    return max(0, min(open_run.atoms[0].start, len(text) - _REACH))


def _apart(part: tuple[int, int], taken: Sequence[tuple[int, int]]) -> bool:
    return all(part[1] <= first or part[0] >= last for first, last in taken)


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Split a span into parts of one line each."""
    parts: list[tuple[int, int]] = []
    at = start
    for line in text[start:end].split("\n"):
        if line.strip():
            parts += [(at + len(line) - len(line.lstrip()), at + len(line.rstrip()))]
        at += len(line) + 1
    return parts


def _in_run(run: spoken.Run, text: str, contexts: Contexts) -> list[Finding]:
    """Findings in a digit run. Digits beside a match get its kind: they are a repetition or a correction."""
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
    """Whether an atom before a number may be a homophone of a digit, such as 이 or 일."""
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
