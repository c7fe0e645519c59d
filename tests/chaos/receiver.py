"""Webhook receiver that counts messages, and refuses some of them at first."""

from __future__ import annotations

import http.server
import random
import threading
from collections import defaultdict
from typing import Any, Self


class Receiver:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"receiver {seed}")
        self.accepted: dict[str, int] = defaultdict(int)  # event id -> times
        self.refused = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if outer.rng.random() < 0.1:
                    outer.refused += 1
                    self.send_response(503)
                else:
                    outer.accepted[self.headers.get("webhook-id", "")] += 1
                    self.send_response(204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Log nothing, to keep the run's output clean."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
