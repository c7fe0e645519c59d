"""Members and tokens through the API."""

from __future__ import annotations

from typing import Any

import pytest

from speechportal.accounts.models import ApiToken, Membership
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.clients import Client


def test_a_token_makes_a_token_shows_it_once_and_revokes_it(alice: Api) -> None:
    made = alice.post("tokens", {"name": "CI", "scopes": ["read"], "expires_at": "2099-01-01T00:00:00Z"})
    assert made.status_code == 201, made.content
    plain, uid = made.json()["token"], made.json()["id"]
    bearer = {"Authorization": f"Bearer {plain}"}
    assert Client().get("/api/v1/domains", headers=bearer).status_code == 200
    told = alice.get(f"tokens/{uid}")
    assert "token" not in told.json()
    assert plain[17:] not in told.content.decode()
    assert (told.json()["active"], told.json()["created_by"]) == (True, "alice@example.com")
    assert alice.delete(f"tokens/{uid}").status_code == 204
    assert Client().get("/api/v1/domains", headers=bearer).status_code == 401
    assert alice.get(f"tokens/{uid}").json()["active"] is False
    assert [row["id"] for row in alice.get("tokens?active=false").json()["results"]] == [uid]
    assert [row["name"] for row in alice.get("tokens?active=true").json()["results"]] == ["test"]


def test_a_token_makes_none_that_may_do_more(make_api: MakeApi, alice: Api) -> None:
    small = make_api(alice.account, alice.user, ["tokens:write", "batches:read"])
    assert small.post("tokens", {"name": "A", "scopes": ["batches:read"]}).status_code == 201
    for scopes in (["batches:write"], ["read"], ["write"], ["batches:read", "usage:read"]):
        answer = small.post("tokens", {"name": "B", "scopes": scopes})
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_exceeded"), scopes
    assert not ApiToken.unscoped.filter(name="B").exists()


def test_all_that_is_wrong_with_a_token_is_told(alice: Api) -> None:
    answer = alice.post(
        "tokens",
        {"name": "", "scopes": ["read", "fly"], "allowed_addresses": ["here"], "expires_at": "tomorrow"},
    )
    assert answer.status_code == 422
    assert {each["field"] for each in answer.json()["errors"]} == {"name", "scopes.1", "expires_at"}
    answer = alice.post(
        "tokens",
        {
            "name": "x",
            "scopes": ["read"],
            "allowed_addresses": ["here"],
            "expires_at": "2001-01-01T00:00:00Z",
        },
    )
    assert {each["field"]: each["code"] for each in answer.json()["errors"]} == {
        "allowed_addresses": "invalid_network",
        "expires_at": "in_the_past",
    }


def test_an_owner_sees_and_changes_members(alice: Api, bob: Api) -> None:
    rows = alice.get("members").json()["results"]
    assert [(row["email"], row["role"]) for row in rows] == [
        ("alice@example.com", "owner"),
        ("bob@example.com", "manager"),
    ]
    path = f"members/{rows[1]['id']}"
    assert alice.patch(path, {"role": "viewer"}).json()["role"] == "viewer"
    assert bob.post("domains", {"name": "A", "code": "a"}).status_code == 403
    assert alice.delete(path).status_code == 204
    assert bob.get("domains").json()["code"] == "member_left"


def test_the_last_owner_stays(alice: Api) -> None:
    path = f"members/{alice.get('members').json()['results'][0]['id']}"
    for answer in (alice.patch(path, {"role": "viewer"}), alice.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert Membership.objects.get(user=alice.user).role == "owner"


def test_somebody_is_invited_and_uninvited(alice: Api, bob: Api, charlie: Api, settings: Any) -> None:
    made = alice.post("invitations", {"email": "Dora@example.com", "role": "viewer"})
    assert made.status_code == 201, made.content
    link, uid = made.json()["link"], made.json()["id"]
    assert link.startswith(settings.PUBLIC_URL)
    page = Client().get(link.removeprefix(settings.PUBLIC_URL))
    assert (page.status_code, "dora@example.com" in page.content.decode()) == (200, True)
    [row] = alice.get("invitations").json()["results"]
    assert (row["id"], row["email"], row["invited_by"]) == (uid, "dora@example.com", "alice@example.com")
    assert "link" not in row
    again = alice.post("invitations", {"email": "dora@example.com", "role": "viewer"})
    assert (again.status_code, again.json()["code"]) == (409, "invited_already")
    member = alice.post("invitations", {"email": "bob@example.com", "role": "viewer"})
    assert [each["field"] for each in member.json()["errors"]] == ["email"]
    assert bob.get("invitations").status_code == 403
    assert charlie.delete(f"invitations/{uid}").status_code == 404
    assert alice.delete(f"invitations/{uid}").status_code == 204
    assert Client().get(link.removeprefix(settings.PUBLIC_URL)).status_code == 404


def test_an_owner_sets_the_budget(alice: Api, bob: Api) -> None:
    assert bob.patch("account", {"monthly_budget": "5.00"}).status_code == 403
    changed = alice.patch("account", {"monthly_budget": "5.00", "name": "Renamed"})
    assert changed.status_code == 200, changed.content
    assert (changed.json()["monthly_budget"], changed.json()["name"]) == ("5.00", "Renamed")
    assert alice.patch("account", {"monthly_budget": None}).json()["monthly_budget"] is None
    for wrong in ("-1", "1.234", "much"):
        assert alice.patch("account", {"monthly_budget": wrong}).status_code == 422


@pytest.mark.parametrize("path", ["members", "members/{alice}"])
def test_members_are_the_owners_affair(alice: Api, bob: Api, charlie: Api, path: str) -> None:
    own = Membership.objects.get(user=alice.user).pk
    path = path.format(alice=own)
    refused = bob.get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")
    if "/" in path:
        assert charlie.get(path).status_code == 404
        assert charlie.delete(path).status_code == 404
    else:
        assert [row["email"] for row in charlie.get(path).json()["results"]] == ["charlie@example.com"]


def test_strangers_find_no_token(alice: Api, charlie: Api) -> None:
    for method in ("GET", "DELETE"):
        assert charlie.send(method, f"tokens/{alice.token.uid}").status_code == 404
    assert [row["id"] for row in charlie.get("tokens").json()["results"]] == [charlie.token.uid]
    assert alice.get("domains").status_code == 200
