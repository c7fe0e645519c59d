"""DOCX: read back by python-docx."""

from __future__ import annotations

import io
import zipfile

import docx
from docx.document import Document
from docx.enum.text import WD_COLOR_INDEX
from hypothesis import given, settings

from batches.formats import Context, characters, render
from batches.recognition.transcript import Segment, Transcript
from tests.formats.samples import interview, korean, said, silence, transcripts


def read(transcript: Transcript, context: Context | None = None) -> Document:
    return docx.Document(io.BytesIO(render("docx", transcript, context)))


def lines(document: Document) -> list[str]:
    return [paragraph.text for paragraph in document.paragraphs]


def test_english_with_speakers_times_and_confidence() -> None:
    document = read(interview(), Context(task_id="tsk_1", speaker_names={"2": "Dr. Kim"}))
    assert lines(document) == [
        "Transcript",
        "Task: tsk_1",
        "Language: en",
        "Duration: 00:00:10",
        "Speakers: A, Dr. Kim",
        "Confidence: 95 %",
        "Highlighted: confidence below 60 %. Comments hold the recognised text of corrected lines.",
        "A  00:00:00 – 00:00:02  Confidence 95 %",
        "Good morning. How are you?",
        "Dr. Kim  00:00:03 – 00:00:03  Confidence 95 %",
        "Fine, thanks!",
        "A  00:00:06 – 00:00:07  Confidence 95 %",
        "Then let us begin.",
    ]
    assert document.paragraphs[0].style is not None
    assert document.paragraphs[0].style.name == "Heading 1"
    assert document.core_properties.title == "Transcript tsk_1"
    assert list(document.comments) == []


def test_korean_labels_and_paragraphs_by_pauses() -> None:
    document = read(korean())
    assert lines(document)[0] == "음성 인식 결과"
    assert "언어: ko" in lines(document)
    assert lines(document)[-4:] == [
        "00:00:01 – 00:00:01  신뢰도 95 %",
        "안녕하세요. 반갑습니다.",
        "00:00:05 – 00:00:05  신뢰도 95 %",
        "네, 시작하겠습니다.",
    ]


def test_a_correction_stands_in_the_text_and_the_recognised_text_in_a_comment() -> None:
    document = read(interview(), Context(edited_texts={1: "Fine, thank you!", 2: ""}))
    assert "Fine, thank you!" in lines(document)
    assert "Fine, thanks!" not in lines(document)
    assert [(comment.author, comment.text) for comment in document.comments] == [
        ("Speech Portal", "Recognised: Fine, thanks!"),
        ("Speech Portal", "Recognised: Then let us begin."),
    ]


def test_forbidden_words_are_in_no_part_of_the_archive() -> None:
    data = render("docx", interview(), Context(forbidden="thanks", edited_texts={1: "Fine, no thanks!"}))
    assert "Fine, no ******!" in lines(docx.Document(io.BytesIO(data)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    assert any(b"Recognised: Fine, ******!" in part for part in parts)
    assert not any(b"thanks" in part for part in parts)


def test_low_confidence_is_highlighted() -> None:
    unsure = said(1000, "maybe", speaker="1")
    unsure.confidence = 0.3
    document = read(Transcript("en", 1.0, 5000, [said(0, "surely", speaker="1"), unsure]))
    (paragraph,) = [each for each in document.paragraphs if "maybe" in each.text]
    colours = {run.text.strip(): run.font.highlight_color for run in paragraph.runs}
    assert colours == {"surely": None, "maybe": WD_COLOR_INDEX.YELLOW}


def test_right_to_left() -> None:
    document = read(Transcript("he", 1.0, 5000, [Segment(0, 3000, "שלום")]))
    (paragraph,) = [each for each in document.paragraphs if each.text == "שלום"]
    assert paragraph.runs[0].font.rtl is True
    assert "<w:bidi/>" in paragraph._p.xml


def test_silence() -> None:
    assert lines(read(silence()))[-1] == "인식된 음성이 없습니다."


@given(transcripts())
@settings(max_examples=30, deadline=None)
def test_any_transcript(transcript: Transcript) -> None:
    text = "".join(lines(read(transcript))).replace(" ", "")
    for segment in transcript.segments:
        assert characters.one_line(segment.text).replace(" ", "") in text
