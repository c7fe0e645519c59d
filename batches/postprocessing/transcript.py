"""Post-processing of a whole transcript: numbers as digits, replacements and redaction.

Texts and timed words are changed alike, and each change is recorded with the recognised text.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batches.postprocessing import replacements, words
from batches.postprocessing.replacements import Rule
from batches.postprocessing.revision import Edit, Revision
from batches.recognition.transcript import NUMBER, Segment, TextChange, Transcript, Word

_Span = tuple[int, int, str]  # start, end, kind
MASK, LABEL, REMOVE = "mask", "label", "remove"
ACTIONS = (MASK, LABEL, REMOVE)
MASKED = "****"  # fixed length, since the length of a spoken number would reveal its digits


@dataclass(frozen=True)
class Rules:
    """Post-processing rules: an action of ``ACTIONS`` for each kind to redact, and replacements.

    ``digits`` writes numbers as digits before the replacements, so that these match the text as displayed.
    """

    redact: Mapping[str, str] = field(default_factory=dict)
    replace: Sequence[Rule] = ()
    digits: bool = False

    def __bool__(self) -> bool:
        return bool(self.redact or self.replace or self.digits)

    @property
    def need_language(self) -> bool:
        """Whether the result depends on the transcript's language."""
        return self.digits or any(rule.language for rule in self.replace)


def process(transcript: Transcript, rules: Rules) -> Transcript:
    """Return the post-processed transcript. The argument must be as recognised; it is not changed."""
    if not rules:
        return transcript
    texts = _revised([segment.text.strip() for segment in transcript.segments], rules, transcript.language)
    joined = [words.joined(segment) for segment in transcript.segments]
    if all(_same(segment, text) for segment, text in zip(transcript.segments, joined, strict=True)):
        spoken = [_shifted(text, revision) for text, revision in zip(joined, texts, strict=True)]
    else:
        spoken = _revised(joined, rules, transcript.language)
    segments = [
        _segment(segment, text, by_words)
        for segment, text, by_words in zip(transcript.segments, texts, spoken, strict=True)
    ]
    return dataclasses.replace(transcript, segments=segments)


def settled(transcript: Transcript, rules: Rules) -> int:
    """Number of leading segments whose result of :func:`process` later segments cannot change."""
    if not rules.redact:
        return len(transcript.segments)
    revisions = [Revision(segment.text.strip()) for segment in transcript.segments]
    heard = [revision.text for revision in revisions]
    _write_digits(revisions, rules, transcript.language)
    replacements.apply(revisions, rules.replace, transcript.language)
    return min(_settled_lines(heard), _settled_lines([revision.text for revision in revisions]))


def _settled_lines(texts: Sequence[str]) -> int:
    lines = [text.replace("\n", " ") for text in texts]
    from batches.postprocessing import detection  # Many expressions: only workers need them.

    end, at = detection.settled("\n".join(lines)), 0
    for count, line in enumerate(lines):
        at += len(line) + 1
        if at > end:
            return count
    return len(lines)


def redacted_texts(texts: Sequence[str], redact: Mapping[str, str]) -> list[str]:
    """Redact related texts, such as the lines of a corrected transcript, as one context."""
    return [revision.text for revision in _revised(texts, Rules(redact=redact), "")]


def redacted_values(value: Any, redact: Mapping[str, str]) -> Any:
    """Redact a JSON value: each string and number by itself, with its key as context."""
    if isinstance(value, dict):
        return {key: _redacted_value(str(key), one, redact) for key, one in value.items()}
    if isinstance(value, list):
        return [redacted_values(one, redact) for one in value]
    return _redacted_value("", value, redact)


def _redacted_value(key: str, value: Any, redact: Mapping[str, str]) -> Any:
    if isinstance(value, dict | list):
        return redacted_values(value, redact)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    texts = redacted_texts([key.replace("_", " "), str(value)], redact)
    return value if texts[1] == str(value) else texts[1]


def _revised(texts: Iterable[str], rules: Rules, language: str) -> list[Revision]:
    """Write numbers as digits, replace, then redact what is found in the original or the replaced texts."""
    revisions = [Revision(text) for text in texts]
    heard = _sensitive([revision.origin for revision in revisions], rules.redact)
    _write_digits(revisions, rules, language)
    replacements.apply(revisions, rules.replace, language)
    if rules.redact:
        found = heard
        if any(revision.changes for revision in revisions):
            written = _sensitive([revision.text for revision in revisions], rules.redact)
            found = [
                [*own, *((*revision.current(start, end), kind) for start, end, kind in old)]
                for revision, own, old in zip(revisions, written, heard, strict=True)
            ]
        for revision, own in zip(revisions, found, strict=True):
            revision.apply([_edit(revision.text, *span, rules.redact[span[2]]) for span in _joined(own)])
    return revisions


def _write_digits(revisions: Iterable[Revision], rules: Rules, language: str) -> None:
    if not rules.digits:
        return
    from batches.postprocessing import digits

    for revision in revisions:
        found = digits.find(revision.text, language)
        revision.apply([Edit(each.start, each.end, each.written, NUMBER) for each in found])


def _sensitive(texts: Sequence[str], actions: Mapping[str, str]) -> list[list[_Span]]:
    """Spans to redact in each text. The texts are searched as one, since a number may span segments."""
    found: list[list[_Span]] = [[] for _ in texts]
    if not actions:
        return found
    lines = [text.replace("\n", " ") for text in texts]
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    from batches.postprocessing import detection

    for finding in detection.find("\n".join(lines), actions):
        for start, end in finding.parts:
            index = bisect_right(starts, start) - 1
            found[index].append((start - starts[index], end - starts[index], finding.kind))
    return found


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """Spans in order, with overlapping ones merged into one of the first one's kind."""
    joined: list[_Span] = []
    for start, end, kind in sorted(spans):
        if joined and start < joined[-1][1]:
            first, last, own = joined[-1]
            joined[-1] = (first, max(last, end), own)
        elif end > start:
            joined.append((start, end, kind))
    return joined


def _edit(text: str, start: int, end: int, kind: str, action: str) -> Edit:
    if action == LABEL:
        return Edit(start, end, f"[{kind.upper()}]", kind)
    if action == REMOVE:
        # Remove one of the two surrounding spaces as well.
        if text[end : end + 1] == " " and (start == 0 or text[start - 1] == " "):
            end += 1
        elif end == len(text) and start > 0 and text[start - 1] == " ":
            start -= 1
        return Edit(start, end, "", kind)
    return Edit(start, end, MASKED, kind)


def _same(segment: Segment, joined: str) -> bool:
    return joined.strip() == segment.text.strip()


def _shifted(joined: str, revision: Revision) -> Revision:
    """The same changes for the joined words, which may have leading spaces."""
    shift = len(joined) - len(joined.lstrip())
    shifted = Revision(joined)
    shifted.text = joined[:shift] + revision.text
    shifted.changes = [
        dataclasses.replace(
            change,
            start=change.start + shift,
            end=change.end + shift,
            origin_start=change.origin_start + shift,
            origin_end=change.origin_end + shift,
        )
        for change in revision.changes
    ]
    return shifted


def _segment(segment: Segment, text: Revision, spoken: Revision) -> Segment:
    if not text.changes and not spoken.changes:
        return segment
    timed = text.origin == spoken.origin.strip()
    shift = len(spoken.origin) - len(spoken.origin.lstrip()) if timed else 0
    own: Sequence[Word] = segment.words if timed else ()
    outer = len(text.text) - len(text.text.lstrip())
    changes = []
    for change in text.changes:
        moved = dataclasses.replace(
            change, origin_start=change.origin_start + shift, origin_end=change.origin_end + shift
        )
        start, end = words.time_of(moved, own, segment, len(text.origin))
        heard = "" if change.is_redaction else text.origin[change.origin_start : change.origin_end]
        offset = max(0, change.start - outer)
        changes.append(TextChange(change.kind, offset, change.end - change.start, start, end, heard))
    if not timed:
        # Redactions of the words have their own times, which the muted copy needs.
        changes += [
            TextChange(change.kind, 0, 0, *words.time_of(change, segment.words, segment, len(spoken.origin)))
            for change in spoken.changes
            if change.is_redaction
        ]
    replaced = any(not change.is_redaction for change in text.changes)
    return dataclasses.replace(
        segment,
        text=text.text.strip(),
        words=words.revised(segment.words, spoken),
        changes=changes,
        machine_text=text.redacted_origin() if replaced else "",
    )
