"""Tasks, transcripts and result files through the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from batches.models import ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.status.failures import Failure
from batches.tasks import lifecycle
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
