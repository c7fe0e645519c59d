"""Characters: which ones formats can hold, their display width, and line breaking."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Line ends as in str.splitlines and in players, and tabs.
_SPACES = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
# Control characters, byte order marks and non-characters; and the marks that change the direction of all
# following text. The plain left-to-right and right-to-left marks stay, since their effect is local.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ufff9-\ufffb]")
_SURROGATES = re.compile("[\ud800-\udfff]")

# Scripts without spaces between words: Thai to Myanmar, Khmer, Kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
# Japanese and Chinese typography: characters that must not begin, or end, a line.
_NO_START = frozenset(
    "、。，．・：；？！）］｝〕〉》」』】〙〗〟’”»ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々〻‥…,.!?:;)]}%"
)
_NO_END = frozenset("（［｛〔〈《「『【〘〖〝‘“«([{")
_ZWJ = "\u200d"


def encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Normalise a text to a single line for any format: no control characters, single spaces."""
    return _SPACES.sub(" ", _UNWANTED.sub("", _SPACES.sub(" ", encodable(text)))).strip()


@lru_cache(maxsize=8192)
def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def columns(text: str) -> int:
    """Display width: a Latin letter counts one, a Chinese, Japanese or Korean character two."""
    return sum(map(_columns, text))


def is_unspaced(character: str) -> bool:
    return _UNSPACED.match(character) is not None


def holds_together(before: str, after: str) -> bool:
    """Whether two code points belong to one grapheme, which must not be split."""
    if before == _ZWJ or after == _ZWJ or unicodedata.category(after).startswith("M"):
        return True
    return "\U0001f3fb" <= after <= "\U0001f3ff" or (_is_flag(before) and _is_flag(after))


def may_break(before: str, after: str) -> bool:
    """Whether a line may break between two characters without a space, as in scripts without spaces."""
    if not (is_unspaced(before) or is_unspaced(after)):
        return False
    return after not in _NO_START and before not in _NO_END and not holds_together(before, after)


def join(first: str, second: str) -> str:
    """Join two texts, with a space between them if their script uses spaces."""
    if not first or not second:
        return first + second
    return first + ("" if is_unspaced(first[-1]) and is_unspaced(second[0]) else " ") + second


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
