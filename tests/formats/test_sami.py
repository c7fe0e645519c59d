"""SMI: read back by pysubs2 and by the standard library's HTML parser."""

from __future__ import annotations

from html.parser import HTMLParser

import pysubs2
import pytest
from hypothesis import given

from batches.formats import Context
from batches.formats.cues import build_cues, screens
from batches.recognition.transcript import Transcript
from tests.formats.samples import any_text, interview, korean, said, silence, text_of, transcripts


class Reader(HTMLParser):
    """(start, class, text) of each SYNC."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[int, str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "sync":
            self.found.append((int(values["start"] or ""), "", ""))
        elif tag == "p":
            start, _, _ = self.found.pop()
            self.found.append((start, values["class"] or "", ""))
        elif tag == "br":
            self.handle_data("\n")
        else:
            assert tag in {"sami", "head", "title", "style", "body"}, tag

    def handle_data(self, data: str) -> None:
        if self.found:
            start, name, text = self.found.pop()
            self.found.append((start, name, text + data))


def test_example() -> None:
    text = text_of("smi", korean(), Context(task_id="task-1"))
    assert text.startswith("\ufeff<SAMI>\r\n<HEAD>\r\n<TITLE>task-1</TITLE>\r\n")
    assert ".KRCC { Name:Korean; lang:ko-KR; SAMIType:CC; }" in text
    assert text.split("<BODY>\r\n")[1].split("\r\n") == [
        "<SYNC Start=1000><P Class=KRCC>안녕하세요. 반갑습니다.",
        "<SYNC Start=2150><P Class=KRCC>&nbsp;",
        "<SYNC Start=5000><P Class=KRCC>네, 시작하겠습니다.",
        "<SYNC Start=5950><P Class=KRCC>&nbsp;",
        "</BODY>",
        "</SAMI>",
        "",
    ]


@pytest.mark.parametrize(
    ("language", "asked", "name"),
    [
        ("ko", "enko", "KRCC"),
        ("en", "auto", "ENCC"),
        ("ja", "ja", "JPCC"),
        ("zh", "zh-cn", "CNCC"),
        ("zh", "zh-TW", "TWCC"),
        ("haw", "", "HAWCC"),
        ("", "", "UNCC"),
    ],
)
def test_class_from_the_language(language: str, asked: str, name: str) -> None:
    transcript = Transcript(language, 1, 9000, [said(0, "x")])
    text = text_of("smi", transcript, Context(language=asked))
    assert {found for _, found, _ in Reader(text).found} == {name}
    assert f".{name} {{" in text


def test_no_clearing_where_a_cue_follows_at_once() -> None:
    transcript = Transcript(
        "en", 1, 9000, [said(0, "One.", speaker="1", step=1000), said(950, "Two.", speaker="2", step=1000)]
    )
    assert [start for start, _, _ in Reader(text_of("smi", transcript)).found] == [0, 950, 1900]


def test_silence_is_an_empty_body() -> None:
    text = text_of("smi", silence())
    assert Reader(text).found == []
    assert "<BODY>\r\n</BODY>" in text


def test_pysubs2_reads_the_same_cues() -> None:
    read = pysubs2.SSAFile.from_string(text_of("smi", interview()), format_="sami")
    assert [(event.start, event.end, event.plaintext) for event in read if event.text] == [
        (610, 2560, "A: Good morning. How are you?"),
        (3200, 4033, "B: Fine, thanks!"),
        (6000, 7550, "A: Then let us begin."),
    ]


@given(transcripts(), any_text)
def test_nothing_in_a_text_breaks_the_file(transcript: Transcript, name: str) -> None:
    context = Context(speaker_names={"1": name}, task_id=name)
    text = text_of("smi", transcript, context).encode().decode()
    cues = build_cues(transcript, context)
    shown = [(start, body.rstrip()) for start, _, body in Reader(text).found if body.strip("\r\n") != "\xa0"]
    assert shown == [
        (
            start,
            "\n".join(
                (f"{context.speaker_name(cue.speaker)}: " if cue.opens_turn else "") + "\n".join(cue.lines)
                for cue in together
            ),
        )
        for start, _, together in screens(cues)
    ]
    assert text.count("<SYNC") == text.count("<P ")
