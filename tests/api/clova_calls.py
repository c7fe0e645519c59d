"""Requests as programs written for CLOVA Speech send them, and a server for callbacks and recordings."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from batches.models import Batch
from domains.models import Keyword
from tests.api.client import Api
from tests.clients import Client
from tests.factories import make_batch


class Receiver(BaseHTTPRequestHandler):
    """HTTP server that serves a recording and stores what is posted to it."""

    posted: list[Any] = []
    headers_of: list[tuple[str, dict[str, str]]] = []  # path, headers in lower case
    status = 200
    arrived = threading.Event()  # whatever is posted elsewhere than to /hang, which waits for it
    hanging = 0
    most_hanging = 0

    def do_GET(self) -> None:
        self.send_response(200 if self.path.split("?")[0].endswith(".mp3") else 404)
        self.end_headers()
        self.wfile.write(b"sound from afar")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hang":
            Receiver.hanging += 1
            Receiver.most_hanging = max(Receiver.most_hanging, Receiver.hanging)
            self.arrived.wait(30)
            Receiver.hanging -= 1
        self.posted.append(json.loads(body))
        self.headers_of.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.path != "/hang":
            self.arrived.set()
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


def make_clova_batch(api: Api) -> Batch:
    """Create a Korean batch whose domain has a keyword."""
    batch = make_batch(api.account, language="ko-KR", formats=["json", "srt"])
    assert batch.domain is not None
    Keyword.unscoped.create(domain=batch.domain, text="Ryzen")
    return batch


def address(batch: Batch, below: str) -> str:
    assert batch.domain is not None
    return f"/external/v1/{batch.domain.code}/{batch.domain.uid}/recognizer/{below}"


def key_of(api: Api) -> dict[str, str]:
    return {"X-CLOVASPEECH-API-KEY": api.plain}


def upload(api: Api, batch: Batch, name: str = "통화.mp3", **params: Any) -> Any:
    """Upload a file as CLOVA Speech's sample client does."""
    media = SimpleUploadedFile(name, b"sound")
    data = {"media": media, "params": json.dumps(params)}
    return Client().post(address(batch, "upload"), data, headers=key_of(api))


def send(api: Api, batch: Batch, below: str, **params: Any) -> Any:
    return Client().post(address(batch, below), params, content_type="application/json", headers=key_of(api))
