"""Held responses: many requests wait for their results without a server thread each."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from batches.models import Batch, StreamedSegments, Task
from tests.api.client import Api
from tests.api.clova_calls import address
from tests.api.conftest import MakeApi
from tests.api.portal_server import serving
from tests.api.work import complete
from tests.factories import make_account, make_batch, make_user

WAITING = 100


@pytest.fixture
def api(transactional_db: None, make_api: MakeApi) -> Api:
    user = make_user()
    return make_api(make_account(owner=user), user)


@pytest.fixture
def batch(api: Api) -> Batch:
    return make_batch(api.account)


@pytest.fixture
def portal(batch: Batch, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as url:
        yield url


def by_clova(portal: str, api: Api, batch: Batch, number: int) -> requests.Response:
    files: Any = {
        "media": (f"call {number}.mp3", b"sound"),
        "params": (None, json.dumps({"completion": "sync", "userdata": {"number": number}})),
    }
    url = portal + address(batch, "upload")
    return requests.post(url, files=files, headers={"X-CLOVASPEECH-API-KEY": api.plain}, timeout=300)


def by_openai(portal: str, api: Api, number: int, **fields: str) -> requests.Response:
    return requests.post(
        f"{portal}/v1/audio/transcriptions",
        files={"file": (f"call {number}.mp3", b"sound")},
        data={"model": "whisper-1", **fields},
        headers={"Authorization": f"Bearer {api.plain}"},
        timeout=300,
    )


def waiting_tasks(count: int, seconds: float = 120) -> list[Task]:
    end = time.monotonic() + seconds
    while Task.unscoped.count() < count and time.monotonic() < end:
        time.sleep(0.2)
    return list(Task.unscoped.all())


def test_a_hundred_wait_at_once_and_each_gets_its_own_answer(portal: str, api: Api, batch: Batch) -> None:
    with ThreadPoolExecutor(WAITING) as pool:
        calls: list[Future[requests.Response]] = []
        for number in range(WAITING // 2):
            calls.append(pool.submit(by_clova, portal, api, batch, number))
            calls.append(pool.submit(by_openai, portal, api, number))
        tasks = waiting_tasks(WAITING)
        assert len(tasks) == WAITING
        time.sleep(1)
        assert [call for call in calls if call.done()] == []
        # With all of them waiting, the server's two threads are free for others.
        began = time.monotonic()
        assert requests.get(f"{portal}/healthz", timeout=10).status_code == 200
        assert time.monotonic() - began < 5
        for task in tasks:
            complete(task, f"Heard in {task.name}.")
        answers = [call.result(120) for call in calls]
    assert [answer.status_code for answer in answers] == [200] * WAITING
    heard = {answer.json()["text"] for answer in answers}
    assert heard == {f"Heard in {task.name}." for task in tasks}
    clova = [answer.json()["params"]["userdata"]["number"] for answer in answers if "params" in answer.json()]
    assert sorted(clova) == list(range(WAITING // 2))
    assert all(answer.headers["X-Request-ID"] for answer in answers)
    assert all(int(answer.headers["Content-Length"]) == len(answer.content) for answer in answers)


def test_a_client_that_leaves_is_forgotten_and_its_task_goes_on(portal: str, api: Api, batch: Batch) -> None:
    place = urlsplit(portal)
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nsound\r\n--x--\r\n'
    )
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api.plain}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((place.hostname or "", place.port or 0)) as client:
        client.sendall(head.encode() + body)
        (task,) = waiting_tasks(1)
    answer: list[requests.Response] = []
    other = threading.Thread(target=lambda: answer.append(by_openai(portal, api, 2)))
    other.start()
    for each in waiting_tasks(2):
        complete(each)
    other.join(60)
    assert answer[0].json()["text"] == "안녕하세요."
    task.refresh_from_db()
    assert task.state == Task.State.COMPLETED


def test_a_stream_shows_that_it_lives_and_ends_with_the_text(portal: str, api: Api, batch: Batch) -> None:
    with requests.post(
        f"{portal}/v1/audio/transcriptions",
        files={"file": ("call.mp3", b"sound")},
        data={"model": "gpt-4o-transcribe", "stream": "true"},
        headers={"Authorization": f"Bearer {api.plain}"},
        stream=True,
        timeout=60,
    ) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines).startswith(b": waiting")
        complete(Task.unscoped.get(), "Good morning.")
        told = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert [event["type"] for event in told] == ["transcript.text.delta", "transcript.text.done"]
    assert told[0]["delta"] == told[1]["text"] == "Good morning."


def row(task: Task, position: int, *texts: str) -> None:
    """Store streamed segments, as a worker does while it recognises a task."""
    segments = [{"start": 0, "end": 900, "speaker": "", "text": text} for text in texts]
    StreamedSegments.unscoped.filter(task=task, position__gte=position).delete()
    StreamedSegments.unscoped.create(task=task, position=position, segments=segments)


@contextmanager
def streaming(portal: str, api: Api, **fields: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Events of a stream, as they arrive."""
    with requests.post(
        f"{portal}/v1/audio/transcriptions",
        files={"file": ("call.mp3", b"sound")},
        data={"model": "gpt-4o-transcribe", "stream": "true", **fields},
        headers={"Authorization": f"Bearer {api.plain}"},
        stream=True,
        timeout=60,
    ) as answer:
        lines = answer.iter_lines(chunk_size=1)
        yield (json.loads(line[6:]) for line in lines if line.startswith(b"data: "))


def test_a_stream_sends_segments_while_the_file_is_recognised(portal: str, api: Api, batch: Batch) -> None:
    with streaming(portal, api) as events:
        (task,) = waiting_tasks(1)
        row(task, 0, "One.")
        assert next(events) == {"type": "transcript.text.delta", "delta": "One."}
        row(task, 1, "Two.", "")
        assert next(events)["delta"] == " Two."
        row(task, 3, "Three.")
        complete(task, "One. Two. Three, and a change of speaker.")
        rest = list(events)
    assert [event["type"] for event in rest] == ["transcript.text.delta", "transcript.text.done"]
    assert rest[0]["delta"] == " Three."
    assert rest[1]["text"] == "One. Two. Three."


def test_a_stream_of_turns_names_speakers(portal: str, api: Api, batch: Batch) -> None:
    with streaming(portal, api, response_format="diarized_json") as events:
        (task,) = waiting_tasks(1)
        segments = [{"start": 1000, "end": 1900, "speaker": "2", "text": "One."}]
        StreamedSegments.unscoped.create(task=task, position=0, segments=segments)
        assert next(events) == {
            "type": "transcript.text.segment",
            "id": "seg_001",
            "start": 1.0,
            "end": 1.9,
            "text": "One.",
            "speaker": "B",
        }
        complete(task)
        assert next(events)["type"] == "transcript.text.done"


def test_a_file_that_is_recognised_anew_with_another_text_ends_with_that_text(
    portal: str, api: Api, batch: Batch
) -> None:
    with streaming(portal, api) as events:
        (task,) = waiting_tasks(1)
        row(task, 0, "One.", "Two.")
        assert next(events)["delta"] == "One."
        assert next(events)["delta"] == " Two."
        row(task, 0, "One.", "Too.", "Three.")  # Another worker has it.
        complete(task, "One. Too. Three.")
        rest = list(events)
    assert [(event["type"], event["text"]) for event in rest] == [
        ("transcript.text.done", "One. Too. Three.")
    ]


def test_bodies_without_a_length_are_read(portal: str, api: Api, batch: Batch) -> None:
    """Apache's InputStreamBody, Spring's WebClient and .NET send such bodies."""
    form = requests.Request(
        "POST",
        portal + address(batch, "upload"),
        files={"media": ("통화.mp3", b"sound" * 1000), "params": (None, '{"completion": "async"}')},
        headers={"X-CLOVASPEECH-API-KEY": api.plain},
    ).prepare()
    body, kind = form.body, form.headers["Content-Type"]
    assert isinstance(body, bytes)
    pieces = (body[start : start + 700] for start in range(0, len(body), 700))
    headers = {"X-CLOVASPEECH-API-KEY": api.plain, "Content-Type": kind}
    answer = requests.post(portal + address(batch, "upload"), data=pieces, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["result"]) == (200, "SUCCEEDED"), answer.text
    assert Task.unscoped.get().input_size == 5000
    created = requests.post(
        f"{portal}/api/v1/domains",
        data=iter([b'{"name": "Calls", ', b'"code": "calls"}']),
        headers={"Authorization": f"Bearer {api.plain}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert (created.status_code, created.json()["code"]) == (201, "calls"), created.text


def test_a_body_without_a_length_has_a_limit_too(
    batch: Batch, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHPORTAL_MAX_MEDIA_BYTES", str(11 * 1024**2))
    with serving(tmp_path) as portal:
        start = b'--x\r\nContent-Disposition: form-data; name="media"; filename="a.mp3"\r\n\r\n'
        pieces = (part for part in (start, *[b"0" * 1024**2] * 14, b"\r\n--x--\r\n"))
        headers = {
            "X-CLOVASPEECH-API-KEY": api.plain,
            "Content-Type": "multipart/form-data; boundary=x",
        }
        answer = requests.post(portal + address(batch, "upload"), data=pieces, headers=headers, timeout=60)
    assert answer.status_code == 413, answer.text
    assert not Task.unscoped.exists()
