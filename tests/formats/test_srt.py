"""SRT: read back by srt and pysubs2."""

from __future__ import annotations

from datetime import timedelta

import pysubs2
import pytest
import srt  # type: ignore[import-untyped]  # It ships no types.
from hypothesis import given

from batches.formats import Context
from batches.formats.cues import build_cues
from batches.recognition.transcript import Segment, Transcript
from tests.formats.samples import any_text, interview, said, silence, text_of, transcripts


def test_example() -> None:
    assert text_of("srt", interview(), Context(speaker_names={"2": "Dr. Kim"})).split("\r\n") == [
        "1",
        "00:00:00,610 --> 00:00:02,560",
        "A: Good morning. How are you?",
        "",
        "2",
        "00:00:03,200 --> 00:00:04,033",
        "Dr. Kim: Fine, thanks!",
        "",
        "3",
        "00:00:06,000 --> 00:00:07,550",
        "A: Then let us begin.",
        "",
        "",
    ]


def test_silence_is_an_empty_file() -> None:
    assert text_of("srt", silence()) == ""
    assert list(srt.parse("")) == []


def test_no_name_where_speakers_are_not_known() -> None:
    assert "\r\nHello.\r\n" in text_of("srt", Transcript("en", 1, 9000, [said(0, "Hello.")]))


def test_times_beyond_99_hours() -> None:
    start = 100 * 3_600_000 + 1
    text = text_of("srt", Transcript("en", 1, start + 5000, [Segment(start, start + 2000, "Late.")]))
    assert "100:00:00,001 --> 100:00:02,001" in text
    assert next(srt.parse(text)).start == timedelta(hours=100, milliseconds=1)


@pytest.mark.parametrize("markup", ["<b>bold</b>", "<font color=red>", "{\\an8}top", "{b}", "<!-- -->"])
def test_text_that_looks_like_markup_is_shown_as_it_is(markup: str) -> None:
    text = text_of("srt", Transcript("en", 1, 9000, [said(0, markup)]))
    shown = pysubs2.SSAFile.from_string(text.replace("\r\n", "\n"), format_="srt")[0].text
    assert shown != markup
    assert shown.replace("\u2060", "") == markup


def test_pysubs2_reads_the_same_cues() -> None:
    read = pysubs2.SSAFile.from_string(text_of("srt", interview()).replace("\r\n", "\n"), format_="srt")
    assert [(event.start, event.end, event.plaintext) for event in read] == [
        (610, 2560, "A: Good morning. How are you?"),
        (3200, 4033, "B: Fine, thanks!"),
        (6000, 7550, "A: Then let us begin."),
    ]


@given(transcripts(), any_text)
def test_nothing_in_a_text_breaks_the_file(transcript: Transcript, name: str) -> None:
    context = Context(speaker_names={"1": name})
    text = text_of("srt", transcript, context).encode().decode()
    read = list(srt.parse(text.replace("\r\n", "\n")))
    cues = build_cues(transcript, context)
    assert [item.index for item in read] == list(range(1, len(cues) + 1))
    assert [(item.start, item.end) for item in read] == [
        (timedelta(milliseconds=cue.start), timedelta(milliseconds=cue.end)) for cue in cues
    ]
    for item, cue in zip(read, cues, strict=True):
        shown = "\n".join(cue.lines)
        prefix = f"{context.speaker_name(cue.speaker)}: " if cue.opens_turn else ""
        assert item.content.replace("\u2060", "") == (prefix + shown).replace("\u2060", "").strip("\n")
