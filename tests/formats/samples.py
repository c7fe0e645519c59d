"""Transcripts to write: examples that a person can follow, and hostile ones for Hypothesis."""

from __future__ import annotations

import io
import zipfile

from hypothesis import strategies as st

from batches.formats import FORMATS, Context, render
from batches.recognition.transcript import Segment, Transcript, Word


def text_of(name: str, transcript: Transcript, context: Context | None = None) -> str:
    """A document's text; of a binary format, which is an archive, the text of all its parts."""
    document = render(name, transcript, context)
    if not FORMATS[name].binary:
        return document.decode("utf-8")
    with zipfile.ZipFile(io.BytesIO(document)) as archive:
        return "\n".join(archive.read(part).decode("utf-8", "replace") for part in archive.namelist())


def said(start: int, text: str, *, speaker: str = "", step: int = 400, spaced: bool = True) -> Segment:
    """Segment with words at intervals of ``step`` ms, the last 50 of which are silent."""
    texts = [f" {word}" for word in text.split()] if spaced else list(text)
    words = [
        Word(start + step * at, start + step * (at + 1) - 50, word, 0.9, speaker)
        for at, word in enumerate(texts)
    ]
    return Segment(start, words[-1].end, text, words, 0.94712, speaker, -0.25, 0.01, 1.2)


def interview() -> Transcript:
    segments = [
        said(610, "Good morning. How are you?", speaker="1"),
        said(3200, "Fine, thanks!", speaker="2"),
        said(6000, "Then let us begin.", speaker="1"),
    ]
    engine = {"name": "openai-whisper", "version": "20250625", "model": "base"}
    return Transcript("en", 0.98765, 10_000, segments, ["1", "2"], speech_duration=7_000, engine=engine)


def korean() -> Transcript:
    segments = [said(1000, "안녕하세요. 반갑습니다."), said(5000, "네, 시작하겠습니다.")]
    return Transcript("ko", 0.99, 8_000, segments)


def silence(language: str = "ko") -> Transcript:
    return Transcript(language, 0.0, 30_000, flags=["no_speech"])


HOSTILE = [
    "-->", "00:00:01,000 --> 00:00:02,000", "00:00:01.000 --> 00:00:02.000", "WEBVTT", "NOTE", "STYLE", "1",
    "<b>", "</v>", "<v Eve>", "&", "&lt;", "&nbsp;", "<!--", "</SAMI>", "<SYNC Start=1>", '"', "'", "{\\an8}",
    "\n", "\r\n", "\n\n", "\t", "\x00", "\x0b", "\x1c", "\x85", "\u2028", "\\", "\\t", "=1+1",
    "\u200f", "\u202e", "\u2066", "\ufeff", "\ud800", "\udfff", "\uffff", "e\u0301", "👩\u200d👩\u200d👧",
    "🇰🇷", "안녕하세요", "日本語。", "שלום", "สวัสดี", "hello", "a" * 90,
]  # fmt: skip

any_text = st.one_of(
    st.text(st.characters(), max_size=12),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map(" ".join),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join),
)
_times = st.integers(0, 20_000)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start = draw(_times)
    words = []
    at = start
    for text in draw(st.lists(any_text, max_size=12)):
        begin = at + draw(st.integers(0, 1500))
        at = begin + draw(st.integers(0, 4000))
        words.append(Word(begin, at, f" {text}", draw(st.floats(0, 1))))
    text = "".join(word.text for word in words) if draw(st.booleans()) else draw(any_text)
    speaker = draw(st.sampled_from(["", "1", "2", "27"]))
    return Segment(start, max(at, start), text, words, draw(st.floats(0, 1)), speaker)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    language = draw(st.sampled_from(["ko", "en", "ja", "zh", "yue", "haw"]))
    return Transcript(language, 0.9, 60_000, draw(st.lists(segments(), max_size=6)), ["1", "2"])
