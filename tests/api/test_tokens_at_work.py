"""API tokens: authentication, scopes, allowed networks, expiry and rate limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains.models import Domain
from speechportal.accounts.models import ApiToken, Membership
from speechportal.accounts.tokens import api_tokens
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.clients import Client
from tests.factories import make_domain


def ask(plain: str, **headers: str) -> Any:
    return Client().get("/api/v1/domains", headers={"Authorization": f"Bearer {plain}", **headers})


def test_a_token_is_known_by_its_looks_and_kept_as_a_digest(alice: Api) -> None:
    assert api_tokens.PATTERN.fullmatch(alice.plain)
    stored = ApiToken.unscoped.values().get()
    secret = alice.plain[len("spk_") + api_tokens.KEY_LENGTH :]
    assert [name for name, value in stored.items() if secret in str(value)] == []
    assert alice.token.start in f"{alice.plain[:16]}…"


def test_without_a_token_nothing_opens(db: None) -> None:
    answer = Client().get("/api/v1/domains")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "token_missing"
    for value in ("Basic YTpi", "Bearer", "Bearer spk_", "Bearer spk_" + "0" * 51, "Bearer \udcff"):
        try:
            answer = Client().get("/api/v1/domains", headers={"Authorization": value})
        except UnicodeEncodeError:
            continue
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), value


def test_a_changed_letter_is_another_token(alice: Api) -> None:
    for place in (5, 20, len(alice.plain) - 1):
        letter = "0" if alice.plain[place] != "0" else "1"
        changed = f"{alice.plain[:place]}{letter}{alice.plain[place + 1 :]}"
        assert ask(changed).json()["code"] == "token_invalid"
    assert ask(alice.plain).status_code == 200


def test_a_right_key_with_a_wrong_secret_is_refused(alice: Api, bob: Api) -> None:
    body = f"spk_{alice.token.key}" + bob.plain[16:-7]
    forged = body + api_tokens._check_sum(body)
    assert api_tokens.PATTERN.fullmatch(forged)
    assert ask(forged).json()["code"] == "token_invalid"


def test_a_revoked_token_opens_nothing_at_once(alice: Api) -> None:
    assert ask(alice.plain).status_code == 200
    api_tokens.revoke_token(token=alice.token)
    answer = ask(alice.plain)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")


def test_an_expired_token_opens_nothing(alice: Api) -> None:
    ApiToken.unscoped.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = ask(alice.plain)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def test_a_token_ends_with_the_membership_and_with_the_user(alice: Api, bob: Api) -> None:
    Membership.objects.filter(user=bob.user).delete()
    answer = ask(bob.plain)
    assert (answer.status_code, answer.json()["code"]) == (401, "member_left")
    alice.user.is_active = False
    alice.user.save()
    assert ask(alice.plain).status_code == 401


def test_a_token_has_its_members_present_role(bob: Api) -> None:
    fields = {"name": "A", "code": "a"}
    assert bob.post("domains", fields).status_code == 201
    Membership.objects.filter(user=bob.user).update(role=Membership.Role.VIEWER)
    refused = bob.post("domains", {"name": "B", "code": "b"})
    assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")
    assert "viewer" in refused.json()["detail"]
    assert bob.get("domains").status_code == 200


def test_a_token_works_only_from_allowed_addresses(make_api: MakeApi, alice: Api, settings: Any) -> None:
    api = make_api(alice.account, alice.user, allowed_addresses=["192.0.2.0/24", "2001:db8::1"])
    for address, status in [
        ("192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("2001:db8::1", 200),
        ("198.51.100.1", 403),
        ("2001:db8::2", 403),
        ("", 403),
    ]:
        assert api.get("domains", REMOTE_ADDR=address).status_code == status, address
    # What a client claims about itself does not count, what the operator's proxy saw does.
    claimed = {"X-Forwarded-For": "192.0.2.7, 198.51.100.1"}
    assert api.get("domains", REMOTE_ADDR="192.0.2.9", headers=claimed).status_code == 200
    settings.BEHIND_PROXY = True
    assert api.get("domains", REMOTE_ADDR="192.0.2.9", headers=claimed).status_code == 403


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        (["read"], True, False),
        (["write"], True, True),
        (["domains:read"], True, False),
        (["domains:write"], True, True),
        (["batches:write", "usage:read"], False, False),
    ],
)
def test_scopes_are_heeded(
    make_api: MakeApi, alice: Api, scopes: list[str], reads: bool, writes: bool
) -> None:
    api = make_api(alice.account, alice.user, scopes)
    read = api.get("domains")
    assert read.status_code == (200 if reads else 403)
    written = api.post("domains", {"name": "A", "code": "a"})
    assert written.status_code == (201 if writes else 403)
    for answer, right in ((read, "read"), (written, "write")):
        if answer.status_code == 403:
            assert answer.json()["code"] == "scope_missing"
            assert f"domains:{right}" in answer.json()["detail"]
    assert Domain.unscoped.exists() is writes


def test_a_token_moves_to_the_first_pepper_when_it_is_used(alice: Api, settings: Any) -> None:
    old = settings.API_TOKEN_PEPPERS
    settings.API_TOKEN_PEPPERS = ["a new pepper", *old]
    assert ask(alice.plain).status_code == 200
    settings.API_TOKEN_PEPPERS = ["a new pepper"]
    assert ask(alice.plain).status_code == 200
    settings.API_TOKEN_PEPPERS = old
    assert ask(alice.plain).json()["code"] == "token_invalid"


def test_the_last_use_is_kept(alice: Api) -> None:
    before = timezone.now()
    ask(alice.plain)
    alice.token.refresh_from_db()
    assert alice.token.last_used_at is not None
    assert alice.token.last_used_at >= before


def test_a_token_has_so_many_requests_a_minute(alice: Api, bob: Api, settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 3
    make_domain(alice.account)
    left = []
    for _number in range(3):
        answer = ask(alice.plain)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"token";q=3;w=60'
        left.append(answer.headers["RateLimit"].split(";")[1])
    assert left == ["r=2", "r=1", "r=0"]
    refused = ask(alice.plain)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit"].startswith('"token";r=0;t=')
    assert ask(bob.plain).status_code == 200  # Each token has its own.
    ApiToken.unscoped.update(minute_started_at=timezone.now() - timedelta(seconds=61))
    assert ask(alice.plain).status_code == 200


def test_every_answer_has_a_request_id(alice: Api) -> None:
    given = ask(alice.plain, **{"X-Request-ID": "my-request-0001"})
    assert given.headers["X-Request-ID"] == "my-request-0001"
    for bad in ("short", "x" * 65, "new\tline-00000"):
        made = ask("nonsense", **{"X-Request-ID": bad})
        assert made.headers["X-Request-ID"] != bad
        assert made.json()["request_id"] == made.headers["X-Request-ID"]
