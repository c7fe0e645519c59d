"""Search query: parses the terms that must occur and those that must not, and normalises texts.

Words are separated by spaces; a phrase is enclosed in quotation marks; a leading minus sign excludes a word
or a phrase. Texts and queries are normalised in the same way before they are compared.

A trigram index has entries of three characters, and most Korean words have two syllables, too short for it.
So each syllable is decomposed into its three letters (jamo), with a placeholder for a missing final. "상품"
then has six characters, and matches only these two syllables, since initials, vowels and finals are different
characters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from batches.recognition.chinese_script import simplified

WORD_LIMIT = 8  # terms of a query, and as many excluded terms

# A Hangul syllable is an initial, a vowel, and an optional final (Unicode, chapter 3.12).
SYLLABLES, FIRSTS, VOWELS, LASTS = 0xAC00, 0x1100, 0x1161, 0x11A7
NO_LAST = "\u11ff"  # placeholder: a final that no syllable has
SPELLING = {
    SYLLABLES + 588 * first + 28 * vowel + last: f"{chr(FIRSTS + first)}{chr(VOWELS + vowel)}"
    + (chr(LASTS + last) if last else NO_LAST)
    for first in range(19)
    for vowel in range(21)
    for last in range(28)
}
QUOTES = str.maketrans(dict.fromkeys("“”„«»「」", '"'))
TERM = re.compile(r'(-?)"([^"]*)"|(\S+)')


def fold(text: str) -> str:
    """Normalise a text: width, case, composed letters, white space, and Chinese to Simplified characters."""
    return " ".join(_folded(text).split())


def _folded(text: str) -> str:
    return simplified(unicodedata.normalize("NFKC", text).casefold())


def spell(text: str) -> str:
    """Decompose every Hangul syllable of a folded text into three letters."""
    return text.translate(SPELLING)


@dataclass(frozen=True)
class SearchQuery:
    """Terms of a query, folded; a phrase is a term with spaces in it."""

    wanted: tuple[str, ...] = ()  # all of them must occur
    unwanted: tuple[str, ...] = ()  # none of them may

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a query as typed. An unmatched quotation mark is ignored."""
        terms: dict[bool, dict[str, None]] = {True: {}, False: {}}
        # PostgreSQL does not accept NUL.
        for minus, phrase, word in TERM.findall(fold(text.replace("\0", " ").translate(QUOTES))):
            is_unwanted = bool(minus) or (word[:1] == "-" and word[1:2] not in ("", "-"))
            term = phrase.strip() or (word[1:] if is_unwanted else word)
            if term := term.strip('"') or term:
                terms[is_unwanted][term] = None
        return cls(tuple(terms[False])[:WORD_LIMIT], tuple(terms[True])[:WORD_LIMIT])

    @property
    def is_empty(self) -> bool:
        return not self.wanted and not self.unwanted


def marked(text: str, query: str) -> list[tuple[str, bool]]:
    """Split a text into parts, each with whether it is a term of the query, for highlighting.

    If folding changes the length of the text (NFKC), no part is marked.
    """
    folded = _folded(text)
    words = SearchQuery.parse(query).wanted
    if len(folded) != len(text) or not words:
        return [(text, False)]
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    parts, at = [], 0
    for match in pattern.finditer(folded):
        parts += [(text[at : match.start()], False), (text[match.start() : match.end()], True)]
        at = match.end()
    return [(part, found) for part, found in [*parts, (text[at:], False)] if part]
