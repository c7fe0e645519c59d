"""Headers of the answers of all compatible interfaces."""

from __future__ import annotations

from collections.abc import Iterable

IGNORED_HEADER = "X-SpeechPortal-Ignored"
_NAMES = 50
_LENGTH = 100


def ascii_list(names: Iterable[str]) -> str:
    """Names as the value of a header; what no header can hold is shown as a question mark."""
    clean = ("".join(letter if "!" <= letter <= "~" else "?" for letter in name) for name in names)
    return ", ".join([name[:_LENGTH] for name in clean][:_NAMES])
