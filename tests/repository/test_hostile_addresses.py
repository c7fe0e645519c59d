"""Hostile IDs in addresses, and hostile headers, are refused or ignored: no page fails with a 500."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.urls import reverse
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Account, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_user
from tests.repository.routes import ROUTES
from tests.repository.test_routes import NOBODYS, World, things_of, world

__all__ = ["world"]

pytestmark = pytest.mark.django_db

# As they stand in an address: percent-encoded bytes.
IDS = {
    "NUL": "a%00b",
    "NUL alone": "%00",
    "broken UTF-8": "%FF%C3",
    "surrogate": "%ED%B2%80",
    "300 letters": "a" * 300,
    "300 letters of three bytes": quote("가" * 300),
    "6000 digits": "9" * 6000,
    "30 digits": "9" * 30,
    "other digits": quote("²٣"),
    "look-alikes": quote("ｂａｔ＿０"),
    "right to left": quote("\u202ebat_0"),
    "quotes": quote("' OR 1=1; --\""),
    "script": quote("<script>alert(1)<", safe=""),
    "line feed": "a%0D%0ASet-Cookie:%20a=b",
    "percent": "%25s%25(x)s%2500",
    "negative": "-1",
    "nought": "0",
    "dots": "..",
    "backslash": "..%5C..%5Cetc",
    "unknown": "bat_0000000000000000",
    "other kind": "{task}",
    "colons": "a:b:c",
    "braces": "{0}%7B%7B",
}
# As a server hands them on: one character for each byte.
VALUES = {
    "empty": "",
    "spaces": " \t ",
    "very long": "a" * 6000,
    "digits": "9" * 400,
    "bytes": "\xff\xfe\x80",
    "Korean": "한글".encode().decode("latin-1"),
    "script": "<script>alert(1)</script>'\"",
    "NUL, encoded": "%00%ff%",
    "commas": ", , ;q=nan, *;q=-1, en;q=1e309",
    "language": "x" * 600 + "-kr, ../../etc/passwd",
    "tag": 'W/"x", "y", *',
    "open tag": '"\\"',
    "range": "bytes=99999999999999999999-1, -0, 5-",
    "range of other digits": "bytes=²-٣".encode().decode("latin-1"),
    "date": "Thu, 99 Foo 99999 99:99:99 GMT",
    "address": "999.1.1.1, ::ffff:1.2.3.4%eth0, [::1]:80",
    "URL": "http://[::1/%00?a=\x80#",
    "true": "true",
    "pairs": '=;a=b;;sessionid;"=";messages=[[;csrftoken=%00',
}
HEADERS = [
    "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Language", "Forwarded",
    "HX-Boosted", "HX-Current-URL", "HX-Prompt", "HX-Request", "HX-Target", "HX-Trigger", "Idempotency-Key",
    "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Origin", "Range",
    "Referer", "Sec-Fetch-Site", "User-Agent", "X-CSRFToken", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Request-ID", "X-Requested-With",
]  # fmt: skip
COOKIES = ["csrftoken", "django_language", "messages", "sessionid"]


def signed_in(email: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(email=email))
    return client


def with_id(name: str, world: World, argument: str, value: str) -> str:
    """URL of a route with ``value`` as one argument, and Alice's IDs as the others."""
    numbers = {"bob", "line"}  # Their converters match nothing else.
    marks = {
        key: "987650" if kind in numbers else f"zz{number}zz"
        for number, (key, kind) in enumerate(ROUTES[name].kwargs.items())
    }
    path = reverse(name, kwargs=marks)
    for key, mark in marks.items():
        path = path.replace(mark, value if key == argument else world[ROUTES[name].kwargs[key]], 1)
    return path


def arguments() -> Iterator[tuple[str, str]]:
    for name in sorted(ROUTES):
        for argument in ROUTES[name].kwargs:
            yield name, argument


def status_of(answer: Any) -> int:
    if answer.streaming:
        b"".join(answer.streaming_content)
    else:
        assert b"<script>alert(1)" not in answer.content
    return int(answer.status_code)


def test_ids_of_every_kind(world: World) -> None:
    """Over all addresses, each kind of argument meets every value."""
    client = signed_in("alice@example.com")
    values = itertools.cycle(value.replace("{task}", world["task"]) for value in IDS.values())
    found: dict[tuple[str, str, str], int] = {}
    for name, argument in arguments():
        for value in itertools.islice(values, 2):
            path = with_id(name, world, argument, value)
            method = ROUTES[name].method
            found[method, name, path[:120]] = status_of(client.generic(method, path))
    assert len(found) > 150
    assert {what: status for what, status in found.items() if status >= 500} == {}
    assert 404 in found.values()


def test_what_is_another_tenant_s_is_not_found(world: World) -> None:
    """URL with one ID of Charlie's among Alice's own: not found."""
    charlie, dora = User.objects.get(email="charlie@example.com"), make_user("dora@example.com")
    account = Account.objects.get(memberships__user=charlie)
    add_member(account, dora, Membership.Role.VIEWER)
    theirs = things_of(account, charlie, dora)
    client = signed_in("alice@example.com")
    found = {}
    for name, argument in arguments():
        kind = ROUTES[name].kwargs[argument]
        if kind == "bob" or kind not in NOBODYS:
            path = with_id(name, world, argument, theirs[kind])
            assert theirs[kind] in path
            for method in {"GET", ROUTES[name].method, "POST"}:
                found[method, name, argument] = status_of(client.generic(method, path))
    assert len(found) > 100
    # 405: refused before anything is looked up. 403: a link that is not signed.
    assert {what: status for what, status in found.items() if status not in {404, 405}} == {}


def test_ids_in_the_admin(world: World) -> None:
    make_user("root@example.com", is_staff=True, is_superuser=True)
    client = signed_in("root@example.com")
    values = itertools.cycle(IDS.values())
    found: dict[str, int] = {}
    for model in admin.site._registry:
        kind = f"{model._meta.app_label}_{model._meta.model_name}"
        page = reverse(f"admin:{kind}_change", args=["zzz"])
        asked = itertools.product([reverse(f"admin:{kind}_changelist")], ["before", "after", "q", "account"])
        lists = [f"{path}?{name}={next(values)}" for path, name in asked]
        for path in (*lists, *(page.replace("zzz", next(values)) for _ in range(3))):
            found[path[:150]] = status_of(client.get(path))
    assert len(found) > 100
    assert {path: status for path, status in found.items() if status >= 500} == {}


def dealt(turn: int) -> dict[str, str]:
    """One value per header; over the turns, each header gets every value."""
    values = list(VALUES.values())
    return {header: values[(at * 5 + turn) % len(values)] for at, header in enumerate(HEADERS)}


def test_headers_of_every_kind(world: World, settings: Settings) -> None:
    settings.BEHIND_PROXY = True  # X-Forwarded-For counts.
    found: dict[tuple[str, str, int], int] = {}
    for turn, (name, route) in enumerate(sorted(ROUTES.items())[::2]):  # Middleware reads most of them.
        path = reverse(name, kwargs={key: world[value] for key, value in route.kwargs.items()})
        client = signed_in("alice@example.com")
        answer = client.generic(route.method, path, headers=dealt(turn), content_type="text/plain")
        found[route.method, name, turn] = status_of(answer)
    assert len(found) > 50
    assert {what: status for what, status in found.items() if status >= 500} == {}
    assert list(found.values()).count(200) > 15, "the pages themselves were reached"


@pytest.mark.parametrize("cookie", COOKIES)
def test_cookies_of_every_kind(cookie: str, world: World) -> None:
    client = signed_in("alice@example.com")
    own = f"sessionid={client.cookies['sessionid'].value}; "
    found: dict[str, int] = {}
    asked = [("GET", reverse("security")), ("POST", reverse("login"))]
    for kind, value in VALUES.items():
        sent = f"{'' if cookie == 'sessionid' else own}{cookie}={value}"
        for method, path in asked:
            client.cookies.clear()
            answer = client.generic(method, path, headers={"Cookie": sent}, without_account=True)
            found[f"{method} {path} {kind}"] = status_of(answer)
    assert {what: status for what, status in found.items() if status >= 500} == {}


HOSTS = ["", "evil.example", "a b", "[::1", "localhost:99999999", "x" * 300, "\xff", "a,b"]


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_of_every_kind(host: str, world: World, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["portal.example"]
    client = signed_in("alice@example.com")
    for path in (reverse("login"), reverse("security"), reverse("help:index")):
        assert status_of(client.get(path, headers={"Host": host})) == 400
