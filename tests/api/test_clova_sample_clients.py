"""CLOVA Speech's sample programs, reproduced header by header and part by part, against a running portal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_django.live_server_helper import LiveServer

from batches.models import Batch, Task
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.api.work import worker
from tests.factories import make_account, make_batch, make_user


@dataclass
class PythonSample:
    """Client like the guide's Python program, which sends null for every unset parameter."""

    invoke_url: str
    secret: str

    def body(self, completion: str, **wanted: Any) -> dict[str, Any]:
        nothing = dict.fromkeys(("callback", "userdata", "forbiddens", "boostings", "diarization", "sed"))
        always = {"language": "ko-KR", "completion": completion, "wordAlignment": True, "fullText": True}
        return {**nothing, **always, **wanted}

    def send_json(self, below: str, body: dict[str, Any]) -> requests.Response:
        headers = {
            "Accept": "application/json;UTF-8",
            "Content-Type": "application/json;UTF-8",
            "X-CLOVASPEECH-API-KEY": self.secret,
        }
        data = json.dumps(body).encode("UTF-8")
        return requests.post(f"{self.invoke_url}/recognizer/{below}", data, headers=headers, timeout=60)

    def upload(self, file: Path, completion: str, **wanted: Any) -> requests.Response:
        headers = {"Accept": "application/json;UTF-8", "X-CLOVASPEECH-API-KEY": self.secret}
        params = json.dumps(self.body(completion, **wanted), ensure_ascii=False).encode("UTF-8")
        with file.open("rb") as media:
            files: Any = {"media": media, "params": (None, params, "application/json")}
            return requests.post(
                f"{self.invoke_url}/recognizer/upload", headers=headers, files=files, timeout=60
            )

    def result(self, token: str) -> requests.Response:
        headers = {"X-CLOVASPEECH-API-KEY": self.secret}
        return requests.get(f"{self.invoke_url}/recognizer/{token}", headers=headers, timeout=60)


@pytest.fixture
def api(transactional_db: None, make_api: MakeApi) -> Api:
    user = make_user()
    return make_api(make_account(owner=user), user)


@pytest.fixture
def batch(api: Api) -> Batch:
    return make_batch(api.account)


@pytest.fixture
def client(live_server: LiveServer, api: Api, batch: Batch) -> PythonSample:
    assert batch.domain is not None
    url = f"{live_server.url}/external/v1/{batch.domain.code}/{batch.domain.uid}"
    return PythonSample(url, api.plain)


@pytest.fixture
def working(batch: Batch) -> Iterator[None]:
    with worker(batch):
        yield


@pytest.mark.usefixtures("working")
def test_a_file_is_uploaded_and_recognised_while_the_program_waits(
    client: PythonSample, tmp_path: Path
) -> None:
    file = tmp_path / "회의 녹음.mp3"
    file.write_bytes(b"sound")
    answer = client.upload(file, "sync", diarization={"enable": True}, userdata={"id": 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    told = answer.json()
    assert (told["result"], told["message"]) == ("COMPLETED", "Succeeded")
    assert told["text"].endswith("/회의 녹음.mp3.")
    assert (told["events"], told["eventTypes"]) == ([], [])
    assert told["params"]["userdata"]["id"] == 1
    # What the guide's programs do with a result: lines by speaker.
    lines = [(segment["speaker"]["name"], segment["text"]) for segment in told["segments"]]
    assert [text for _name, text in lines] == [told["text"]]


@pytest.mark.usefixtures("working")
def test_a_file_of_the_storage_is_recognised_and_asked_for_by_its_token(
    client: PythonSample, batch: Batch
) -> None:
    assert batch.connection is not None
    batch.connection.store().put("archive/old.wav", b"old sound")
    body = client.body("async", dataKey="archive/old.wav", resultToObs=True, noiseFiltering=True)
    accepted = client.send_json("object-storage", body)
    assert accepted.status_code == 200, accepted.text
    assert accepted.json().keys() == {"result", "message", "token"}
    assert (accepted.json()["result"], accepted.json()["message"]) == ("SUCCEEDED", "Succeeded")
    end = time.monotonic() + 120
    told: dict[str, Any] = {}
    while told.get("result") not in {"COMPLETED", "FAILED", "TIMEOUT"} and time.monotonic() < end:
        told = client.result(accepted.json()["token"]).json()
        time.sleep(0.1)
    assert (told["result"], told["token"]) == ("COMPLETED", accepted.json()["token"])


def test_a_refusal_has_the_shape_of_clovas(client: PythonSample) -> None:
    answer = client.send_json("url", client.body("sync", url="file:///etc/passwd.mp3"))
    assert answer.status_code == 400
    assert answer.json().items() >= {"result": "FAILED", "token": None}.items()
    client.secret = "wrong"
    answer = client.send_json("url", client.body("sync", url="https://example.com/a.mp3"))
    assert (answer.status_code, answer.json()["result"]) == (401, "FAILED")


def test_the_parts_of_the_java_sample_are_understood(client: PythonSample) -> None:
    """Apache's client sends a wrong content type and additional headers with the parts."""
    crlf = "\r\n"
    lines = [
        "--edge",
        'Content-Disposition: form-data; name="params"',
        "Content-Type: application/json; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        json.dumps({"language": "ko-KR", "completion": "async", "noiseFiltering": True}),
        "--edge",
        'Content-Disposition: form-data; name="media"; filename="talk.wav"',
        "Content-Type: multipart/form-data; charset=ISO-8859-1",
        "Content-Transfer-Encoding: binary",
        "",
        "sound",
        "--edge--",
        "",
    ]
    headers = {
        "Accept": "application/json",
        "X-CLOVASPEECH-API-KEY": client.secret,
        "Content-Type": "multipart/form-data; boundary=edge",
    }
    url = f"{client.invoke_url}/recognizer/upload"
    answer = requests.post(url, crlf.join(lines).encode(), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["result"]) == (200, "SUCCEEDED"), answer.text
    assert Task.unscoped.get().name.endswith("/talk.wav")
