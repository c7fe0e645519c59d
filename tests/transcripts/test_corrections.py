"""Corrections: the recognised text is kept, and every format contains the corrected one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from batches import formats
from batches.models import Correction, ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript, Word
from batches.transcripts import corrections, transcript_page
from batches.transcripts.drafts import Draft
from batches.worker.result_files import result_context
from tests.factories import make_batch, make_task, make_user
from tests.formats.samples import text_of

pytestmark = pytest.mark.django_db


def heard() -> Transcript:
    words = [Word(0, 400, "Hello", 0.9), Word(400, 1000, " whirled", 0.2)]
    farewell = [Word(1500, 2000, "Good"), Word(2000, 3000, " bye")]
    return Transcript(
        "en",
        1.0,
        3000,
        [
            Segment(0, 1000, "Hello whirled", words, speaker="1"),
            Segment(1500, 3000, "Good bye", farewell, speaker="2"),
        ],
        speakers=["1", "2"],
    )


@pytest.fixture
def task() -> Task:
    task = make_task(make_batch(), "call.wav", state="completed", media_duration=3000)
    StoredTranscript.unscoped.create(task=task, stage="speakers", document=heard().to_dict())
    return task


def as_json(task: Task) -> dict[str, object]:
    document: dict[str, object] = json.loads(formats.render("json", heard(), result_context(task)))
    return document


def test_every_format_is_made_from_the_corrected_text(task: Task) -> None:
    corrections.correct_text(task=task, index=0, text="Hello world", by=None)
    corrections.name_speakers(task=task, names={"1": "김지수"}, by=None)
    context = result_context(task)
    for name in formats.FORMATS:
        assert "Hello world" in text_of(name, heard(), context), name
    assert "whirled" not in formats.render("srt", heard(), context).decode()
    assert "김지수" in formats.render("vtt", heard(), context).decode()


def test_the_machines_text_is_kept_beside_the_correction(task: Task) -> None:
    corrections.correct_text(task=task, index=0, text="Hello world", by=None)
    document = json.loads(formats.render("json", heard(), result_context(task)))
    first = document["segments"][0]
    assert (first["text"], first["textEdited"]) == ("Hello whirled", "Hello world")
    assert StoredTranscript.unscoped.get(task=task).document == heard().to_dict()


def test_the_machines_own_text_takes_a_correction_back(task: Task) -> None:
    corrections.correct_text(task=task, index=0, text="Hello world", by=None)
    corrections.correct_text(task=task, index=0, text=" Hello  whirled ", by=None)
    assert Correction.unscoped.get(task=task).lines == {}


def test_who_corrected_last_is_kept(task: Task) -> None:
    bob = make_user("bob@example.com")
    corrections.correct_text(task=task, index=1, text="Goodbye", by=bob)
    correction = Correction.unscoped.get(task=task)
    assert (correction.changed_by, correction.is_published) == (bob, False)
    changed_at = correction.changed_at
    corrections.correct_text(task=task, index=1, text="Goodbye", by=None)
    assert Correction.unscoped.get(task=task).changed_at == changed_at


@pytest.mark.parametrize("index", [-1, 2])
def test_a_line_that_is_not_there(task: Task, index: int) -> None:
    with pytest.raises(ValidationError, match="no such line"):
        corrections.correct_text(task=task, index=index, text="x", by=None)


def test_a_speaker_that_is_not_there(task: Task) -> None:
    with pytest.raises(ValidationError, match="no speaker 3"):
        corrections.name_speakers(task=task, names={"1": "Ann", "3": "Eve"}, by=None)
    assert not Correction.unscoped.exists()


def test_an_empty_name_gives_the_letter_back(task: Task) -> None:
    corrections.name_speakers(task=task, names={"1": "Ann", "2": "Ben"}, by=None)
    corrections.name_speakers(task=task, names={"1": ""}, by=None)
    assert Correction.unscoped.get(task=task).speaker_names == {"2": "Ben"}


def test_publishing_writes_the_result_files_again(task: Task) -> None:
    assert task.connection is not None
    folder = Path(task.connection.place)
    (folder / "out" / "call.wav.srt").write_text("as heard")
    ResultFile.unscoped.create(
        task=task,
        format="srt",
        connection=task.connection,
        key="out/call.wav.srt",
        size=8,
        written_at=timezone.now(),
    )
    corrections.correct_text(task=task, index=0, text="Hello world", by=None)
    assert corrections.publish(task=task) == 1
    assert "Hello world" in (folder / "out" / "call.wav.srt").read_text()
    correction = Correction.unscoped.get(task=task)
    assert correction.is_published
    corrections.correct_text(task=task, index=0, text="Hello, world", by=None)
    assert not Correction.unscoped.get(task=task).is_published


def test_publishing_says_what_the_storage_says(task: Task) -> None:
    assert task.connection is not None
    ResultFile.unscoped.create(
        task=task,
        format="srt",
        connection=task.connection,
        key="out/x.srt",
        size=8,
        written_at=timezone.now(),
    )
    folder = Path(task.connection.place)
    (folder / "out").rmdir()
    (folder / "in").rmdir()
    folder.rmdir()
    corrections.correct_text(task=task, index=0, text="Hello world", by=None)
    with pytest.raises(ValidationError):
        corrections.publish(task=task)
    assert not Correction.unscoped.get(task=task).is_published


def test_words_of_a_line_have_times_and_marks() -> None:
    draft = Draft(heard(), {}, {})
    assert transcript_page.lines_of(draft)[0].words == "0,5,0,400 6,7,400,1000,1"
    draft.set_text("0", "Hello world")
    corrected = transcript_page.lines_of(draft)[0]
    assert corrected.words.split()[0] == "0,5,0,400"
    assert not corrected.words.endswith(",1")  # A person wrote it: nothing to be unsure about.


@given(st.text(max_size=80))
def test_words_cover_any_text_in_order(text: str) -> None:
    draft = Draft(heard(), {}, {})
    draft.set_text("1", text)
    line = transcript_page.lines_of(draft)[1]
    end = 0
    for entry in line.words.split():
        offset, length, start, stop = map(int, entry.split(",")[:4])
        assert end <= offset <= len(line.text) - length
        assert 0 <= start <= stop
        end = offset + length
    assert line.text[end:].strip() == ""
