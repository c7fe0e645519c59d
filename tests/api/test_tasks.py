"""Tasks, transcripts and result files through the API."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from pytest_django import DjangoAssertNumQueries

from batches.models import ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.services.task_filters import SORTS
from batches.status.failures import Failure
from batches.tasks import lifecycle
from speechportal.platform.keyset import Column
from tests.api.client import Api
from tests.clients import Client
from tests.factories import claimed, make_batch, make_task


def completed(api: Api, text: str = "Good morning.") -> Task:
    """A completed task with a transcript and a result file in the storage."""
    batch = make_batch(api.account, formats=["json"])
    task = make_task(batch, name="talk.wav", state=Task.State.COMPLETED)
    document = Transcript("en", 1.0, 1500, [Segment(0, 1500, text)])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    assert batch.connection is not None
    stored = batch.connection.store().put("out/talk.wav.json", b"{}")
    ResultFile.unscoped.create(
        task=task,
        format="json",
        connection=batch.connection,
        key="out/talk.wav.json",
        size=stored.size,
        version=stored.version,
        written_at=task.finished_at,
    )
    return task


def pages(api: Api, query: str, link: str = "next") -> list[list[dict[str, Any]]]:
    """Follow ``link`` from the page of a query."""
    found: list[list[dict[str, Any]]] = []
    address = f"tasks?{query}"
    while address:
        page = api.get(address).json()
        assert len(found) < 50, "the pages go round in a circle"
        found.append(page["results"])
        address = (page[link] or "").replace("http://testserver", "")
    return found


def test_a_task_tells_all_about_itself(alice: Api) -> None:
    task = completed(alice)
    told = alice.get(f"tasks/{task.uid}").json()
    assert told["batch"] == {"id": task.batch.uid, "name": task.batch.name}
    assert (told["state"], told["name"], told["task_order"]) == ("completed", "talk.wav", 1)
    assert [file["key"] for file in told["result_files"]] == ["out/talk.wav.json"]
    assert (told["cause"], told["original"], told["execution_result"]) == (None, None, None)
    assert told["ignored_parameters"] == []


def test_tasks_are_filtered(alice: Api) -> None:
    one, two = make_batch(alice.account), make_batch(alice.account)
    first = make_task(one, name="monday/a.wav")
    failed = make_task(one, name="b.wav", state=Task.State.FAILED)
    other = make_task(two, name="c.wav", state=Task.State.CANCELLED)

    def ids(query: str) -> set[str]:
        answer = alice.get(f"tasks?{query}")
        assert answer.status_code == 200, answer.content
        return {row["id"] for row in answer.json()["results"]}

    assert ids("") == {first.uid, failed.uid, other.uid}
    assert ids(f"batch={one.uid}") == {first.uid, failed.uid}
    assert ids("state=failed&state=cancelled") == {failed.uid, other.uid}
    assert ids("q=MONDAY") == {first.uid}
    assert ids("name=b.wav") == {failed.uid}
    assert ids("created_after=2999-01-01T00:00:00Z") == set()
    assert ids("created_before=2999-01-01T00:00:00Z") == {first.uid, failed.uid, other.uid}
    assert alice.get("tasks?state=done").status_code == 400


def test_tasks_are_filtered_by_their_transcripts(alice: Api) -> None:
    batch = make_batch(alice.account)
    korean = make_task(batch, "a.wav", state="completed", whisper_model="base", media_duration=90_000)
    english = make_task(batch, "b.wav", state="completed", whisper_model="turbo", media_duration=600_000)
    make_task(batch, "c.wav")
    for task, language, labels, flags in ((korean, "ko", "12", []), (english, "en", "1", ["truncated"])):
        lines = [Segment(0, 900, "words", speaker=label) for label in labels]
        document = Transcript(language, 1.0, 1000, lines, list(labels), flags=flags)
        StoredTranscript.unscoped.create(task=task, stage="speakers", document=document.to_dict())

    def ids(query: str) -> set[str]:
        return {row["id"] for row in alice.get(f"tasks?{query}").json()["results"]}

    assert ids("language=ko") == ids("speakers=2") == ids("model=base") == ids("longest=2") == {korean.uid}
    assert ids("language=en") == ids("flag=truncated") == ids("shortest=5") == {english.uid}
    assert alice.get("tasks?flag=nonsense").status_code == 400


def test_a_failed_task_tells_why_and_is_retried(alice: Api) -> None:
    task = make_task(make_batch(alice.account), state=Task.State.FAILED)
    cause = alice.get(f"tasks/{task.uid}").json()["cause"]
    assert cause["code"] == "not_media"
    assert cause["advice"]
    assert alice.post(f"tasks/{task.uid}/retry").json()["state"] == "waiting"
    refused = alice.post(f"tasks/{task.uid}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "task_not_retryable")
    assert alice.post(f"tasks/{task.uid}/cancel").json()["state"] == "cancelled"
    refused = alice.post(f"tasks/{task.uid}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "task_ended")


def test_a_completed_task_is_recognised_again(alice: Api) -> None:
    task = completed(alice)
    Task.unscoped.filter(pk=task.pk).update(
        moved_key="in/moved.wav", moved_version="1", moved_at=task.finished_at
    )
    again = alice.post(f"tasks/{task.uid}/recognise-again")
    assert again.status_code == 201, again.content
    assert (again.json()["original"], again.json()["state"]) == (task.uid, "waiting")
    assert again.headers["Location"] == f"/api/v1/tasks/{again.json()['id']}"
    refused = alice.post(f"tasks/{task.uid}/recognise-again")
    assert (refused.status_code, refused.json()["code"]) == (409, "task_repeating")


def test_a_transcript_has_the_shape_of_the_result_file(alice: Api) -> None:
    task = completed(alice)
    told = alice.get(f"tasks/{task.uid}/transcript").json()
    assert (told["result"], told["token"], told["text"]) == ("COMPLETED", task.uid, "Good morning.")
    assert told == json.loads(alice.get(f"tasks/{task.uid}/results/json").content)


@pytest.mark.parametrize(
    ("name", "media_type", "part"),
    [
        ("json", "application/json", '"text": "Good morning."'),
        ("srt", "application/x-subrip", "00:00:00,000 --> 00:00:01,500"),
        ("smi", "application/x-sami", "<SAMI>"),
        ("vtt", "text/vtt", "WEBVTT"),
        ("txt", "text/plain", "Good morning."),
        ("tsv", "text/tab-separated-values", "Good morning."),
    ],
)
def test_a_transcript_is_had_in_every_format(alice: Api, name: str, media_type: str, part: str) -> None:
    answer = alice.get(f"tasks/{completed(alice).uid}/results/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(media_type)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert f"talk.{name}" in answer.headers["Content-Disposition"]
    assert part in answer.content.decode()


def test_without_a_transcript_there_is_none(alice: Api) -> None:
    task = make_task(make_batch(alice.account))
    for path in ("transcript", "results/srt"):
        answer = alice.get(f"tasks/{task.uid}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_transcript")
    assert alice.get(f"tasks/{task.uid}/results").json() == []
    assert alice.get(f"tasks/{task.uid}/results/pdf").json()["code"] == "not_found"


def test_result_files_and_the_recording_are_read_without_a_token(alice: Api, settings: Any) -> None:
    task = completed(alice)
    [link] = alice.get(f"tasks/{task.uid}/results").json()
    read = Client().get(link["url"].removeprefix(settings.PUBLIC_URL))
    assert (read.status_code, read.getvalue()) == (200, b"{}")
    assert task.connection is not None
    folder = Path(task.connection.place)
    (folder / "in" / "talk.wav").write_bytes(b"sound")
    media = alice.get(f"tasks/{task.uid}/media").json()
    assert media["method"] == "GET"
    read = Client().get(media["url"].removeprefix(settings.PUBLIC_URL))
    assert (read.status_code, read.getvalue()) == (200, b"sound")


def test_a_list_costs_the_same_however_long_it_is(
    alice: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _number in range(3):
        completed(alice)
    # token, membership, count of the request, tasks, their result files and earlier attempts
    with django_assert_num_queries(6):
        assert len(alice.get("tasks").json()["results"]) == 3
    for _number in range(4):
        completed(alice)
    with django_assert_num_queries(6):
        assert len(alice.get("tasks").json()["results"]) == 7


def test_strangers_find_nothing_and_viewers_only_look(alice: Api, vera: Api, charlie: Api) -> None:
    task = completed(alice, "A secret.")
    assert charlie.get("tasks").json()["results"] == []
    assert charlie.get(f"tasks?batch={task.batch.uid}").json()["results"] == []
    for path in ("", "/transcript", "/results", "/results/txt", "/media"):
        answer = charlie.get(f"tasks/{task.uid}{path}")
        assert answer.status_code == 404, path
        assert "secret" not in answer.content.decode()
    assert vera.get(f"tasks/{task.uid}/transcript").json()["text"] == "A secret."
    for path in ("retry", "cancel", "recognise-again"):
        assert charlie.post(f"tasks/{task.uid}/{path}").status_code == 404
        assert vera.post(f"tasks/{task.uid}/{path}").status_code == 403


def test_a_transcript_is_corrected_found_and_published(alice: Api, vera: Api) -> None:
    task = completed(alice, "Good mourning.")
    path = f"tasks/{task.uid}/transcript"
    told = alice.patch(path, {"lines": [{"segment": 0, "text": "Good morning, Seoul."}]})
    assert told.status_code == 200, told.content
    assert told.json()["segments"][0]["textEdited"] == "Good morning, Seoul."
    assert [row["id"] for row in alice.get("tasks?text=seoul%20MORN").json()["results"]] == [task.uid]
    assert alice.get("tasks?text=mourning").json()["results"] == []
    assert alice.post(f"{path}/publish").json() == {"count": 1}
    assert task.connection is not None
    written = Path(task.connection.place) / "out" / "talk.wav.json"
    assert "Good morning, Seoul." in written.read_text(encoding="utf-8")
    assert vera.patch(path, {"lines": []}).status_code == 403


def test_lines_are_split_merged_and_given_to_other_speakers(alice: Api) -> None:
    task = completed(alice, "Good morning. How are you?")
    path = f"tasks/{task.uid}/transcript"
    told = alice.patch(path, {"changes": [{"kind": "split", "segment": 0, "offset": 14}]})
    assert told.status_code == 200, told.content
    assert [each["textEdited"] for each in told.json()["segments"]] == ["Good morning.", "How are you?"]
    told = alice.patch(
        path,
        {"changes": [{"kind": "replace", "find": "you", "text": "they"}, {"kind": "merge", "segment": 1}]},
    )
    assert [each["textEdited"] for each in told.json()["segments"]] == ["Good morning. How are they?"]
    refused = alice.patch(path, {"changes": [{"kind": "merge", "segment": 7}]})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_segment")
    refused = alice.patch(path, {"changes": [{"kind": "split", "segment": 0}]})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_changes")


def test_a_correction_is_made_as_a_whole_or_not_at_all(alice: Api) -> None:
    task = completed(alice)
    path = f"tasks/{task.uid}/transcript"
    for body, code in [
        ({"lines": [{"segment": 0, "text": "New."}, {"segment": 9, "text": "None."}]}, "no_segment"),
        (
            {"lines": [{"segment": 0, "text": "New."}], "speakers": [{"label": "7", "name": "Kim"}]},
            "no_speaker",
        ),
    ]:
        answer = alice.patch(path, body)
        assert (answer.status_code, answer.json()["code"]) == (409, code)
    wrong = alice.patch(path, {"lines": [{"segment": -1, "txt": "New."}]})
    assert {each["field"] for each in wrong.json()["errors"]} == {
        "lines.0.segment",
        "lines.0.text",
        "lines.0.txt",
    }
    assert alice.get(path).json()["segments"][0]["textEdited"] == "Good morning."


def test_a_task_tells_of_earlier_attempts(alice: Api, charlie: Api) -> None:
    task, claim = claimed(make_batch(alice.account))
    lifecycle.fail(claim, Failure("not_media", "This is not an audio or video file.", {}))
    Task.unscoped.filter(pk=task.pk).update(move_due_at=None, execution_result=None)
    assert alice.post(f"tasks/{task.uid}/retry").status_code == 200
    told = alice.get(f"tasks/{task.uid}").json()
    assert (told["state"], told["cause"]) == ("waiting", None)
    [attempt] = told["attempt_history"]
    assert (attempt["outcome"], attempt["host"]) == ("failed", "test")
    assert attempt["cause"]["code"] == "not_media"
    assert attempt["cause"]["advice"]
    assert attempt["started_at"] <= attempt["ended_at"]
    assert charlie.get(f"tasks/{task.uid}").status_code == 404


def seven_tasks(api: Api) -> list[Task]:
    """Tasks with equal and with missing values in every column that has them."""
    batch = make_batch(api.account)
    made = [make_task(batch, f"{name}.wav", input_size=100 * (at // 2)) for at, name in enumerate("bacdd")]
    for number, (language, speakers, flags) in enumerate([("ko", "1212", ["truncated"]), ("en", "1", [])]):
        recognised = make_task(
            batch, "e.wav", state=Task.State.COMPLETED, whisper_model="base", media_duration=9000 * number
        )
        segments = [
            Segment(1000 * at, 1000 * at + 900, "words", speaker=who) for at, who in enumerate(speakers)
        ]
        document = Transcript(language, 1.0, 1000, segments, sorted(set(speakers)), flags=flags)
        StoredTranscript.unscoped.create(task=recognised, stage="speakers", document=document.to_dict())
        made.append(recognised)
    return made


@pytest.mark.parametrize("name", [*SORTS, "created_at", "task_order"])
def test_tasks_are_ordered_by_every_column_of_the_list(alice: Api, name: str) -> None:
    made = seven_tasks(alice)
    column = SORTS.get(name, Column(name))
    tasks = Task.unscoped.annotate(by=F(column.path))
    values = {task.uid: None if column.empty_is_none and not task.by else task.by for task in tasks}
    assert len(set(values.values())) > 1
    for sign in ("", "-"):
        query = f"ordering={sign}{name}&page_size=3"
        read = pages(alice, query)
        ids = [row["id"] for page in read for row in page]
        assert sorted(ids) == sorted(task.uid for task in made)
        given = [values[uid] for uid in ids]
        present = [value for value in given if value is not None]
        assert present == sorted(present, reverse=sign == "-")
        assert given[: len(present)] == present, "what is empty comes last"
        # Equal ones by primary key, in the direction of the order.
        keys = {task.uid: task.pk for task in made}
        for one, other in pairwise(ids):
            if values[one] == values[other]:
                assert (keys[one] < keys[other]) is (sign == "")
        # And back again, from the last page to the first.
        last = alice.get(f"tasks?{query}").json()
        while last["next"]:
            last = alice.get(last["next"].replace("http://testserver", "")).json()
        back = [last["results"]]
        while last["previous"]:
            last = alice.get(last["previous"].replace("http://testserver", "")).json()
            back.insert(0, last["results"])
        assert [row["id"] for page in back for row in page] == ids


def test_a_list_ends_however_many_rows_have_one_value(alice: Api) -> None:
    """More of them than a cursor can count."""
    batch = make_batch(alice.account)
    first = make_task(batch, "same.wav")
    copied = {
        field.attname: getattr(first, field.attname)
        for field in Task._meta.concrete_fields
        if field.attname not in {"id", "uid", "task_order", "input_key"}
    }
    Task.unscoped.bulk_create(
        Task(**copied, task_order=number, input_key=f"in/{number}") for number in range(2, 1202)
    )
    read = pages(alice, "ordering=state&page_size=200&fields=id")
    assert len({row["id"] for page in read for row in page}) == 1201
    assert [len(page) for page in read] == [200] * 6 + [1]


@pytest.mark.parametrize(
    "query", ["ordering=nonsense", "ordering=", "ordering=--name", "ordering=batch__name"]
)
def test_an_order_that_is_not_known_is_refused(alice: Api, query: str) -> None:
    make_task(make_batch(alice.account))
    answer = alice.get(f"tasks?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameters")
    assert [each["field"] for each in answer.json()["errors"]] == ["ordering"]


@pytest.mark.parametrize(
    "cursor", [">x", ">1:not-a-time", "<", "=1", ">99999999999999999999", ">1:\0", ">-1:2026-13-45 00:00:00"]
)
def test_a_forged_cursor_is_refused_or_harmless(alice: Api, cursor: str) -> None:
    make_task(make_batch(alice.account))
    forged = base64.urlsafe_b64encode(cursor.encode()).decode()
    for name in ("found", "name", "speakers", "task_order"):
        answer = alice.get(f"tasks?ordering={name}&cursor={forged}")
        assert answer.status_code in {200, 400}, answer.content
        if answer.status_code == 400:
            assert answer.json()["errors"][0]["field"] == "cursor"
