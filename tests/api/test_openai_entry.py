"""OpenAI-compatible transcription API: requests become tasks, responses have OpenAI's format."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment, Word
from batches.recognition.transcript import Transcript as Document
from domains.models import Keyword
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.clients import Client
from tests.factories import make_account, make_batch, make_user

pytestmark = pytest.mark.django_db(transaction=True)
TWO = Document(
    "ko",
    1.0,
    2600,
    [
        Segment(0, 1200, "안녕하세요.", [Word(0, 1200, "안녕하세요.")], speaker="1", mean_logprob=-0.2),
        Segment(1300, 2600, "네.", [Word(1300, 2600, "네.")], speaker="2"),
    ],
    speakers=["1", "2"],
)


@pytest.fixture
def api(transactional_db: None, make_api: MakeApi) -> Api:
    user = make_user()
    return make_api(make_account(owner=user), user)


@pytest.fixture
def batch(api: Api) -> Batch:
    return make_batch(api.account)


@contextmanager
def worker(document: Document = TWO, **end: Any) -> Iterator[None]:
    """Stand-in worker: ends each new task with ``document``, or by ``end``."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.05):
                for task in Task.unscoped.filter(state=Task.State.WAITING):
                    wanted = Task.unscoped.select_related("batch__domain").get(pk=task.pk).current_settings()
                    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
                    ended = {"state": "completed", "settings": wanted, "finished_at": timezone.now(), **end}
                    Task.unscoped.filter(pk=task.pk).update(**ended)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def transcribe(api: Api, path: str = "/v1/audio/transcriptions", headers: Any = None, **fields: Any) -> Any:
    name = fields.pop("name", "talk.mp3")
    data = {"file": SimpleUploadedFile(name, b"sound"), "model": "whisper-1", **fields}
    headers = {"Authorization": f"Bearer {api.plain}", **(headers or {})}
    return Client().post(
        path, {name: value for name, value in data.items() if value is not None}, headers=headers
    )


def test_a_file_comes_back_as_text_and_is_a_task(api: Api, batch: Batch) -> None:
    with worker():
        answer = transcribe(api, language="ko", prompt="Ryzen, Epyc", temperature="0.2", colour="red")
    assert answer.status_code == 200, answer.content
    assert answer.json() == {"text": "안녕하세요. 네.", "usage": {"type": "duration", "seconds": 3}}
    task = Task.unscoped.get()
    assert (task.batch, task.input_size) == (batch, 5)
    assert task.name.startswith("openai/")
    assert answer.headers["X-SpeechPortal-Task"] == task.uid
    assert answer.headers["X-SpeechPortal-Ignored"] == "colour, temperature"
    assert task.overrides.recognition == {"language": "ko-KR"}
    assert task.overrides.keywords == ("Ryzen", "Epyc")
    assert api.get(f"tasks/{task.uid}").json()["ignored_parameters"] == ["colour", "temperature"]


@pytest.mark.parametrize(
    ("response_format", "kind", "start"),
    [
        ("text", "text/plain", "안녕하세요. 네.\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> "),
        ("vtt", "text/vtt", "WEBVTT\n"),
    ],
)
def test_texts(api: Api, batch: Batch, response_format: str, kind: str, start: str) -> None:
    with worker():
        answer = transcribe(api, response_format=response_format)
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.content.decode().replace("\r\n", "\n").lstrip("\ufeff").startswith(start)


def test_verbose_json_has_segments_and_words(api: Api, batch: Batch) -> None:
    wanted: dict[str, Any] = {"timestamp_granularities[]": ["word", "segment"]}
    with worker():
        answer = transcribe(api, response_format="verbose_json", **wanted)
        usual = transcribe(api, response_format="verbose_json").json()
    told = answer.json()
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "korean", 2.6)
    assert told["words"] == [
        {"word": "안녕하세요.", "start": 0.0, "end": 1.2},
        {"word": "네.", "start": 1.3, "end": 2.6},
    ]
    first = told["segments"][0]
    assert (first["id"], first["start"], first["end"], first["text"]) == (0, 0.0, 1.2, "안녕하세요.")
    assert first["avg_logprob"] == -0.2
    assert ("segments" in usual, "words" in usual) == (True, False)


def test_diarized_json_names_speakers(api: Api, batch: Batch) -> None:
    with worker():
        told = transcribe(api, model="gpt-4o-transcribe-diarize", response_format="diarized_json").json()
    assert [(turn["speaker"], turn["text"]) for turn in told["segments"]] == [
        ("A", "안녕하세요."),
        ("B", "네."),
    ]
    assert told["segments"][0]["id"] == "seg_001"
    assert Task.unscoped.get().overrides.recognition == {"speakers": True}


def test_a_stream_sends_events(api: Api, batch: Batch) -> None:
    with worker():
        answer = transcribe(api, stream="true")
        body = b"".join(answer.streaming_content).decode()
    told = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    assert [each["type"] for each in told] == [
        *("transcript.text.delta", "transcript.text.delta", "transcript.text.done")
    ]
    assert "".join(each.get("delta", "") for each in told) == told[-1]["text"] == "안녕하세요. 네."


def test_a_file_that_cannot_be_recognised_is_a_wrong_request(api: Api, batch: Batch) -> None:
    with worker(state="failed", error_code="not_media", error_message="This is not media."):
        answer = transcribe(api)
        streamed = b"".join(transcribe(api, stream="true").streaming_content).decode()
    told = answer.json()["error"]
    assert (answer.status_code, told["type"], told["code"]) == (400, "invalid_request_error", "not_media")
    assert "not audio or video" in told["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert "event: error\ndata: {" in streamed


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"model": None}, 400, "model", "missing_required_parameter"),
        ({"model": "gpt-9"}, 404, "model", "model_not_found"),
        ({"language": "klingon"}, 400, "language", "invalid_language"),
        ({"response_format": "pdf"}, 400, "response_format", "invalid_value"),
        ({"stream": "maybe"}, 400, "stream", "invalid_value"),
        ({"timestamp_granularities[]": "word"}, 400, "timestamp_granularities", "invalid_value"),
        ({"file": None}, 400, "file", "missing_required_parameter"),
        ({"name": "notes.txt"}, 400, "name", "not_media_name"),
    ],
)
def test_errors_have_openais_shape(
    api: Api, batch: Batch, fields: dict[str, Any], status: int, param: str, code: str
) -> None:
    answer = transcribe(api, **fields)
    told = answer.json()["error"]
    assert (answer.status_code, told["param"], told["type"]) == (status, param, "invalid_request_error")
    if code != "not_media_name":
        assert told["code"] == code
    assert told["message"]
    assert not Task.unscoped.exists()


def test_tokens_scopes_and_roles_hold(api: Api, batch: Batch, make_api: MakeApi) -> None:
    wrong = Client().post("/v1/audio/transcriptions", headers={"Authorization": "Bearer sk-none"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    reader = make_api(api.account, api.user, ["tasks:read"])
    assert transcribe(reader).json()["error"]["code"] == "scope_missing"
    assert Client().get("/v1/models", headers={"Authorization": f"Bearer {reader.plain}"}).status_code == 200
    assert not Task.unscoped.exists()


def test_a_budget_that_is_used_up_is_a_quota(api: Api, batch: Batch) -> None:
    api.account.monthly_budget = Decimal(0)
    api.account.save()
    answer = transcribe(api)
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


def test_the_batch_is_named_or_chosen_or_the_only_one(api: Api, batch: Batch, make_api: MakeApi) -> None:
    other = make_batch(api.account)
    assert other.domain is not None
    answer = transcribe(api)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "batch_ambiguous")
    with worker():
        by_header = transcribe(api, headers={"OpenAI-Project": other.domain.code})
        by_path = transcribe(api, f"/openai/{batch.uid}/v1/audio/transcriptions")
        assert api.patch(f"batches/{other.uid}", {"takes_requests": True}).status_code == 200
        chosen = transcribe(api)
    assert [each.status_code for each in (by_header, by_path, chosen)] == [200, 200, 200]
    assert list(Task.unscoped.order_by("pk").values_list("batch", flat=True)) == [
        other.pk,
        batch.pk,
        other.pk,
    ]
    second = api.patch(f"batches/{batch.uid}", {"takes_requests": True})
    assert (second.status_code, second.json()["errors"][0]["field"]) == (422, "takes_requests")
    user = make_user()
    stranger = make_api(make_account(owner=user), user)
    assert transcribe(stranger, f"/openai/{batch.uid}/v1/audio/transcriptions").status_code == 404
    assert transcribe(stranger).json()["error"]["code"] == "no_batch"


def test_an_sdk_that_sends_a_request_again_pays_once(api: Api, batch: Batch) -> None:
    with worker():
        first = transcribe(api)
        again = transcribe(api, headers={"x-stainless-retry-count": "1"})
        other = transcribe(api, headers={"x-stainless-retry-count": "1"}, language="en")
    tasks = [each.headers["X-SpeechPortal-Task"] for each in (first, again, other)]
    assert tasks[0] == tasks[1] != tasks[2]
    assert Task.unscoped.count() == 2


def test_models_are_listed(api: Api, batch: Batch) -> None:
    headers = {"Authorization": f"Bearer {api.plain}"}
    listed = Client().get("/v1/models", headers=headers).json()
    names = [each["id"] for each in listed["data"]]
    assert listed["object"] == "list"
    assert {"whisper-1", "base"} <= set(names)
    assert Client().get("/v1/models/base", headers=headers).json()["object"] == "model"
    missing = Client().get("/v1/models/none", headers=headers)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_a_prompt_of_prose_is_ignored_and_said_so(api: Api, batch: Batch) -> None:
    assert batch.domain is not None
    Keyword.unscoped.create(domain=batch.domain, text="Ryzen")
    with worker():
        answer = transcribe(
            api, prompt="The following is a long conversation between two engineers about it."
        )
    assert answer.headers["X-SpeechPortal-Ignored"] == "prompt"
    assert Task.unscoped.get().overrides.keywords is None


def test_a_request_that_waits_too_long_is_told_where_to_look(api: Api, batch: Batch, settings: Any) -> None:
    settings.SYNC_SECONDS = 1
    began = time.monotonic()
    answer = transcribe(api)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert time.monotonic() - began < 10
    assert answer.headers["X-SpeechPortal-Task"] == Task.unscoped.get().uid
