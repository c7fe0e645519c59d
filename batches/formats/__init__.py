"""Result files: a transcript as text in the formats that a batch may ask for. Knows no Django, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from batches.recognition.transcript import Transcript

from . import clova_json, plain_text, sami, srt, tsv, webvtt
from .context import Context
from .forbidden import without_forbidden

__all__ = ["FORMATS", "Context", "Format", "render"]


@dataclass(frozen=True)
class Format:
    name: str
    extension: str  # with its dot
    media_type: str  # IANA's where it has one; SubRip and SAMI are not registered
    label: str
    renderer: Callable[[Transcript, Context], str]

    @property
    def content_type(self) -> str:
        """For HTTP: browsers guess wrong at the encoding of text that does not tell it."""
        return f"{self.media_type}; charset=utf-8"


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format("json", ".json", "application/json", "JSON", clova_json.render),
            Format("srt", ".srt", "application/x-subrip", "SRT (SubRip)", srt.render),
            Format("smi", ".smi", "application/x-sami", "SMI (SAMI)", sami.render),
            Format("vtt", ".vtt", "text/vtt", "VTT (WebVTT)", webvtt.render),
            Format("txt", ".txt", "text/plain", "TXT (plain text)", plain_text.render),
            Format("tsv", ".tsv", "text/tab-separated-values", "TSV (table)", tsv.render),
        )
    }
)


def render(name: str, transcript: Transcript, context: Context | None = None) -> str:
    """The transcript in the format ``name``; any transcript gives a valid document that UTF-8 can hold.

    Raises KeyError for a name that is not in ``FORMATS``.
    """
    return FORMATS[name].renderer(*without_forbidden(transcript, context or Context()))
