"""TSV: read back by the csv module."""

from __future__ import annotations

import csv
import io

from hypothesis import given

from batches.formats import Context
from batches.formats.characters import one_line
from batches.recognition.transcript import Segment, Transcript, Word
from tests.formats.samples import any_text, interview, silence, text_of, transcripts


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))


def unescaped(field: str) -> str:
    meanings = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
    parts, letters = [], iter(field)
    for letter in letters:
        parts.append(meanings[next(letters)] if letter == "\\" else letter)
    return "".join(parts)


def test_example() -> None:
    assert text_of("tsv", interview(), Context(edited_texts={2: "Then let's\tbegin.\n"})) == (
        "start\tend\ttext\tspeaker\n"
        "610\t2560\tGood morning. How are you?\tA\n"
        "3200\t3950\tFine, thanks!\tB\n"
        "6000\t7550\tThen let's\\tbegin.\tA\n"
    )


def test_silence_is_a_header() -> None:
    assert text_of("tsv", silence()) == "start\tend\ttext\tspeaker\n"


def test_what_is_escaped_can_be_read_again() -> None:
    text = "a\tb\\n\nc\rd"
    [_, row] = rows(text_of("tsv", Transcript("en", 1, 9000, [Segment(0, 10, text)])))
    assert unescaped(row[2]) == text


@given(transcripts(), any_text)
def test_nothing_in_a_text_breaks_the_table(transcript: Transcript, name: str) -> None:
    text = text_of("tsv", transcript, Context(speaker_names={"1": name})).encode().decode()
    lines = text.splitlines()
    assert len(lines) == 1 + len(transcript.segments)
    read = rows(text)
    assert {len(row) for row in read} == {4}
    for row, segment in zip(read[1:], transcript.segments, strict=True):
        assert (int(row[0]), int(row[1])) == (segment.start, segment.end)
        assert one_line(unescaped(row[2])) == one_line(segment.text)


def test_words_have_their_confidence_where_it_is_asked_for() -> None:
    words = [Word(0, 400, " Good", 0.975), Word(400, 800, " New York.", 0.5)]
    transcript = Transcript("en", 1.0, 1000, [Segment(0, 800, "Good New York.", words)])
    plain, full = (text_of("tsv", transcript, Context(word_confidence=wanted)) for wanted in (False, True))
    assert plain.splitlines()[0].split("\t") == ["start", "end", "text", "speaker"]
    assert full.splitlines()[0].split("\t")[-1] == "words"
    assert full.splitlines()[1].split("\t")[-1] == "Good:0.97 New_York.:0.50"
