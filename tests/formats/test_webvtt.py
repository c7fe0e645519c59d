"""WebVTT: read back by webvtt-py and pysubs2."""

from __future__ import annotations

import html
import io
import re

import pysubs2
import webvtt
from hypothesis import given

from batches.formats import Context
from batches.formats.cues import build_cues
from batches.recognition.transcript import Transcript
from tests.formats.samples import any_text, interview, korean, said, silence, text_of, transcripts


def test_example() -> None:
    assert text_of("vtt", interview(), Context(speaker_names={"2": "Kim & Lee"})) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.610 --> 00:00:02.560\n"
        "<v A>Good morning. How are you?</v>\n"
        "\n"
        "00:00:03.200 --> 00:00:04.033\n"
        "<v Kim &amp; Lee>Fine, thanks!</v>\n"
        "\n"
        "00:00:06.000 --> 00:00:07.550\n"
        "<v A>Then let us begin.</v>\n"
    )


def test_no_voice_where_speakers_are_not_known() -> None:
    assert text_of("vtt", korean()).splitlines()[3] == "안녕하세요. 반갑습니다."


def test_silence_is_a_header() -> None:
    assert text_of("vtt", silence()) == "WEBVTT\n"
    assert len(webvtt.from_string(text_of("vtt", silence()))) == 0


def test_arrow_and_markup_are_escaped() -> None:
    text = text_of("vtt", Transcript("en", 1, 9000, [said(0, "a --> b <i>c</i> & d")]))
    assert "a --&gt; b &lt;i&gt;c&lt;/i&gt; &amp; d\n" in text
    assert pysubs2.SSAFile.from_string(text, format_="vtt")[0].start == 0


def test_a_speaker_s_name_makes_no_arrow_of_its_tag() -> None:
    text = text_of("vtt", interview(), Context(speaker_names={"1": "Kim --", "2": "-->"}))
    assert text.count("-->") == 3
    assert "<v Kim -- >Good morning" in text
    assert "<v --&gt;>Fine" in text


def test_webvtt_py_reads_voices() -> None:
    read = webvtt.from_string(text_of("vtt", interview()))
    assert [(caption.voice, caption.text) for caption in read.captions] == [
        ("A", "Good morning. How are you?"),
        ("B", "Fine, thanks!"),
        ("A", "Then let us begin."),
    ]


@given(transcripts(), any_text)
def test_nothing_in_a_text_breaks_the_file(transcript: Transcript, name: str) -> None:
    context = Context(speaker_names={"1": name})
    text = text_of("vtt", transcript, context).encode().decode()
    cues = build_cues(transcript, context)
    read = webvtt.from_buffer(io.StringIO(text), format="vtt").captions
    assert [caption.start_in_seconds for caption in read] == [cue.start // 1000 for cue in cues]
    # The standard's own reading: blocks between blank lines, times first, spans and escapes in the text.
    blocks = text.removeprefix("WEBVTT\n").split("\n\n")
    bodies = [block.strip("\n").split("\n", 1) for block in blocks if block.strip("\n")]
    assert len(bodies) == len(cues)
    for (times, body), cue in zip(bodies, cues, strict=True):
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", times)
        assert "-->" not in body
        assert html.unescape(re.sub(r"<[^>]*>", "", body)).split() == " ".join(cue.lines).split()
        assert len(re.findall(r"<v [^<>\n]+>", body)) == len(re.findall("<", body)) / 2 == bool(cue.speaker)
