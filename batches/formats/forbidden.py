"""Forbidden words: masked with asterisks, or removed, in everything that leaves the portal.

Matching ignores case. In scripts that attach particles to words or have no spaces between them (Hangul, Kana,
Han, Thai and related scripts) a word matches anywhere; in others only as a whole word, so that longer words
with the same beginning do not match. The stored transcript and its corrections are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from batches.recognition.chinese_script import simplified
from batches.recognition.transcript import Segment, Transcript, Word

from .context import Context

_JOINING = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_LETTER = f"[^\\W{_JOINING}]"
_SPACES = re.compile(r"\s+")


def without_forbidden(transcript: Transcript, context: Context) -> tuple[Transcript, Context]:
    """Mask or remove forbidden words in both. Objects without any are returned unchanged."""
    pattern = _pattern(context.forbidden)
    if pattern is None:
        return transcript, context
    hidden = _Hidden(pattern, remove=context.forbidden_action == "remove")
    segments = [hidden.segment(segment) for segment in transcript.segments]
    edited = {index: hidden.text(text) for index, text in context.edited_texts.items()}
    return replace(transcript, segments=segments), replace(context, edited_texts=edited)


@lru_cache(maxsize=64)
def _pattern(forbidden: str) -> re.Pattern[str] | None:
    words = {" ".join(simplified(word).split()) for word in forbidden.split(",")} - {""}
    if not words:
        return None
    # If one word is a prefix of another, the longer one is matched.
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(_alternative, longest_first)), re.IGNORECASE)


def _alternative(word: str) -> str:
    spaced = r"\s+".join(map(re.escape, _SPACES.split(word)))
    before = f"(?<!{_LETTER})" if re.match(_LETTER, word[0]) else ""
    after = f"(?!{_LETTER})" if re.match(_LETTER, word[-1]) else ""
    return f"{before}{spaced}{after}"


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Masks the matches of a pattern, with one asterisk per letter, or removes them."""

    pattern: re.Pattern[str]
    remove: bool

    def text(self, text: str) -> str:
        shown_text = self._hidden(text, masked=not self.remove)
        return _SPACES.sub(" ", shown_text).strip() if self.remove and shown_text != text else shown_text

    def _hidden(self, text: str, *, masked: bool) -> str:
        """Mask or remove matches. Chinese words match in both scripts: list and transcript may differ."""
        parts, at = [], 0
        for found in self.pattern.finditer(simplified(text)):
            parts += [text[at : found.start()], re.sub(r"\S", "*", found[0]) if masked else ""]
            at = found.end()
        return "".join([*parts, text[at:]])

    def segment(self, segment: Segment) -> Segment:
        text, words = self.text(segment.text), self._words(segment.words)
        machine_text = self.text(segment.machine_text)
        if (text, words, machine_text) == (segment.text, segment.words, segment.machine_text):
            return segment
        changes = segment.changes
        if self.remove:  # Offsets into the text are no longer valid.
            changes = [replace(change, offset=0, length=0) for change in changes]
        changes = [replace(change, heard=self.text(change.heard)) for change in changes]
        return replace(segment, text=text, words=words, changes=changes, machine_text=machine_text)

    def _words(self, words: Sequence[Word]) -> list[Word]:
        """Mask words in their joined text, since a forbidden word may span several of the engine's words.

        A mask is as long as the word that it hides.
        """
        whole = self._hidden("".join(word.text for word in words), masked=True)
        shown_text, start = [], 0
        for word in words:
            end = start + len(word.text)
            text = whole[start:end]
            start = end
            if self.remove and text != word.text:
                text = text.replace("*", "") if "*" not in word.text else text
                if not text.strip():
                    continue
            shown_text.append(replace(word, text=text))
        return shown_text
