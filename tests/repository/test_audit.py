"""Dependency audit: it fails for a finding and for nothing else; the service runs on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import audit
from tests.loopback import Handler, serving

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


class Osv(Handler):
    """OSV server that knows one vulnerability, of ``gullible`` before 2.0."""

    def asked(self) -> None:
        question = json.loads(self.body())
        found = question["package"]["name"] == "gullible" and question["version"] < "2"
        self.answer(json.dumps({"vulns": [BAD]} if found else {}).encode())


@pytest.fixture
def osv() -> Iterator[str]:
    with serving(Osv) as place:
        yield f"http://{place}/v1/query"


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
