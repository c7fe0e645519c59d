"""Replacements: rules that replace recognised text, applied in the order of a domain's table.

Each rule is applied to the result of those before it. Patterns are matched by RE2 in time linear in the text,
so a member's pattern cannot block a worker (no catastrophic backtracking).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import re2

from batches.postprocessing.revision import Edit, Revision

_SPACES = r"\s+"
# Scripts with attached particles or without spaces, in which words match as substrings.
_JOINING = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_LETTER = re.compile(f"[^\\W{_JOINING}]")


_GROUP = re.compile(r"\\([1-9])")


class Rule(Protocol):
    """Replacement rule: one row of the table. ``language`` is Whisper's code, empty for all languages."""

    @property
    def heard(self) -> str: ...
    @property
    def written(self) -> str: ...
    @property
    def is_pattern(self) -> bool: ...
    @property
    def language(self) -> str: ...


class PatternError(ValueError):
    """Invalid pattern; the message is RE2's."""


@lru_cache(maxsize=4096)
def compiled(heard: str, is_pattern: bool) -> re2._Regexp[str]:
    """Compiled expression of one rule, which matches within one line. Raises ``PatternError``."""
    source = heard if is_pattern else _SPACES.join(re2.escape(part) for part in heard.split())
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.never_nl = True
    try:
        expression = re2.compile(f"(?m){source}", options)
    except re2.error as error:
        message = error.args[0] if error.args else ""
        raise PatternError(message.decode() if isinstance(message, bytes) else str(message)) from error
    if expression.search("") is not None:
        raise PatternError("it matches an empty text")
    return expression


def apply(revisions: Sequence[Revision], rules: Iterable[Rule], language: str) -> None:
    """Apply the rules in order to the texts of a transcript's segments.

    A rule is matched against all texts at once, one per line, for speed: most rules match nowhere.
    """
    text, starts = _lines(revisions)
    for rule in rules:
        if rule.language and rule.language != language:
            continue
        edits: dict[int, list[Edit]] = {}
        for edit in _edits(text, rule):
            line = bisect_right(starts, edit.start) - 1
            start = starts[line]
            own = Edit(edit.start - start, edit.end - start, edit.text)
            edits.setdefault(line, []).append(own)
        for line, own_edits in edits.items():
            revisions[line].apply(own_edits)
        if edits:
            text, starts = _lines(revisions)


def _lines(revisions: Sequence[Revision]) -> tuple[str, list[int]]:
    """All texts joined, one per line, and the offset of each."""
    texts = [revision.text.replace("\n", " ") for revision in revisions]
    starts, at = [], 0
    for text in texts:
        starts.append(at)
        at += len(text) + 1
    return "\n".join(texts), starts


def _edits(text: str, rule: Rule) -> Iterator[Edit]:
    for match in compiled(rule.heard, rule.is_pattern).finditer(text):
        start, end = match.span()
        if start == end or not (rule.is_pattern or _is_whole(text, start, end)):
            continue
        yield Edit(start, end, _expanded(rule.written, match) if rule.is_pattern else rule.written)


def _expanded(written: str, match: re2._Match[str]) -> str:
    r"""Expand the group references ``\1`` to ``\9`` in a pattern's replacement."""
    return _GROUP.sub(lambda found: match.group(int(found[1])) or "", written)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a match is a whole word, in scripts with spaces; true in other scripts."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (
        (before and _LETTER.match(before) and _LETTER.match(text[start]))
        or (after and _LETTER.match(after) and _LETTER.match(text[end - 1]))
    )
