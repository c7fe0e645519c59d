"""The audit of dependencies fails for a finding, and for nothing else; asked of a service on this machine."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import audit

BAD = {
    "id": "PYSEC-2026-1",
    "summary": "Says yes to everybody.",
    "affected": [
        {
            "package": {"name": "gullible", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


class Osv(http.server.BaseHTTPRequestHandler):
    """Knows one vulnerability, of ``gullible`` before 2.0."""

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = question["package"]["name"] == "gullible" and question["version"] < "2"
        body = json.dumps({"vulns": [BAD]} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Not on the tests' own output."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("version", "status", "said"),
    [("1.9", 1, "PYSEC-2026-1"), ("2.0", 0, "No known vulnerabilities found")],
)
def test_a_finding_fails_and_none_does_not(
    osv: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], version: str, status: int, said: str
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"# A lock.\nsound==1.0\ngullible=={version}\n")
    assert audit.main(["--requirement", str(lock), "--osv-url", osv]) == status
    told = capfd.readouterr()
    assert said in told.out + told.err


def test_without_a_service_it_says_so_and_fails_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--osv-url", "http://127.0.0.1:1/"]) == 0
    assert "NOT AUDITED" in capfd.readouterr().out
