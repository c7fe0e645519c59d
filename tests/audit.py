"""``python -m tests.audit``: known vulnerabilities of the packages in ``requirements.lock``, by pip-audit.

It needs a service that knows vulnerabilities, PyPI's or OSV's, which not every network reaches and not every
package index offers. Without one it says so and ends with status 0: a build does not fail for what nobody can
ask. A finding ends it with status 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import requests

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
PYPI = "https://pypi.org"
OSV = "https://api.osv.dev/v1/query"
PATIENCE_SECONDS = 10


def pypi_answers() -> bool:
    """Whether the package index also reports vulnerabilities, which many mirrors do not."""
    try:
        answer = requests.get(f"{PYPI}/pypi/django/5.2/json", timeout=PATIENCE_SECONDS)
        return answer.ok and bool(answer.json().get("vulnerabilities"))
    except (requests.RequestException, ValueError):
        return False


def osv_answers(url: str) -> bool:
    question = {"package": {"name": "django", "ecosystem": "PyPI"}, "version": "5.2"}
    try:
        answer = requests.post(url, json=question, timeout=PATIENCE_SECONDS)
        return answer.ok and isinstance(answer.json(), dict)
    except (requests.RequestException, ValueError):
        return False


def service(osv_url: str) -> list[str]:
    """Options of pip-audit for a service that responds; empty if none does."""
    if osv_url == OSV and pypi_answers():
        return ["--vulnerability-service", "pypi"]
    if osv_answers(osv_url):
        return ["--vulnerability-service", "osv", "--osv-url", osv_url]
    return []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--requirement", type=Path, default=LOCK)
    parser.add_argument("--osv-url", default=OSV, help="a service that speaks as OSV does, inside a network")
    given = parser.parse_args(arguments)
    options = service(given.osv_url)
    if not options:
        print("NOT AUDITED: no service that knows vulnerabilities can be reached from here.", flush=True)
        return 0
    # All is pinned, with what it needs: nothing has to be resolved or installed to know the versions.
    options += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--requirement"]
    command = [sys.executable, "-m", "pip_audit", *options, str(given.requirement)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
