"""Requests and expectations of public CLOVA Speech clients, one test for each peculiarity.

Every shape was written from a description of such programs; no code of theirs is here.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, fields
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment
from batches.recognition.transcript import Transcript as Document
from domains.models import Domain
from tests.api.client import Api
from tests.api.clova_calls import address, key_of, make_clova_batch, send, upload
from tests.api.work import complete
from tests.clients import Client
from tests.factories import make_batch


@pytest.fixture
def batch(alice: Api) -> Batch:
    return make_clova_batch(alice)


def finished(alice: Api, batch: Batch, **params: Any) -> dict[str, Any]:
    """Upload with these parameters; returns the result."""
    answer = upload(alice, batch, **params)
    assert answer.status_code == 200, answer.content
    task = Task.unscoped.get(uid=answer.json()["token"])
    complete(task)
    told: dict[str, Any] = Client().get(address(batch, task.uid), headers=key_of(alice)).json()
    return told


def overrides(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return Task.unscoped.get(uid=answer.json()["token"]).overrides


# --- What they send


def test_parameters_from_elsewhere_are_ignored_and_named(alice: Api, batch: Batch) -> None:
    answer = upload(alice, batch, assessment=True, script="안녕", priority=1, noiseFiltering=False)
    assert answer.status_code == 200, answer.content
    assert answer.headers["X-SpeechPortal-Ignored"] == "assessment, priority, script"
    task = alice.get(f"tasks/{answer.json()['token']}").json()
    assert task["ignored_parameters"] == ["assessment", "priority", "script"]
    plain = upload(alice, batch, noiseFiltering=False)
    assert "X-SpeechPortal-Ignored" not in plain.headers


@pytest.mark.parametrize("value", [None, {"enable": False}, {"enable": True}, True, "true"])
def test_sound_events_may_be_asked_for_and_there_are_none(alice: Api, batch: Batch, value: Any) -> None:
    told = finished(alice, batch, sed=value)
    assert (told["events"], told["eventTypes"]) == ([], [])
    wanted = value not in (None, {"enable": False})
    assert told["params"]["sed"] == {"enable": wanted}


@pytest.mark.parametrize(
    ("given", "speakers"),
    [
        ({"diarization": None}, None),
        ({"diarization": True}, True),
        ({"diarization": False}, False),
        ({"diarization": "true"}, True),
        ({"diarization.enable": True}, True),
        ({"diarization.enable": "false"}, False),
        ({"diarization": {"enable": True, "speakerCountMin": "2", "speakerCountMax": 0}}, True),
    ],
)
def test_speakers_are_asked_for_in_many_ways(
    alice: Api, batch: Batch, given: dict[str, Any], speakers: bool | None
) -> None:
    found = overrides(upload(alice, batch, **given))
    assert found.recognition.get("speakers") is speakers


@pytest.mark.parametrize(
    ("sent", "language"),
    [
        *[("ko-KR", "ko-KR"), ("ko", "ko-KR"), ("en-US", "en-US"), ("en", "en-US"), ("enko", "enko")],
        *[("ja", "ja"), ("ja-JP", "ja"), ("zh-cn", "zh-cn"), ("zh", "zh-cn"), ("zh-tw", "zh-tw")],
        *[("zh_TW", "zh-tw"), ("EN_us", "en-US"), ("de-AT", "de")],
    ],
)
def test_languages_have_several_spellings(alice: Api, batch: Batch, sent: str, language: str) -> None:
    assert overrides(upload(alice, batch, language=sent)).recognition["language"] == language


@pytest.mark.parametrize(
    "boostings",
    [
        [{"words": "갤럭시,Epyc"}],
        [{"words": "갤럭시"}, {"words": "Epyc", "weight": 2.0}],
        ["갤럭시", "Epyc"],
        "갤럭시,Epyc",
        [{"words": "갤럭시,Epyc"}, {"words": None}],
    ],
)
def test_boostings_have_several_shapes(alice: Api, batch: Batch, boostings: Any) -> None:
    assert overrides(upload(alice, batch, boostings=boostings)).keywords == ("갤럭시", "Epyc", "Ryzen")


@pytest.mark.parametrize("forbiddens", ["바보,Damn", ["바보", "Damn"]])
def test_forbidden_words_come_as_text_or_list(alice: Api, batch: Batch, forbiddens: Any) -> None:
    assert overrides(upload(alice, batch, forbiddens=forbiddens)).forbidden == "바보,Damn"


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain;charset=UTF-8"])
def test_params_are_a_part_of_any_type(alice: Api, batch: Batch, kind: str) -> None:
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    body = (
        f'--x\r\nContent-Disposition: form-data; name="params"\r\n{typed}\r\n'
        '{"language": "ja-JP", "userdata": {"deep": {"er": [1]}}}\r\n'
        '--x\r\nContent-Disposition: form-data; name="media"; filename="회의 녹음.m4a"\r\n'
        "Content-Type: audio/mp4\r\n\r\nsound\r\n--x--\r\n"
    ).encode()
    headers = {**key_of(alice), "Accept": "application/json;UTF-8"}
    answer = Client().post(
        address(batch, "upload"), body, content_type="multipart/form-data; boundary=x", headers=headers
    )
    assert answer.status_code == 200, answer.content
    assert Task.unscoped.get().name.endswith("/회의 녹음.m4a")


@pytest.mark.parametrize("kind", ["application/json;UTF-8", "text/plain", "application/octet-stream"])
def test_json_is_read_under_any_type(alice: Api, batch: Batch, kind: str) -> None:
    assert batch.connection is not None
    batch.connection.store().put("archive/old.wav", b"old sound")
    body = json.dumps({"dataKey": "archive/old.wav", "completion": "async"})
    path = address(batch, "object-storage")
    answer = Client().generic("POST", path, body, content_type=kind, headers=key_of(alice))
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_key_is_found_in_either_spelling(alice: Api, batch: Batch, form: Any, stored: Any) -> None:
    assert batch.connection is not None
    store = batch.connection.store()
    store.put(unicodedata.normalize(stored, "archive/회의.wav"), b"old sound")
    key = unicodedata.normalize(form, "/archive/회의.wav")
    assert send(alice, batch, "object-storage", dataKey=key).status_code == 200


def test_a_key_is_below_the_path_of_the_domain(alice: Api, batch: Batch) -> None:
    """The batch watches ``in/``: for its clients, ``/sample.wav`` lies there. It is recognised once."""
    assert batch.connection is not None
    store = batch.connection.store()
    store.put("in/sample.wav", b"first")
    store.put("sample.wav", b"at the root")
    answer = send(alice, batch, "object-storage", dataKey="/sample.wav")
    task = Task.unscoped.get(uid=answer.json()["token"])
    assert (task.input_key, task.name) == ("in/sample.wav", "sample.wav")
    again = send(alice, batch, "object-storage", dataKey="sample.wav")
    copied = Task.unscoped.get(uid=again.json()["token"])
    assert copied.pk != task.pk
    assert copied.input_key.startswith("in/clova/")
    # Once it is recognised it is moved; its client still knows it by its key.
    store.move("in/sample.wav", f"in/{batch.name}/sample.wav")
    moved = f"in/{batch.name}/sample.wav"
    Task.unscoped.filter(pk=task.pk).update(
        state="completed", finished_at=timezone.now(), moved_key=moved, moved_at=timezone.now()
    )
    third = send(alice, batch, "object-storage", dataKey="/sample.wav")
    assert third.status_code == 200, third.content


def test_the_short_api_answers_with_the_text_alone(alice: Api, batch: Batch, settings: Any) -> None:
    settings.SYNC_SECONDS = 1
    headers = {"X-NCP-APIGW-API-KEY-ID": "an-id-of-theirs", "X-NCP-APIGW-API-KEY": alice.plain}
    path = "/recog/v1/stt?lang=Kor"
    sent: dict[str, Any] = {"data": b"sound", "content_type": "application/octet-stream"}
    late = Client().post(path, headers=headers, **sent)
    assert (late.status_code, late.json()["errorCode"]) == (504, "STT998")
    task = Task.unscoped.get()
    assert task.overrides.recognition == {"language": "ko-KR", "speakers": False}
    assert task.input_size == 5
    for query, code in [("Kli", 400), ("Eng", 504), ("Jpn", 504), ("Chn", 504)]:
        answer = Client().post(f"/recog/v1/stt?lang={query}", headers=headers, **sent)
        assert answer.status_code == code, query
    empty = Client().post(path, b"", content_type="application/octet-stream", headers=headers)
    assert (empty.status_code, empty.json()["errorCode"]) == (400, "STT004")
    refused = Client().post(path, headers={"X-NCP-APIGW-API-KEY": "wrong"}, **sent)
    assert refused.status_code == 401


# --- What they read


def test_a_client_waits_for_either_word(alice: Api, batch: Batch) -> None:
    assert finished(alice, batch)["result"] == "COMPLETED"
    changed = alice.patch(
        f"domains/{batch.domain.uid if batch.domain else ''}", {"clova_result": "SUCCEEDED"}
    )
    assert changed.status_code == 200, changed.content
    assert finished(alice, batch)["result"] == "SUCCEEDED"
    assert Domain.unscoped.get().clova_result == "SUCCEEDED"


@dataclass
class Userdata:
    _ncp_DomainCode: str  # noqa: N815 - CLOVA's own names
    _ncp_DomainId: int  # noqa: N815
    _ncp_TaskId: int  # noqa: N815
    _ncp_TraceId: str  # noqa: N815


@dataclass
class Params:
    """Like a Java record: a missing or unknown key is an error."""

    service: str
    domain: str
    lang: str
    completion: str
    callback: str
    diarization: dict[str, Any]
    sed: dict[str, Any]
    boostings: list[dict[str, str]]
    forbiddens: str
    wordAlignment: bool  # noqa: N815
    fullText: bool  # noqa: N815
    noiseFiltering: bool  # noqa: N815
    resultToObs: bool  # noqa: N815
    priority: int
    userdata: dict[str, Any]


@dataclass
class Speaker:
    label: str
    name: str
    edited: bool


@dataclass
class Spoken:
    start: int
    end: int
    text: str
    confidence: float
    diarization: dict[str, str]
    speaker: dict[str, Any]
    words: list[Any]
    textEdited: str  # noqa: N815


@dataclass
class Answer:
    result: str
    message: str
    token: str
    version: str
    params: dict[str, Any]
    progress: int
    keywords: dict[str, Any]
    segments: list[dict[str, Any]]
    text: str
    confidence: float
    speakers: list[dict[str, Any]]
    events: list[Any]
    eventTypes: list[Any]  # noqa: N815


TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "bool": bool}


def typed(kind: Any, told: dict[str, Any]) -> Any:
    """Instance of a class, built as strictly as a typed client does."""
    record = kind(**told)
    for field in fields(kind):
        if expected := TYPES.get(str(field.type)):
            assert isinstance(getattr(record, field.name), expected), field.name
    return record


@pytest.mark.parametrize("speakers", [True, False])
def test_a_typed_client_reads_all_of_it(alice: Api, batch: Batch, speakers: bool) -> None:
    told = finished(
        alice, batch, diarization={"enable": speakers}, userdata={"id": 7}, callback=None, fullText=True
    )
    answer = typed(Answer, told)
    params = typed(Params, answer.params)
    own = {name: value for name, value in params.userdata.items() if name != "id"}
    assert typed(Userdata, own)._ncp_TraceId == answer.token
    assert params.userdata["id"] == 7
    spoken = [typed(Spoken, segment) for segment in answer.segments]
    labels = {int(typed(Speaker, segment.speaker).label) for segment in spoken}
    assert labels == {1}
    assert [typed(Speaker, speaker).name for speaker in answer.speakers] == ["A"]


def test_a_client_that_wants_more_gets_more(alice: Api, batch: Batch) -> None:
    assert {"engine", "quality", "flags"} <= finished(alice, batch, extras=True).keys()


def test_labels_of_speakers_are_numbers(alice: Api, batch: Batch) -> None:
    token = upload(alice, batch, diarization=True).json()["token"]
    heard = [Segment(0, 900, "하나", speaker="1"), Segment(900, 1500, "둘", speaker="2")]
    document = Document("ko", 1.0, 1500, heard, speakers=["1", "2"])
    task = Task.unscoped.get(uid=token)
    StoredTranscript.unscoped.create(task=task, stage="speakers", document=document.to_dict())
    now = timezone.now()
    settings = Task.unscoped.select_related("batch__domain").get(pk=task.pk).current_settings()
    Task.unscoped.filter(pk=task.pk).update(state="completed", finished_at=now, settings=settings)
    told = Client().get(address(batch, token), headers=key_of(alice)).json()
    lines = [(int(each["speaker"]["label"]), each["speaker"]["name"]) for each in told["segments"]]
    assert lines == [(1, "A"), (2, "B")]


def test_an_asynchronous_client_reads_result_message_and_token(alice: Api, batch: Batch) -> None:
    answer = Client().post(
        address(batch, "upload"),
        {"media": SimpleUploadedFile("a.mp3", b"sound"), "params": json.dumps({"completion": "async"})},
        headers=key_of(alice),
    )
    assert answer.json() == {"token": Task.unscoped.get().uid, "result": "SUCCEEDED", "message": "Succeeded"}


def test_the_short_api_needs_a_batch_that_takes_it(alice: Api, batch: Batch) -> None:
    make_batch(alice.account)
    headers = {"X-NCP-APIGW-API-KEY": alice.plain}
    sent: dict[str, Any] = {"data": b"sound", "content_type": "application/octet-stream"}
    answer = Client().post("/recog/v1/stt?lang=Kor", headers=headers, **sent)
    assert (answer.status_code, answer.json()["errorCode"]) == (409, "batch_ambiguous")
