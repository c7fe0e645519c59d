"""ASS: read back by pysubs2."""

from __future__ import annotations

import pysubs2
import pytest
from hypothesis import given

from batches.formats import Context, characters
from batches.formats.cues import build_cues
from batches.recognition.transcript import Segment, Transcript
from tests.formats.samples import any_text, interview, korean, silence, text_of, transcripts


def read(transcript: Transcript, context: Context | None = None) -> pysubs2.SSAFile:
    text = text_of("ass", transcript, context)
    assert text.startswith("\ufeff[Script Info]\r\n")
    assert "\n" not in text.replace("\r\n", "")
    return pysubs2.SSAFile.from_string(text.removeprefix("\ufeff"), format_="ass")


def test_english_with_speakers() -> None:
    context = Context(task_id="tsk_1", speaker_names={"2": "Kim, Dr."})
    subtitles = read(interview(), context)
    assert subtitles.info["ScriptType"] == "v4.00+"
    assert subtitles.info["Title"] == "tsk_1"
    assert [(line.start, line.end, line.style, line.name, line.text) for line in subtitles] == [
        (610, 2560, "Speaker 1", "A", "A: Good morning. How are you?"),
        (3200, 4030, "Speaker 2", "Kim， Dr.", "Kim, Dr.: Fine, thanks!"),
        (6000, 7550, "Speaker 1", "A", "A: Then let us begin."),
    ]
    colours = {name: style.primarycolor for name, style in subtitles.styles.items()}
    assert set(colours) == {"Default", "Speaker 1", "Speaker 2"}
    assert colours["Speaker 1"] != colours["Speaker 2"]


def test_korean_without_speakers() -> None:
    subtitles = read(korean(), Context(edited_texts={1: "네, 시작합시다."}))
    assert [(line.style, line.name, line.plaintext) for line in subtitles] == [
        ("Default", "", "안녕하세요. 반갑습니다."),
        ("Default", "", "네, 시작합시다."),
    ]
    assert subtitles.styles["Default"].fontname == "Malgun Gothic"


def test_silence_is_a_document_without_lines() -> None:
    assert list(read(silence())) == []


@pytest.mark.parametrize(
    "text", [r"{\b1}bold", "{comment}", r"a\Nb", r"\{", "}{", "[Events]", "Dialogue: 0,"]
)
def test_text_is_never_taken_for_a_command(text: str) -> None:
    (line,) = read(Transcript("en", 1.0, 5000, [Segment(0, 3000, text)]))
    shown = line.plaintext.replace("\u2060", "").replace("｛", "{").replace("｝", "}")
    assert shown.replace("\n", " ") == text


@given(any_text)
def test_any_name_of_a_speaker(name: str) -> None:
    context = Context(speaker_names={"1": name, "2": name})
    subtitles = read(interview(), context)
    assert len(subtitles) == 3
    assert {line.style for line in subtitles} == {"Speaker 1", "Speaker 2"}


@given(transcripts())
def test_any_transcript(transcript: Transcript) -> None:
    cues = build_cues(transcript, Context())
    subtitles = read(transcript)
    assert [line.start for line in subtitles] == [cue.start // 10 * 10 for cue in cues]
    assert all(line.start < line.end for line in subtitles)
    for line, cue in zip(subtitles, cues, strict=True):
        assert characters.one_line(line.text) == line.text
        assert line.text.count(r"\N") == len(cue.lines) - 1
