"""Logging: formatters that add the IDs of request, account, batch and task, and remove secrets.

Lines logged inside :func:`context` have its IDs, as text or, with ``LOG_FORMAT=json``, as fields. The
formatters remove whatever looks like a secret, also from messages of libraries.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

NAMES = ("request", "account", "batch", "task", "delivery")
GONE = "[removed]"
_ids: ContextVar[dict[str, str] | None] = ContextVar("log_ids", default=None)
_SECRETS = [
    re.compile(r"(?i)(authorization\W{1,4}(?:bearer|basic|token)\s+)[^\s'\",]+"),
    re.compile(
        r"(?i)((?:password|passwd|secret|secret_key|aws_secret_access_key|x-amz-signature|sig)"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s&'\",}]+"
    ),
    # URLs that give access by themselves, in request lines.
    re.compile(r"(/(?:invitations|verify-address|connections/file)/)[^/\s?\"']{8,}"),
    re.compile(r"(/password-reset/[^/\s]{1,40}/)[^/\s?\"']{8,}"),
    re.compile(r"()spk_[0-9a-hjkmnp-tv-z]{20,}"),  # API tokens
    re.compile(r"()whsec_[A-Za-z0-9+/=]{16,}"),  # signing secrets of webhooks
    re.compile(r"()gAAAA[A-Za-z0-9_=-]{60,}"),  # values encrypted with ENCRYPTION_KEYS
    re.compile(r"(://[^/\s:@]+:)[^/\s@]+(?=@)"),  # a password in a URL
]


@contextmanager
def context(**ids: str) -> Iterator[None]:
    """Context manager: log lines inside have these IDs, and those that :func:`bind` adds."""
    token = _ids.set({**(_ids.get() or {}), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def bind(**ids: str) -> None:
    """Add IDs to the rest of the current context. Does nothing outside a context."""
    if (current := _ids.get()) is not None:
        _ids.set({**current, **ids})


def current_ids() -> dict[str, str]:
    return {name: value for name in NAMES if (value := (_ids.get() or {}).get(name))}


def without_secrets(text: str) -> str:
    """Remove from ``text`` whatever looks like a secret, and the secrets of this installation."""
    for secret in _own_secrets():
        text = text.replace(secret, GONE)
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{GONE}", text)
    return text


def _own_secrets() -> list[str]:
    known = [settings.SECRET_KEY, *settings.ENCRYPTION_KEYS, *settings.API_TOKEN_PEPPERS]
    known += [settings.EMAIL_HOST_PASSWORD, str(settings.DATABASES["default"].get("PASSWORD") or "")]
    return [each for each in known if len(each) >= 8]


def one_line(text: str) -> str:
    """Escape line feeds and other control characters, so that a file name cannot forge a log line."""
    return "".join(
        each if each.isprintable() or each == " " else each.encode("unicode_escape").decode() for each in text
    )


class LineFormatter(logging.Formatter):
    """Formatter of lines for people: time, level, logger, message, IDs."""

    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in current_ids().items())
        record = copy.copy(record)
        record.msg, record.args = one_line(record.getMessage()), None
        text = super().format(record)
        return without_secrets(f"{text} [{ids}]" if ids and "\n" not in text else text)


class JsonFormatter(logging.Formatter):
    """Formatter of one JSON object per line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **current_ids(),
        }
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
