"""Evaluation of detection: precision and recall on hand-annotated sentences.

Format: one sentence per line, with its language, a tab, and the text. ``[phone:공일공 …]`` annotates a
telephone number, and ``|`` the end of a segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from batches.postprocessing.detection import KINDS, find

_MARK = re.compile(r"\[([a-z]+):([^\]]*)\]")
_NO_LETTER = re.compile(r"[\W_]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Annotated text, with its sensitive spans as (kind, start, end)."""

    language: str
    text: str
    marks: tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class Score:
    """Counts of one kind: ``hidden`` of ``marked`` give recall, ``right`` of ``found`` give precision."""

    marked: int = 0
    hidden: int = 0
    found: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.hidden / self.marked if self.marked else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0


def parse(lines: Iterable[str]) -> list[Sentence]:
    """Parse annotated sentences. Raises ``ValueError`` for an unknown kind."""
    return [_sentence(line) for line in lines if line.strip() and not line.startswith("#")]


def _sentence(line: str) -> Sentence:
    language, _tab, marked = line.rstrip("\n").partition("\t")
    text, marks, at = "", [], 0
    for match in _MARK.finditer(marked):
        if match[1] not in KINDS:
            raise ValueError(f"{match[1]} is no kind: {line}")
        text += marked[at : match.start()]
        marks.append((match[1], len(text), len(text) + len(match[2])))
        text += match[2]
        at = match.end()
    text += marked[at:]
    return Sentence(language, text.replace("|", "\n"), tuple(marks))


def measure(sentences: Iterable[Sentence]) -> dict[str, Score]:
    """Score of each kind. An annotated span is hidden if no letter or digit of it is left, under any kind."""
    scores = {kind: Score() for kind in KINDS}
    for sentence in sentences:
        findings = find(sentence.text)
        hidden = {at for finding in findings for start, end in finding.parts for at in range(start, end)}
        for kind, start, end in sentence.marks:
            left = [at for at in range(start, end) if sentence.text[at].isalnum() and at not in hidden]
            # Words between two groups of digits are not redacted.
            rest = "".join(sentence.text[at] for at in left)
            scores[kind].marked += 1
            if _is_filler(rest):
                scores[kind].hidden += 1
            else:
                scores[kind].missed.append(sentence.text)
        for finding in findings:
            score = scores[finding.kind]
            score.found += 1
            if any(
                kind == finding.kind and start < stop and end > first
                for kind, start, end in sentence.marks
                for first, stop in finding.parts
            ):
                score.right += 1
            else:
                score.wrong.append(sentence.text)
    return scores


def _is_filler(text: str) -> bool:
    return _NO_LETTER.sub("", text) in {"", "음", "uh", "다시", "dash"}
