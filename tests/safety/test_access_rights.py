"""Access rights: staff, suspended accounts, tokens and viewers see and do no more than they may."""

from __future__ import annotations

import io
import logging
import zipfile
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch, StoredTranscript
from batches.operations.privacy.export import export_account
from batches.recognition.transcript import Segment, Transcript
from speechportal.accounts.models import Account, ApiToken, AuthenticatorApp, Membership, User
from speechportal.accounts.sign_in import second_factor
from speechportal.accounts.tokens import api_tokens
from speechportal.platform import logs
from tests.admin.staff import member_of, signed_in
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


def bearer(account: Account, user: User, **fields: object) -> dict[str, str]:
    given = {"name": "Token", "scopes": ["write"], **fields}
    _token, plain = api_tokens.create_token(account=account, created_by=user, **given)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {plain}"}


@pytest.mark.parametrize(
    ("page", "lookup"),
    [
        ("batches_storedtranscript", "document__segments__0__text__regex"),
        ("batches_storedtranscript", "document__icontains"),
        ("batches_delivery", "payload__contains"),
        ("batches_deliveryattempt", "answer__contains"),
        ("batches_batch", "webhook_url__contains"),
        ("batches_batch", "webhook_url__startswith"),
        ("storage_connection", "encrypted_secret__startswith"),
        ("accounts_user", "password__startswith"),
        ("accounts_apitoken", "digest__startswith"),
    ],
)
def test_a_list_is_filtered_by_its_own_filters_alone(page: str, lookup: str) -> None:
    client = signed_in("administrator")
    assert client.get(reverse(f"admin:{page}_changelist"), {lookup: "a"}).status_code == 400


def test_the_lists_own_filters_work() -> None:
    batch = make_batch()
    client = signed_in("administrator")
    page = client.get(reverse("admin:batches_batch_changelist"), {"account": batch.account.uid})
    assert [row.pk for row in page.context["cl"].result_list] == [batch.pk]


def test_staff_export_what_was_said_only_with_consent() -> None:
    task = make_task(make_batch(), state="completed")
    said = Transcript("en", 1.0, 1000, [Segment(0, 1000, "secretword")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=said.to_dict())
    for allowed in (False, True):
        file = io.BytesIO()
        export_account(account=task.account, target=file, transcripts=allowed)
        archive = zipfile.ZipFile(file)
        assert "tasks.jsonl" in archive.namelist()
        found = any(b"secretword" in archive.read(name) for name in archive.namelist())
        assert found is allowed


@pytest.mark.parametrize("action", ["reset_two_factor", "end_sessions"])
def test_administrators_do_not_touch_superusers(action: str) -> None:
    root = User.objects.create_superuser("root@example.com", "a long enough password")
    app = second_factor.begin(root.pk)
    AuthenticatorApp.objects.filter(pk=app.pk).update(confirmed_at=timezone.now())
    Client().force_login(root)
    client = signed_in("administrator")
    client.post(f"/admin/accounts/user/{root.pk}/{action}/", {"reason": "because", "_confirm": "1"})
    assert second_factor.app_of(root.pk) is not None
    assert root.sessions.exists()


def test_staff_make_members_of_verified_people_alone() -> None:
    account, eve = make_account(), make_user("eve@example.com")
    client = signed_in("support")
    form = {"account": account.pk, "user": eve.pk, "role": "owner", "reason": "first owner"}
    client.post(reverse("admin:accounts_membership_add"), form)
    assert not Membership.objects.filter(user=eve).exists()
    User.objects.filter(pk=eve.pk).update(email_verified_at=timezone.now())
    client.post(reverse("admin:accounts_membership_add"), form)
    assert Membership.objects.filter(user=eve).exists()


@pytest.mark.parametrize(
    "page", ["accounts_membership", "batches_batch", "storage_connection", "domains_domain"]
)
@pytest.mark.parametrize("value", ["a\0b", "9" * 30, "-1", "x", "²", "\udc80"])
def test_add_pages_ignore_odd_values_in_the_address(page: str, value: str) -> None:
    client = signed_in("administrator")
    names = ("account", "user", "role", "name", "connection", "domain", "provider", "plan", "priority")
    odd = dict.fromkeys(names, value.encode("utf-8", "surrogateescape"))
    assert client.get(reverse(f"admin:{page}_add"), odd).status_code in {200, 302, 403, 404}


def test_a_suspended_account_reads_and_nothing_else() -> None:
    alice = make_user("alice@example.com")
    account = make_account("Acme", alice)
    batch = make_batch(account, webhook_url="")
    Account.objects.filter(pk=account.pk).update(suspended_at=timezone.now())
    client = Client()
    client.force_login(alice)
    for path in ("/batches/", f"/batches/{batch.uid}/", "/usage/", "/account/"):
        assert client.get(path).status_code == 200, path
    for path, form in (
        ("/account/tokens/", {"name": "x", "everywhere": "write", "days": "30"}),
        ("/batches/try-webhook/", {"webhook_url": "https://example.com/"}),
        ("/batches/pause/", {"ids": batch.uid}),
        ("/account/settings/", {"name": "x"}),
    ):
        assert client.post(path, form).status_code == 403, path
    assert not ApiToken.unscoped.exists()
    assert Batch.unscoped.get().paused_at is None
    headers = bearer(account, alice)
    assert client.get("/api/v1/batches", headers=headers).status_code == 200
    answer = client.post(
        "/api/v1/tokens", {"name": "n", "scopes": ["read"]}, content_type="application/json", headers=headers
    )
    assert answer.status_code == 403
    assert answer.json()["code"] == "account_suspended"


def test_a_viewers_token_sees_what_viewers_see() -> None:
    alice, vera = make_user("alice@example.com"), make_user("vera@example.com")
    account = make_account("Acme", alice)
    add_member(account, vera, Membership.Role.VIEWER)
    batch = make_batch(account, webhook_url="https://hooks.example.com/T0/B0/secret-path")
    client = Client()
    for user, sees in ((alice, True), (vera, False)):
        headers = bearer(account, user)
        shown = client.get(f"/api/v1/batches/{batch.uid}", headers=headers)
        assert shown.status_code == 200
        assert ("secret-path" in shown.content.decode()) is sees
        assert batch.connection
        browsed = client.get(f"/api/v1/connections/{batch.connection.uid}/browse", headers=headers)
        assert browsed.status_code == (200 if sees else 403)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"scopes": ["write"]}, "scope_exceeded"),
        ({"allowed_addresses": []}, "addresses_exceeded"),
        ({"allowed_addresses": ["127.0.0.0/8"]}, "addresses_exceeded"),
        ({"allowed_addresses": ["::/0"]}, "addresses_exceeded"),
        ({"expires_at": None}, "expiry_exceeded"),
        ({"expires_at": "2126-01-01T00:00:00Z"}, "expiry_exceeded"),
        ({}, ""),
    ],
)
def test_a_token_makes_no_stronger_one(wanted: dict[str, object], code: str) -> None:
    alice = make_user("alice@example.com")
    account = make_account("Acme", alice)
    until = timezone.now() + timedelta(days=3)
    headers = bearer(
        account, alice, scopes=["tokens:write"], allowed_addresses=["127.0.0.1"], expires_at=until
    )
    body = {
        "name": "Child",
        "scopes": ["tokens:read"],
        "allowed_addresses": ["127.0.0.1"],
        "expires_at": (until - timedelta(hours=1)).isoformat(),
        **wanted,
    }
    answer = Client().post("/api/v1/tokens", body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json().get("code", "")) == ((403, code) if code else (201, ""))
    assert ApiToken.unscoped.count() == (1 if code else 2)


def test_cursors_that_were_made_up() -> None:
    alice = make_user("alice@example.com")
    headers = bearer(make_account("Acme", alice), alice)
    for cursor in (
        "cD14",
        "cD0w",
        "cD0",
        "x",
        "cj0xJnA9eA==",
        "bz05OTk5OTk5OTk5",
        "cD0yMDI2LTAxLTAxJm89MQ==",
    ):
        for path in ("/api/v1/batches", "/api/v1/charges", "/api/v1/deliveries", "/api/v1/tokens"):
            answer = Client().get(path, {"cursor": cursor}, headers=headers)
            assert answer.status_code in {200, 400, 404}, (path, cursor)


def test_a_local_folder_of_300_letters() -> None:
    alice = make_user("alice@example.com")
    make_account("Acme", alice)
    client = Client()
    client.force_login(alice)
    form = {"provider": "local", "name": "Long", "local_folder": "가" * 300}
    assert client.post("/connections/new/", form).status_code == 200


def test_log_lines_hold_no_live_links_and_no_line_feeds() -> None:
    lines = [
        "Not Found: /invitations/SECRETsecretSECRET/",
        "GET /connections/file/SECRETsecret:1:abc?x=1",
        "Forbidden: /password-reset/MQ/SECRET-secretsecret/",
        "Not Found: /verify-address/SECRET-secretsecret/",
    ]
    for line in lines:
        assert "SECRET" not in logs.without_secrets(line), line
    record = logging.LogRecord("a", 30, "", 1, "task %s failed", ("x\nERROR forged\r\x1b[31m",), None)
    assert "\n" not in logs.LineFormatter("%(message)s").format(record)


def test_pages_with_what_was_said_are_not_stored() -> None:
    alice = make_user("alice@example.com")
    task = make_task(make_batch(make_account("Acme", alice)), state="completed")
    client = Client()
    client.force_login(alice)
    for path in ("/transcripts/", f"/batches/{task.batch.uid}/tasks/{task.uid}/"):
        assert "no-store" in client.get(path)["Cache-Control"], path


def test_nobody_of_support_is_a_member_by_group() -> None:
    assert not Membership.objects.filter(user=member_of("administrator")).exists()
