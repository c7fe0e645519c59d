"""Hostile input to every page is refused or ignored, and breaks nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from speechportal.accounts.models import User
from tests.clients import Client
from tests.repository.routes import ROUTES
from tests.repository.test_routes import World, world

__all__ = ["world"]

pytestmark = pytest.mark.django_db

VALUES = {
    "NUL": "a\0b",
    "script": "<script>alert(1)</script>",
    "quotes": "' OR 1=1; --\"",
    "percent": "%s%(x)s%",
    "too large": "9" * 30,
    "very long": "9" * 6000,
    "negative": "-1",
    "no number": "1e309",
    "other digits": "²٣",
    "no date": "2026-13-45",
    "first day": "0001-01-01",
    "last day": "9999-12-31T23:59:59",
    "lone surrogate": "\udc80",
    "folder": "../../etc/passwd",
    "list": "[[[]]]",
}
PARAMETERS = [
    "account", "batch", "before", "connection", "edit", "event", "from", "ids", "input_path", "month", "next",
    "page", "path", "q", "result_path", "sort", "state", "back", "name", "reason", "role", "session", "text",
    "username", "webhook_url", "since", "to", "language", "format", "token", "code", "speaker", "uid",
]  # fmt: skip
FIELD = re.compile(r'<(?:input|select|textarea)[^>]*\sname="([^"]+)"')


def client_of(email: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(email=email))
    return client


def path_of(name: str, world: World) -> str:
    return reverse(name, kwargs={key: world[value] for key, value in ROUTES[name].kwargs.items()})


def encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def dealt(names: Iterable[str], turn: int) -> dict[str, bytes]:
    """One value per name; over all pages and turns, each name gets every value."""
    values = list(VALUES.values())
    return {name: encoded(values[(at + turn) % len(values)]) for at, name in enumerate(sorted(names))}


@pytest.mark.parametrize(("number", "name"), enumerate(sorted(ROUTES)), ids=sorted(ROUTES))
def test_a_page_breaks_at_nothing(number: int, name: str, world: World) -> None:
    found: dict[str, int] = {}
    path = path_of(name, world)
    turns = 3 if connection.vendor == "postgresql" else 1  # SQLite accepts more: fewer values can break it.
    for turn in range(number, number + 5 * turns, 5):
        client = client_of("alice@example.com")
        answer: Any = client.get(path, dealt(PARAMETERS, turn))
        found[f"GET {turn}"] = answer.status_code
        page = answer.content.decode() if not answer.streaming else ""
        assert "<script>alert(1)" not in page
        fields = {*FIELD.findall(page), *PARAMETERS} - {"csrfmiddlewaretoken"}
        answer = client.post(path, dealt(fields, turn + 1))
        found[f"POST {turn + 1}"] = answer.status_code
        assert answer.streaming or "<script>alert(1)" not in answer.content.decode()
    assert {what: status for what, status in found.items() if status >= 500} == {}


def test_a_nul_in_a_query_string_is_replaced(world: World) -> None:
    """PostgreSQL refuses it, whichever page compares with it."""
    client = client_of("alice@example.com")
    assert 'value="a\ufffdb"' in client.get("/batches/?q=a%00b").content.decode()
