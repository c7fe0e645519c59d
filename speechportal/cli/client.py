"""REST client of the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

TRIES = 4
TIMEOUT = (10, 120)  # seconds: to connect, and between bytes
UPLOAD_TIMEOUT = (10, 3600)
FINAL = {"completed", "failed", "cancelled"}


class CommandError(Exception):
    """Error for the user; the message says what to do."""


class Portal:
    """Client of one portal with one token."""

    def __init__(self, url: str, token: str) -> None:
        self.root = f"{url.rstrip('/')}/api/v1/"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def from_environment(cls) -> Portal:
        """Read ``SPEECHPORTAL_URL`` and ``SPEECHPORTAL_TOKEN`` (or the file ``SPEECHPORTAL_TOKEN_FILE``)."""
        url, token = os.environ.get("SPEECHPORTAL_URL", ""), os.environ.get("SPEECHPORTAL_TOKEN", "")
        if not token and (file := os.environ.get("SPEECHPORTAL_TOKEN_FILE")):
            try:
                token = Path(file).read_text(encoding="utf-8")
            except OSError as error:
                raise CommandError(f"SPEECHPORTAL_TOKEN_FILE cannot be read: {error.strerror}.") from error
        if not url or not token.strip():
            raise CommandError(
                "Set SPEECHPORTAL_URL to the portal's address and SPEECHPORTAL_TOKEN to an API token"
                " (portal: Account, API tokens)."
            )
        if not url.startswith(("https://", "http://")):
            raise CommandError(f"SPEECHPORTAL_URL must begin with https:// or http://, unlike {url!r}.")
        return cls(url, token.strip())

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send a request; repeatable ones are retried while the portal is busy or unreachable.

        Raises CommandError for an error response.
        """
        for attempt in range(1, TRIES + 1):
            try:
                answer = self.session.request(
                    method, urljoin(self.root, path), timeout=TIMEOUT, allow_redirects=False, **kwargs
                )
            except requests.RequestException as error:
                if attempt == TRIES or method != "GET":
                    raise CommandError(f"The portal cannot be reached: {_reason(error)}") from error
                time.sleep(attempt)
                continue
            busy = answer.status_code == 429 or (method == "GET" and answer.status_code >= 500)
            if busy and attempt < TRIES:
                time.sleep(_wait(answer, attempt))
                continue
            if not answer.ok or answer.is_redirect:
                raise CommandError(_problem(answer))
            return answer
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    def get(self, path: str, **parameters: Any) -> Any:
        return self.call("GET", path, params=parameters).json()

    def rows(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield all rows of a list, page by page."""
        page = self.get(path, page_size=200, **parameters)
        while True:
            yield from page["results"]
            if not page["next"]:
                return
            # Keep the configured base URL: behind a proxy the portal may know itself by another address.
            _before, _mark, query = page["next"].partition("?")
            page = self.call("GET", f"{path}?{query}").json()

    def batch(self, wanted: str) -> dict[str, Any]:
        """Find a batch by its ID or its name."""
        if wanted.startswith("bat_"):
            found: dict[str, Any] = self.get(f"batches/{wanted}")
            return found
        named = [row for row in self.rows("batches", q=wanted) if row["name"] == wanted]
        if not named:
            raise CommandError(f"There is no batch “{wanted}”. See: speechportal batches list")
        return named[0]

    def extensions(self) -> dict[str, str]:
        """File name extension, with its dot, of each of the portal's file formats."""
        return {row["name"]: row["extension"] for row in self.get("formats")}

    def upload(self, batch: dict[str, Any], file: Path, name: str, *, replace: bool) -> datetime:
        """Upload a file to the batch's input path. Returns the time of the upload by the portal's clock."""
        body = {"name": name, "replace": replace}
        answer = self.call("POST", f"batches/{batch['id']}/uploads", json=body)
        link = answer.json()
        with file.open("rb") as stream:
            try:
                # Without our token: the URL is pre-signed, and the storage may belong to a third party.
                sent = requests.request(
                    link["method"], link["url"], data=stream, timeout=UPLOAD_TIMEOUT, allow_redirects=False
                )
            except requests.RequestException as error:
                raise CommandError(f"{file}: the storage cannot be reached: {_reason(error)}") from error
        if not sent.ok or sent.is_redirect:
            raise CommandError(f"{file}: the storage refused it (HTTP {sent.status_code}).")
        return _date(answer)

    def task(self, batch: dict[str, Any], name: str, since: datetime | None = None) -> dict[str, Any] | None:
        """Newest task of this name, created after ``since`` if that is given."""
        parameters = {"batch": batch["id"], "name": name, "ordering": "-created_at", "page_size": 1}
        if since is not None:
            parameters["created_after"] = since.isoformat()
        rows = self.get("tasks", **parameters)["results"]
        return rows[0] if rows else None


def _date(answer: requests.Response) -> datetime:
    """Time of a response, less a second, since HTTP dates have whole seconds."""
    date = answer.headers.get("Date")
    moment = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return moment - timedelta(seconds=1)


def _wait(answer: requests.Response, attempt: int) -> float:
    asked = answer.headers.get("Retry-After", "")
    return float(min(int(asked), 60)) if asked.isdecimal() else float(attempt)


def _problem(answer: requests.Response) -> str:
    try:
        told = answer.json()
        lines = [told["detail"]]
        errors = told.get("errors", [])
        if len(errors) > 1:  # A single error is already in the detail.
            lines += [f"  {each['field']}: {each['message']}" for each in errors]
        return "\n".join([*lines, f"  (request {told.get('request_id', '?')})"])
    except (ValueError, KeyError, TypeError):
        return f"The answer is not the portal's (HTTP {answer.status_code}). Check SPEECHPORTAL_URL."


def _reason(error: BaseException) -> str:
    """Root cause of an exception that libraries have wrapped."""
    inner: object = error
    while isinstance(inner, BaseException):
        error = inner
        inner = getattr(error, "reason", None) or error.__context__ or next(iter(error.args), None)
    return str(getattr(error, "strerror", None) or error)[:200] or type(error).__name__
