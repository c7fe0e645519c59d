"""Draft of a transcript's corrections: edits of lines and speakers. :mod:`.corrections` loads and saves it.

Every edit is validated before it changes anything, and raises ``ValidationError`` if it is not possible. An
edit with the tag of the line as its author saw it raises :class:`Conflict` if another person has changed that
line since.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from batches.formats.characters import one_line
from batches.formats.context import default_speaker_name
from batches.formats.lines import (
    Line,
    Span,
    lines_of,
    recognised_line,
    recognised_text,
    recognised_words,
    words_of,
)
from batches.formats.timing import timed_units
from batches.recognition.transcript import Transcript

TEXT_LENGTH = 5000
NAME_LENGTH = 60
SPEAKER_LIMIT = 99
NEW_SPEAKER = "new"


class Conflict(ValidationError):
    """Edit conflict: another person has changed the line since it was read. ``uid`` is the line's ID."""

    def __init__(self, uid: str) -> None:
        super().__init__(_("Somebody else has changed this line meanwhile."), code="conflict")
        self.uid = uid


@dataclass
class Draft:
    """Draft of a transcript's corrections.

    Args:
        transcript: As recognised.
        edits: JSON of each changed line by ID; ``None`` for a line that was merged away.
        names: Speaker names by label; only names given by a person.
    """

    transcript: Transcript
    edits: dict[str, Any]
    names: dict[str, str]

    @property
    def lines(self) -> list[Line]:
        return lines_of(self.transcript, self.edits)

    @property
    def speakers(self) -> list[str]:
        """Labels of the recognised speakers and of those that lines were assigned to, by first appearance."""
        used = [line.speaker for line in self.lines if line.speaker]
        return list(dict.fromkeys([*self.transcript.speakers, *used]))

    def line(self, uid: str, tag: str | None = None) -> Line:
        value = self.edits.get(uid)
        if value is not None:
            line = Line.from_json(uid, value)
        elif uid not in self.edits and uid.isascii() and uid.isdigit() and len(uid) < 8:
            if int(uid) >= len(self.transcript.segments) or uid != str(int(uid)):
                raise _no_line()
            line = recognised_line(self.transcript, int(uid))
        elif uid in self.edits and tag is not None:
            raise Conflict(uid)
        else:
            raise _no_line()
        if tag is not None and line.tag != tag:
            raise Conflict(uid)
        return line

    def text_of(self, line: Line) -> str:
        return recognised_text(self.transcript, line) if line.text is None else line.text

    # --- Edits ---------------------------------------------------------------------------------------

    def set_text(self, uid: str, text: str, tag: str | None = None) -> None:
        """Set the text of a line; setting the recognised text removes the correction."""
        self._save(self._with_text(self.line(uid, tag), cleaned(text, TEXT_LENGTH)))

    def set_speaker(self, uids: Iterable[str], speaker: str, tag: str | None = None) -> str:
        """Assign lines to another speaker, or to a new one (``new``). Returns the label."""
        lines = [self.line(uid, tag) for uid in uids]
        label = self._new_label() if speaker == NEW_SPEAKER else self._known(speaker)
        for line in lines:
            self._save(replace(line, speaker=label))
        return label

    def split(self, uid: str, offset: int, tag: str | None = None) -> str:
        """Split a line before the character ``offset`` of its text. Returns the new line's ID."""
        line = self.line(uid, tag)
        text = self.text_of(line)
        left, right = text[:offset].rstrip(), text[offset:].lstrip()
        if not 0 < offset < len(text) or not left or not right:
            raise ValidationError(_("A line is split between two of its words."), code="no_split")
        words = recognised_words(self.transcript, line)
        pieces = timed_units(one_line(text), words, line.start, line.end)
        moment = _moment_of(pieces, text, len(text) - len(right))
        moment = min(max(moment, line.start + 1), max(line.end - 1, line.start + 1))
        first, second = self._divided(line, moment)
        new = self._new_uid()
        self._save(self._with_text(replace(line, end=moment, spans=first), left))
        end = max(line.end, moment)
        after = Line(new, moment, end, line.speaker, second)
        self._save(self._with_text(after, right))
        return new

    def merge(self, uid: str, tag: str | None = None) -> str:
        """Merge a line into the one before it. Returns that line's ID."""
        lines = self.lines
        line = self.line(uid, tag)
        place = next(at for at, each in enumerate(lines) if each.uid == uid)
        if place == 0:
            raise ValidationError(_("There is no line before this one."), code="no_merge")
        before = lines[place - 1]
        text = f"{self.text_of(before)} {self.text_of(line)}".strip()
        if len(text) > TEXT_LENGTH:
            raise _too_long(TEXT_LENGTH)
        spans = _joined(before.spans, line.spans)
        merged = replace(before, end=max(before.end, line.end), spans=spans)
        self._remove(uid)
        self._save(self._with_text(merged, text))
        return before.uid

    def merge_speakers(self, speaker: str, into: str) -> None:
        """Assign all lines of ``speaker`` to ``into``; the name of ``speaker`` is dropped."""
        speaker, into = self._known(speaker), self._known(into)
        if speaker == into:
            raise ValidationError(_("Choose two different speakers."), code="same_speaker")
        self.names.pop(speaker, None)
        for line in self.lines:
            if line.speaker == speaker:
                self._save(replace(line, speaker=into))

    def replace_all(self, find: str, text: str, *, match_case: bool = False) -> int:
        """Replace every occurrence of ``find``. Returns the number of changed lines."""
        find = unicodedata.normalize("NFC", find)
        if not find.strip():
            raise ValidationError(_("Enter what is to be replaced."), code="no_words")
        pattern = re.compile(re.escape(find), 0 if match_case else re.IGNORECASE)
        changed = 0
        for line in self.lines:
            before = self.text_of(line)
            after = pattern.sub(lambda _match: text, before)
            if after != before:
                self._save(self._with_text(line, cleaned(after, TEXT_LENGTH)))
                changed += 1
        return changed

    def name(self, names: dict[str, str]) -> None:
        """Set the names of speakers by label. An empty name restores the letter."""
        if unknown := set(names) - set(self.speakers):
            raise _no_speaker(", ".join(sorted(unknown)))
        tidy = {label: one_line(unicodedata.normalize("NFC", name)).strip() for label, name in names.items()}
        if any(len(name) > NAME_LENGTH for name in tidy.values()):
            raise ValidationError(
                _("A speaker’s name has at most %(limit)d characters."),
                code="too_long",
                params={"limit": NAME_LENGTH},
            )
        for label, name in tidy.items():
            self.names.pop(label, None)
            if name and name != default_speaker_name(label):
                self.names[label] = name

    # --- Parts of edits ------------------------------------------------------------------------------

    def _save(self, line: Line) -> None:
        is_recognised = int(line.uid) < len(self.transcript.segments)
        if is_recognised and line == recognised_line(self.transcript, int(line.uid)):
            self.edits.pop(line.uid, None)
        else:
            self.edits[line.uid] = line.to_json()

    def _remove(self, uid: str) -> None:
        if int(uid) < len(self.transcript.segments):
            self.edits[uid] = None
        else:
            self.edits.pop(uid, None)

    def _with_text(self, line: Line, text: str) -> Line:
        return replace(line, text=None if text == recognised_text(self.transcript, line) else text)

    def _divided(self, line: Line, moment: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
        """Spans of the line before and after a moment; the middle of a word decides its side."""
        first: list[Span] = []
        second: list[Span] = []
        for segment, begin, stop in line.spans:
            words = words_of(self.transcript.segments[segment])[begin:stop]
            count = sum((word.start + word.end) / 2 < moment for word in words)
            if count or not words:
                first.append((segment, begin, begin + count))
            if count < len(words):
                second.append((segment, begin + count, stop))
        at, _begin, stop = line.spans[-1]
        begin_at, begin, _stop = line.spans[0]
        return tuple(first) or ((begin_at, begin, begin),), tuple(second) or ((at, stop, stop),)

    def _new_uid(self) -> str:
        return str(1 + max([len(self.transcript.segments) - 1, *map(int, self.edits)]))

    def _new_label(self) -> str:
        taken = self.speakers
        if len(taken) >= SPEAKER_LIMIT:
            raise ValidationError(
                _("A transcript has at most %(limit)d speakers."),
                code="too_many",
                params={"limit": SPEAKER_LIMIT},
            )
        return next(str(n) for n in range(1, SPEAKER_LIMIT + 2) if str(n) not in taken)

    def _known(self, speaker: str) -> str:
        if speaker not in self.speakers:
            raise _no_speaker(speaker)
        return speaker


def cleaned(text: str, limit: int) -> str:
    """Normalise a text: one line, NFC, stripped. Raises ``ValidationError`` if longer than ``limit``."""
    text = one_line(unicodedata.normalize("NFC", text)).strip()
    if len(text) > limit:
        raise _too_long(limit)
    return text


def _moment_of(pieces: list[Any], text: str, offset: int) -> int:
    """Start time of the piece of the text at ``offset``."""
    at = 0
    for piece in pieces:
        at = text.index(piece.text, at)
        if at + len(piece.text) > offset:
            return int(piece.start)
        at += len(piece.text)
    return int(pieces[-1].end)


def _joined(first: tuple[Span, ...], second: tuple[Span, ...]) -> tuple[Span, ...]:
    """Concatenate spans, joining adjacent ones of a segment, so that a merge is the inverse of a split."""
    spans = list(first)
    for segment, begin, stop in second:
        if spans[-1][0] == segment and spans[-1][2] == begin:
            spans[-1] = (segment, spans[-1][1], stop)
        else:
            spans.append((segment, begin, stop))
    return tuple(spans)


def _no_line() -> ValidationError:
    return ValidationError(_("The transcript has no such line."), code="no_segment")


def _no_speaker(label: str) -> ValidationError:
    return ValidationError(
        _("The transcript has no speaker %(label)s."), code="no_speaker", params={"label": label}
    )


def _too_long(limit: int) -> ValidationError:
    return ValidationError(
        _("A line has at most %(limit)d characters."), code="too_long", params={"limit": limit}
    )
