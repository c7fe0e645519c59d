"""Response headers that the compatible interfaces share."""

from __future__ import annotations

from collections.abc import Iterable

IGNORED_HEADER = "X-SpeechPortal-Ignored"
_NAMES = 50
_LENGTH = 100


def ascii_list(names: Iterable[str]) -> str:
    """Header value that lists names; characters that a header cannot hold become question marks."""
    clean = ("".join(letter if "!" <= letter <= "~" else "?" for letter in name) for name in names)
    return ", ".join([name[:_LENGTH] for name in clean][:_NAMES])
