"""`Revision`: an edited text that maps each change to the span of the original that it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batches.recognition.transcript import REPLACEMENT, is_redaction


@dataclass(frozen=True, slots=True)
class Edit:
    """Edit that replaces ``start`` to ``end``, offsets into the text that it is applied to, by ``text``.

    ``kind`` is a kind of sensitive data (see :mod:`batches.postprocessing.detection`), ``REPLACEMENT`` or
    ``NUMBER``.
    """

    start: int
    end: int
    text: str
    kind: str = REPLACEMENT


@dataclass(frozen=True, slots=True)
class Change:
    """Change: span of the revised text, ``start`` to ``end``, and the span of the original it replaced."""

    start: int
    end: int
    origin_start: int
    origin_end: int
    kind: str

    @property
    def is_redaction(self) -> bool:
        return is_redaction(self.kind)


class Revision:
    """Revised text, its original (``origin``), and the changes between them in order."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.text = origin
        self.changes: list[Change] = []

    def apply(self, edits: Sequence[Edit]) -> None:
        """Apply edits of the current text. Of overlapping edits, the one that starts first is applied."""
        end = 0
        kept = []
        for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= end and self.text[edit.start : edit.end] != edit.text:
                kept.append(edit)
                end = edit.end
        for edit in reversed(kept):
            self._apply(edit)

    def _apply(self, edit: Edit) -> None:
        touched = [each for each in self.changes if each.start < edit.end and each.end > edit.start]
        start = min([edit.start, *(each.start for each in touched)])
        end = max([edit.end, *(each.end for each in touched)])
        origin_start, origin_end = self._origin(start, touched), self._origin_end(end, touched)
        text = self.text[start : edit.start] + edit.text + self.text[edit.end : end]
        kinds = [edit.kind, *(each.kind for each in touched)]
        kind = next(filter(is_redaction, kinds), edit.kind)
        grown = len(text) - (end - start)
        self.text = self.text[:start] + text + self.text[end:]
        before = [each for each in self.changes if each.end <= start and each not in touched]
        after = [
            Change(each.start + grown, each.end + grown, each.origin_start, each.origin_end, each.kind)
            for each in self.changes
            if each.start >= end and each not in touched
        ]
        self.changes = [*before, Change(start, start + len(text), origin_start, origin_end, kind), *after]

    def _origin(self, position: int, touched: Sequence[Change]) -> int:
        """Offset in the original of an offset in the text that is in no change."""
        if touched and touched[0].start == position:
            return touched[0].origin_start
        before = [each for each in self.changes if each.end <= position and each not in touched]
        return position + (before[-1].origin_end - before[-1].end if before else 0)

    def _origin_end(self, position: int, touched: Sequence[Change]) -> int:
        if touched and touched[-1].end == position:
            return touched[-1].origin_end
        # A removal at the end of the text comes after it.
        before = [each for each in self.changes if each.end <= position and each.start < position]
        return position + (before[-1].origin_end - before[-1].end if before else 0)

    def current(self, start: int, end: int) -> tuple[int, int]:
        """Span of the text for a span of the original, extended to all of each change that it overlaps."""
        shift_start = shift_end = 0
        for change in self.changes:
            if change.origin_end <= start:
                shift_start = change.end - change.origin_end
            elif change.origin_start < start:
                start, shift_start = change.origin_start, change.start - change.origin_start
            if change.origin_end <= end:
                shift_end = change.end - change.origin_end
            elif change.origin_start < end:
                end, shift_end = change.origin_end, change.end - change.origin_end
        return start + shift_start, end + shift_end

    def redacted_origin(self) -> str:
        """Original with the redactions applied: the recognised words that may be shown."""
        text, at = [], 0
        for change in self.changes:
            if change.is_redaction:
                text += [self.origin[at : change.origin_start], self.text[change.start : change.end]]
                at = change.origin_end
        return "".join([*text, self.origin[at:]])
