"""Words of a text with their tokens: as openai-whisper's ``Tokenizer.split_to_word_tokens``, but faster.

That one calls tiktoken for every token, which releases the GIL and waits for it again: with many files in
hand, most of the time of finding words. It also raises IndexError for some texts with halves of characters.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence

import tiktoken
from whisper.tokenizer import Tokenizer

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # languages whose words no space separates
_INCOMPLETE = "\ufffd"  # what undecodable bytes become
_PUNCTUATION = string.punctuation


def split_to_word_tokens(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
    """Words with their spaces, and the tokens of each; characters in scripts without spaces."""
    subwords = _split_at_characters(tokenizer.encoding, tokens)
    if tokenizer.language in _UNSPACED:
        return [text for text, _ in subwords], [group for _, group in subwords]
    words: list[str] = []
    groups: list[list[int]] = []
    for text, group in subwords:
        begins = group[0] >= tokenizer.eot or text.startswith(" ") or text.strip() in _PUNCTUATION
        if begins or not words:
            words.append(text)
            groups.append(group)
        else:
            words[-1] += text
            groups[-1] += group
    return words, groups


def _split_at_characters(encoding: tiktoken.Encoding, tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Smallest groups of tokens that are whole characters."""
    pieces = [_bytes_of(encoding, token) for token in tokens]
    whole = b"".join(pieces).decode(errors="replace")
    found: list[tuple[str, list[int]]] = []
    group: list[int] = []
    data, offset = b"", 0
    for token, piece in zip(tokens, pieces, strict=True):
        group.append(token)
        data += piece
        text = data.decode(errors="replace")
        place = text.find(_INCOMPLETE)
        # What is undecodable in the whole text too is not the first half of a character.
        if place < 0 or whole[offset + place :][:1] == _INCOMPLETE:
            found.append((text, group))
            offset += len(text)
            group, data = [], b""
    if group:
        found.append((data.decode(errors="replace"), group))
    return found


@functools.lru_cache(maxsize=1 << 17)
def _bytes_of(encoding: tiktoken.Encoding, token: int) -> bytes:
    return encoding.decode_single_token_bytes(token)
