"""TXT: a paragraph per turn or per pause."""

from __future__ import annotations

from hypothesis import given

from batches.formats import Context
from batches.formats.characters import one_line
from batches.recognition.transcript import Transcript
from tests.formats.samples import interview, korean, said, silence, text_of, transcripts


def test_turns_with_time_and_name() -> None:
    transcript = interview()
    transcript.segments.insert(1, said(2300, "Sit down.", speaker="1"))
    late = said(3_723_000, "Goodbye.", speaker="2")
    transcript.segments.append(late)
    assert text_of("txt", transcript, Context(speaker_names={"2": "김 박사"})) == (
        "[00:00:00] A: Good morning. How are you? Sit down.\n"
        "\n"
        "[00:00:03] 김 박사: Fine, thanks!\n"
        "\n"
        "[00:00:06] A: Then let us begin.\n"
        "\n"
        "[01:02:03] 김 박사: Goodbye.\n"
    )


def test_without_speakers_a_pause_begins_a_paragraph() -> None:
    assert text_of("txt", korean()) == "안녕하세요. 반갑습니다.\n\n네, 시작하겠습니다.\n"


def test_without_speakers_a_long_paragraph_ends() -> None:
    segments = [said(at * 4000, " ".join(["word"] * 10) + ".") for at in range(30)]
    text = text_of("txt", Transcript("en", 1, 120_000, segments))
    assert len(text.split("\n\n")) == 3


def test_no_space_between_japanese_sentences() -> None:
    segments = [said(0, "はい。", spaced=False), said(1300, "そうです。", spaced=False)]
    assert text_of("txt", Transcript("ja", 1, 9000, segments)) == "はい。そうです。\n"


def test_corrections_are_written() -> None:
    assert text_of("txt", korean(), Context(edited_texts={1: "네,\n시작합니다."})).endswith(
        "네, 시작합니다.\n"
    )


def test_silence_is_an_empty_file() -> None:
    assert text_of("txt", silence()) == ""


@given(transcripts())
def test_every_word_is_there_in_order(transcript: Transcript) -> None:
    text = text_of("txt", transcript).encode().decode()
    at = 0
    for segment in transcript.segments:
        line = one_line(segment.text)
        found = text.find(line, at)
        assert found >= 0
        at = found + len(line)
    assert all(one_line(line) == line for line in text.split("\n"))
