"""The portal's page of API tokens."""

from __future__ import annotations

import re
from datetime import timedelta

from django.utils import timezone

from speechportal.accounts.models import ApiToken
from speechportal.accounts.tokens import api_tokens
from tests.api.client import Api
from tests.clients import Client

PAGE = "/account/tokens/"


def signed_in(api: Api) -> Client:
    client = Client()
    client.force_login(api.user)
    return client


def test_a_token_is_made_shown_once_used_and_revoked(alice: Api) -> None:
    client = signed_in(alice)
    fields = {"name": "Uploader", "everywhere": "areas", "area_batches": "write", "area_tasks": "read"}
    made = client.post(PAGE, {**fields, "days": "90", "allowed_addresses": "127.0.0.1\n192.0.2.0/24"})
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    [plain] = set(re.findall(api_tokens.PATTERN, made.content.decode()))
    token = ApiToken.unscoped.get(name="Uploader")
    assert token.scopes == ["batches:write", "tasks:read"]
    assert token.allowed_addresses == ["127.0.0.1", "192.0.2.0/24"]
    assert token.expires_at is not None
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
    assert plain not in client.get(PAGE).content.decode()
    bearer = {"Authorization": f"Bearer {plain}"}
    assert Client().get("/api/v1/batches", headers=bearer).status_code == 200
    asked = client.get(f"{PAGE}{token.uid}/revoke/")
    assert "Uploader" in asked.content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    client.post(f"{PAGE}{token.uid}/revoke/")
    assert Client().get("/api/v1/batches", headers=bearer).status_code == 401
    assert "Revoked and expired" in client.get(PAGE).content.decode()


def test_what_is_wrong_is_told_at_its_field(alice: Api) -> None:
    client = signed_in(alice)
    page = client.post(PAGE, {"name": "", "everywhere": "areas", "days": "90"}).content.decode()
    assert "Choose what the token may do" in page
    page = client.post(
        PAGE, {"name": "x", "everywhere": "read", "days": "ever", "allowed_addresses": "here"}
    ).content.decode()
    assert "Not an address or network: here." in page
    assert not ApiToken.unscoped.filter(created_by=alice.user).exclude(pk=alice.token.pk).exists()


def test_viewers_look_and_strangers_find_nothing(alice: Api, vera: Api, charlie: Api) -> None:
    client = signed_in(vera)
    page = client.get(PAGE).content.decode()
    assert alice.token.start in page
    assert "Create an API token" not in page
    assert client.post(PAGE, {"name": "x", "everywhere": "write"}).status_code == 403
    assert client.post(f"{PAGE}{alice.token.uid}/revoke/").status_code == 403
    stranger = signed_in(charlie)
    assert alice.token.start not in stranger.get(PAGE).content.decode()
    assert stranger.post(f"{PAGE}{alice.token.uid}/revoke/").status_code == 404
    alice.token.refresh_from_db()
    assert alice.token.revoked_at is None
