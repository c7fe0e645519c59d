"""Chinese script conversion: Simplified for zh-cn, Traditional for zh-tw.

Whisper has one language code for both and writes either script unpredictably. The conversion uses OpenCC
(https://github.com/BYVoid/OpenCC), which resolves characters with several counterparts by phrases.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

CONVERSIONS = {"zh-cn": "t2s", "zh-tw": "s2tw"}  # language code -> OpenCC's configuration
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))  # first and last code points


def conversion(language: str) -> str:
    """OpenCC's configuration for a language code; empty for languages without conversion."""
    return CONVERSIONS.get(language.strip().lower().replace("_", "-"), "")


def convert(text: str, configuration: str) -> str:
    return _converter(configuration)(text)


def convert_texts(texts: Sequence[str], configuration: str) -> list[str]:
    """Convert consecutive words together, so that phrases across words are recognised.

    If the conversion changes the number of characters, each word is converted by itself.
    """
    whole = "".join(texts)
    converted = convert(whole, configuration)
    if len(converted) != len(whole):
        return [convert(text, configuration) for text in texts]
    parts, start = [], 0
    for text in texts:
        parts.append(converted[start : start + len(text)])
        start += len(text)
    return parts


def both_scripts(words: Iterable[str]) -> list[str]:
    """Each word unchanged and, where different, in Simplified and in Traditional characters."""
    return list(
        dict.fromkeys(
            form for word in words for form in (word, *(convert(word, each) for each in CONVERSIONS.values()))
        )
    )


def simplified(text: str) -> str:
    """Convert Traditional to Simplified characters one by one, so that both spellings compare equal.

    The length does not change. For comparison and search, not for display.
    """
    return text if text.isascii() else text.translate(_simplified_characters())


@functools.cache
def _converter(configuration: str) -> Callable[[str], str]:
    import opencc

    converter: Callable[[str], str] = opencc.OpenCC(configuration).convert
    return converter


@functools.cache
def _simplified_characters() -> dict[int, str]:
    characters = [chr(code) for first, last in _HAN for code in range(first, last + 1)]
    found = convert("\n".join(characters), CONVERSIONS["zh-cn"]).split("\n")
    return {
        ord(character): other
        for character, other in zip(characters, found, strict=True)
        if other != character and len(other) == 1
    }
