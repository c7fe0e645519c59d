"""Edits of lines: split, merge and change of speaker, without overwriting another person's edits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from batches import formats
from batches.formats.lines import lines_of, recognised_text
from batches.models import Correction, StoredTranscript, Task
from batches.recognition.transcript import Segment, SpeakerTurn, Transcript, Word
from batches.transcripts import changes, corrections, history, search, transcript_page
from batches.transcripts.drafts import Conflict, Draft
from batches.worker.result_files import result_context
from speechportal.accounts.models import Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

TEXT = "Good morning. How are you?"


def spoken() -> Transcript:
    words = [
        Word(0, 300, "Good", 0.9, "1"),
        Word(300, 900, " morning.", 0.9, "1"),
        Word(1000, 1300, " How", 0.9, "1"),
        Word(1300, 1500, " are", 0.9, "1"),
        Word(1500, 2000, " you?", 0.2, "1"),
    ]
    fine = [Word(2500, 3000, "Fine,", 0.9, "2"), Word(3000, 3500, " thanks.", 0.9, "2")]
    segments = [
        Segment(0, 2000, TEXT, words, speaker="1"),
        Segment(2500, 3500, "Fine, thanks.", fine, speaker="2"),
        Segment(4000, 5000, "And without words", [], speaker="1"),
    ]
    return Transcript("en", 1.0, 9000, segments, ["1", "2"], [SpeakerTurn(6000, 9000, "2")])


def draft() -> Draft:
    return Draft(spoken(), {}, {})


def texts(edited: Draft) -> list[str]:
    return [edited.text_of(line) for line in edited.lines]


def test_a_line_is_split_where_the_words_are_said() -> None:
    edited = draft()
    new = edited.split("0", len("Good morning. "))
    first, second, *_rest = edited.lines
    assert (first.uid, second.uid) == ("0", new)
    assert [edited.text_of(each) for each in (first, second)] == ["Good morning.", "How are you?"]
    assert (first.start, first.end, second.start, second.end) == (0, 1000, 1000, 2000)
    assert (first.text, second.text) == (None, None)  # Both are as recognised: nothing was typed.


def test_merging_undoes_splitting() -> None:
    edited = draft()
    edited.merge(edited.split("0", len("Good morning. ")))
    assert edited.edits == {}
    assert texts(edited)[0] == TEXT


def test_a_corrected_line_is_split_and_keeps_what_was_typed() -> None:
    edited = draft()
    edited.set_text("0", "Good evening, all. How are you?")
    edited.split("0", len("Good evening, all. "))
    assert texts(edited)[:2] == ["Good evening, all.", "How are you?"]
    assert edited.lines[0].text == "Good evening, all."
    assert edited.lines[1].text is None


def test_a_line_without_recognised_words_is_split_too() -> None:
    edited = draft()
    new = edited.split("2", len("And without "))
    assert texts(edited)[2:] == ["And without", "words"]
    assert 4000 < edited.line(new).start < 5000


@pytest.mark.parametrize("offset", [0, -1, len(TEXT), 4000])
def test_no_line_is_split_outside_its_text(offset: int) -> None:
    with pytest.raises(ValidationError, match="between two of its words"):
        draft().split("0", offset)


def test_lines_of_two_speakers_are_merged_into_the_first() -> None:
    edited = draft()
    assert edited.merge("1") == "0"
    merged = edited.lines[0]
    assert (merged.speaker, merged.start, merged.end) == ("1", 0, 3500)
    assert edited.text_of(merged) == f"{TEXT} Fine, thanks."
    with pytest.raises(ValidationError, match="no line before"):
        edited.merge("0")


@given(st.lists(st.tuples(st.sampled_from(["split", "merge"]), st.integers(0, 40), st.integers(0, 40))))
def test_splitting_and_merging_lose_no_word(steps: list[tuple[str, int, int]]) -> None:
    edited = draft()
    before = " ".join(texts(edited)).split()
    for kind, which, offset in steps:
        lines = edited.lines
        uid = lines[which % len(lines)].uid
        try:
            if kind == "merge":
                edited.merge(uid)
            else:
                space = edited.text_of(edited.line(uid)).find(" ", offset)
                edited.split(uid, space)
        except ValidationError:
            continue
    assert " ".join(texts(edited)).split() == before
    assert [line.order for line in edited.lines] == sorted(line.order for line in edited.lines)


def test_speakers_are_changed_made_and_merged() -> None:
    edited = draft()
    assert edited.set_speaker(["1"], "new") == "3"
    edited.name({"3": "Kim"})
    assert edited.speakers == ["1", "2", "3"]
    edited.merge_speakers("3", "1")
    assert {line.speaker for line in edited.lines} == {"1"}
    assert edited.names == {}
    with pytest.raises(ValidationError, match="no speaker 9"):
        edited.set_speaker(["0"], "9")


def test_words_are_replaced_everywhere_as_written() -> None:
    edited = draft()
    assert edited.replace_all("good MORNING", r"Hi\1") == 1
    assert texts(edited)[0] == r"Hi\1. How are you?"
    assert edited.replace_all("good", "x", match_case=True) == 0


def test_speech_without_text_is_known() -> None:
    assert transcript_page.unrecognised(draft()) == [(6000, 9000)]


# --- Kept, and sent ---------------------------------------------------------------------------------


@pytest.fixture
def owner(db: None) -> User:
    return make_user("alice@example.com")


@pytest.fixture
def task(owner: User) -> Task:
    made = make_task(make_batch(make_account("A", owner)), "call.wav", state="completed", media_duration=9000)
    StoredTranscript.unscoped.create(task=made, stage="speakers", document=spoken().to_dict())
    return made


def tag_of(task: Task, uid: str) -> str:
    correction = Correction.unscoped.filter(task=task).first()
    lines = lines_of(spoken(), correction.lines if correction else {})
    return next(line.tag for line in lines if line.uid == uid)


def shown(task: Task) -> list[str]:
    correction = Correction.unscoped.get(task=task)
    return [line.text or recognised_text(spoken(), line) for line in lines_of(spoken(), correction.lines)]


def test_every_format_has_the_lines_as_people_cut_them(task: Task, owner: User) -> None:
    wanted = [
        {"kind": "split", "line": "0", "offset": len("Good morning. ")},
        {"kind": "speaker", "line": "3", "speaker": "new"},
        {"kind": "name", "speaker": "3", "name": "Kim"},
    ]
    changes.apply(task=task, changes=wanted, by=owner)
    context = result_context(task)
    for name in formats.FORMATS:
        assert formats.render(name, spoken(), context), name
    document = json.loads(formats.render("json", spoken(), context))
    assert [(each["text"], each["speaker"]["name"]) for each in document["segments"][:2]] == [
        ("Good morning.", "A"),
        ("How are you?", "Kim"),
    ]
    assert [each["name"] for each in document["speakers"]] == ["A", "B", "Kim"]
    assert "Kim" in formats.render("vtt", spoken(), context).decode()


def test_a_transcript_is_found_by_its_corrected_words(task: Task, owner: User) -> None:
    changes.apply(task=task, changes=[{"kind": "text", "line": "1", "text": "Splendid"}], by=owner)
    assert list(search.search(task.account, "splendid")) == [task]
    [hit] = search.lines_of(search.search(task.account, "splendid")[0], "splendid").hits
    assert (hit.uid, hit.start) == ("1", 2500)


def test_of_two_people_the_second_is_told(task: Task, owner: User) -> None:
    bob, seen = make_user("bob@example.com"), tag_of(task, "1")
    changes.apply(task=task, changes=[{"kind": "text", "line": "1", "text": "Mine", "tag": seen}], by=owner)
    with pytest.raises(Conflict) as refused:
        changes.apply(task=task, changes=[{"kind": "text", "line": "1", "text": "His", "tag": seen}], by=bob)
    assert refused.value.uid == "1"
    assert shown(task)[1] == "Mine"
    # Another line is nobody's quarrel.
    other = {"kind": "text", "line": "0", "text": "Hello", "tag": tag_of(task, "0")}
    changes.apply(task=task, changes=[other], by=bob)
    assert shown(task)[:2] == ["Hello", "Mine"]


def test_each_person_undoes_and_redoes_their_own(task: Task, owner: User) -> None:
    bob = make_user("bob@example.com")
    changes.apply(task=task, changes=[{"kind": "text", "line": "0", "text": "One"}], by=owner)
    changes.apply(task=task, changes=[{"kind": "merge", "line": "2"}], by=bob)
    corrections.undo(task=task, by=owner)
    assert shown(task) == [TEXT, "Fine, thanks. And without words"]
    corrections.redo(task=task, by=owner)
    corrections.undo(task=task, by=bob)
    assert shown(task) == ["One", "Fine, thanks.", "And without words"]
    with pytest.raises(ValidationError, match="nothing to undo"):
        corrections.undo(task=task, by=bob)


def test_what_others_have_changed_since_is_not_undone(task: Task, owner: User) -> None:
    bob = make_user("bob@example.com")
    changes.apply(task=task, changes=[{"kind": "text", "line": "0", "text": "One"}], by=owner)
    changes.apply(task=task, changes=[{"kind": "text", "line": "0", "text": "Two"}], by=bob)
    with pytest.raises(ValidationError, match="since"):
        corrections.undo(task=task, by=owner)
    assert shown(task)[0] == "Two"


def test_typing_in_one_line_is_one_change_and_a_new_change_ends_redoing(task: Task, owner: User) -> None:
    for text in ("H", "He", "Hello"):
        changes.apply(task=task, changes=[{"kind": "text", "line": "0", "text": text}], by=owner)
    correction = corrections.undo(task=task, by=owner)
    assert len(correction.history) == 1
    assert correction.lines == {}
    correction = changes.apply(task=task, changes=[{"kind": "merge", "line": "1"}], by=owner)
    assert history.redoable(correction.history, owner.pk) is None


def test_what_changed_since_a_version_is_known(task: Task, owner: User) -> None:
    changes.apply(task=task, changes=[{"kind": "text", "line": "0", "text": "One"}], by=owner)
    correction = changes.apply(task=task, changes=[{"kind": "merge", "line": "2"}], by=owner)
    assert history.changed_since(correction.history, 1, correction.version) == {"1", "2"}
    correction = corrections.undo(task=task, by=owner)
    assert history.changed_since(correction.history, 2, correction.version) == {"1", "2"}
    assert history.changed_since(correction.history, 3, correction.version) == set()


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["text"],
        [{"kind": "explode"}],
        [{"kind": "text", "line": 0, "text": "x"}],
        [{"kind": "text", "line": "0"}],
        [{"kind": "split", "line": "0", "offset": True}],
        [{"kind": "text", "line": "0", "text": "x", "more": 1}],
        [{"kind": "text", "line": "77", "text": "x"}],
        [{"kind": "text", "line": "-1", "text": "x"}],
    ],
)
def test_what_is_no_change_changes_nothing(task: Task, wrong: list[Any]) -> None:
    with pytest.raises(ValidationError):
        changes.apply(task=task, changes=[*wrong], by=None)
    assert not Correction.unscoped.filter(task=task, version__gt=0).exists()


def test_the_page_gets_lines_as_data_and_sends_changes(task: Task, owner: User) -> None:
    client = Client()
    client.force_login(owner)
    names = [task.batch.uid, task.uid]
    answer = client.get(reverse("batches:task_lines", args=names)).json()
    assert [line["text"] for line in answer["lines"]] == [TEXT, "Fine, thanks.", "And without words"]
    assert (answer["version"], answer["undo"], answer["unrecognised"]) == (0, False, [[6000, 9000]])
    body = {"version": 0, "changes": [{"kind": "merge", "line": "1", "tag": answer["lines"][1]["tag"]}]}
    address = reverse("batches:task_change", args=names)
    made = client.post(address, json.dumps(body), "application/json").json()
    assert ([line["id"] for line in made["lines"]], made["gone"], made["undo"]) == (["0"], ["1"], True)
    again = client.post(address, json.dumps(body), "application/json")
    assert (again.status_code, again.json()["line"]) == (409, None)
    undone = client.post(address, json.dumps({"version": 1, "changes": "undo"}), "application/json").json()
    assert [line["id"] for line in undone["lines"]] == ["0", "1"]
    assert client.post(address, b"{}", "application/json").status_code == 422
    assert client.post(address, b"\xff", "application/json").status_code == 422


def test_viewers_read_the_lines_and_change_nothing(task: Task) -> None:
    bob = make_user("bob@example.com")
    add_member(task.account, bob, Membership.Role.VIEWER)
    client = Client()
    client.force_login(bob)
    names = [task.batch.uid, task.uid]
    assert client.get(reverse("batches:task_lines", args=names)).status_code == 200
    body = json.dumps({"version": 0, "changes": [{"kind": "merge", "line": "1"}]})
    answer = client.post(reverse("batches:task_change", args=names), body, "application/json")
    assert answer.status_code == 403
    assert not Correction.unscoped.exists()


def test_without_javascript_both_texts_are_shown_to_the_second(task: Task, owner: User) -> None:
    client = Client()
    client.force_login(owner)
    seen = tag_of(task, "1")
    changes.apply(task=task, changes=[{"kind": "text", "line": "1", "text": "First"}], by=None)
    address = reverse("batches:task_line", args=[task.batch.uid, task.uid, 1])
    page = client.post(address, {"text": "Second", "tag": seen}, follow=True).content.decode()
    assert "<q>First</q>" in page
    assert "Second</textarea>" in page
    client.post(address, {"text": "Second", "tag": tag_of(task, "1")})
    assert shown(task)[1] == "Second"
