"""Every admin page opens for every group of support staff, and shows no secret."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.urls import reverse
from django.utils import timezone

from batches.models import (
    Adjustment,
    BatchEvent,
    Charge,
    ChatChannel,
    ConnectionBackoff,
    CorrectedWord,
    Correction,
    Delivery,
    DeliveryAttempt,
    ExecutionResult,
    PendingFile,
    ResultFile,
    SearchText,
    SettledUsage,
    StoredTranscript,
    StreamedSegments,
    Subscription,
    Task,
    TaskAttempt,
    TaskTrace,
    UsageMark,
)
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import endpoint
from domains.models import Keyword, KeywordUse
from speechportal.accounts.audit.trail import record
from speechportal.accounts.models import Account, MemberSession, Membership, RecoveryCode, User
from speechportal.accounts.sign_in import recovery_codes, second_factor
from speechportal.accounts.single_sign_on.identities import ExternalIdentity
from speechportal.accounts.tokens import api_tokens
from tests import factories
from tests.admin.staff import member_of, signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
CANARY = "canary-4f1d2c"


@pytest.fixture
def secrets() -> list[str]:
    """Create a row in every table; returns the secrets that the rows contain."""
    alice = factories.make_user("alice@example.com", f"{CANARY}-password")
    account = factories.make_account("Alice’s", alice)
    batch = factories.make_batch(account, webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    assert batch.domain is not None
    assert batch.connection is not None
    Keyword.unscoped.create(domain=batch.domain, text="Speech Portal")
    task = factories.make_task(batch, state="completed", media_duration=1000)
    factories.make_task(batch, state="failed")
    factories.make_task(batch)
    said = Transcript("en", 1.0, 1000, [Segment(0, 1000, f"{CANARY} was said")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=said.to_dict())
    SearchText.unscoped.get_or_create(task=task, defaults={"account": account, "text": CANARY})
    Correction.unscoped.create(task=task, lines={"0": {"text": f"{CANARY} was corrected"}})
    ResultFile.unscoped.create(
        task=task, format="json", connection=batch.connection, key="out/a.json", size=1
    )
    ExecutionResult.unscoped.create(account=account, batch=batch, number=1, task_count=1, key="out/1.csv")
    charge = Charge.unscoped.create(
        account=account, batch=batch, task=task, batch_name="b", input_name="a", media_duration=1, amount=1
    )
    Adjustment.unscoped.create(account=account, charge=charge, amount="-0.5", currency="USD", reason="Late.")
    delivery = Delivery.unscoped.create(
        account=account, batch=batch, task=task, event="task.completed", about=task.uid, payload=f"{CANARY}"
    )
    DeliveryAttempt.unscoped.create(
        delivery=delivery, number=1, started_at=timezone.now(), status=500, answer=f"{CANARY} answered"
    )
    now = timezone.now()
    PendingFile.unscoped.create(batch=batch, key="in/new.wav", version="1", size=1, modified_at=now)
    ConnectionBackoff.unscoped.create(connection=batch.connection, code="storage_unreachable", retry_at=now)
    _token, plain = api_tokens.create_token(account=account, created_by=alice, name="build", scopes=["read"])
    app = second_factor.begin(alice.pk)
    codes = recovery_codes.renew(app.user)
    digests = RecoveryCode.objects.values_list("digest", flat=True)
    Client().force_login(alice)
    record("account.exported", account)
    batch.webhook.refresh_from_db()
    return [
        CANARY,
        plain,
        plain[20:],
        alice.password,
        app.encrypted_secret,
        app.typed_secret(),
        *codes,
        *digests,
        MemberSession.objects.get(user=alice).session_key,
        batch.webhook.encrypted_secret,
        *endpoint.signing_secrets(batch.webhook, now),
    ]


def pages() -> list[str]:
    """Lists and rows of every registered table."""
    found = [reverse("admin:index")]
    for model in admin.site._registry:
        kind = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found.append(reverse(f"{kind}_changelist"))
        found += [reverse(f"{kind}_change", args=[row.pk]) for row in model._default_manager.all()[:3]]
    return found


@pytest.mark.parametrize("group", ["viewer", "support", "finance", "administrator"])
def test_every_page_opens_or_is_forbidden_and_shows_no_secret(group: str, secrets: list[str]) -> None:
    client = signed_in(group)
    opened = 0
    for page in pages():
        response = client.get(page)
        assert response.status_code in {200, 403}, page
        opened += response.status_code == 200
        for secret in secrets:
            assert secret not in response.content.decode(), page
    assert opened > 40


def test_a_superuser_sees_no_secret_either(secrets: list[str]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", "x"))
    for page in pages():
        response = client.get(page)
        assert response.status_code == 200, page
        for secret in secrets:
            assert secret not in response.content.decode(), page


# What the portal's Content-Security-Policy would not run or show.
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", re.IGNORECASE)


def test_no_page_has_anything_inline(secrets: list[str]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", "x"))
    account = Account.objects.get()
    forms = [
        f"/admin/batches/batch/add/?account={account.uid}",
        "/admin/domains/domain/add/",
        "/admin/accounts/membership/add/",
        "/admin/accounts/user/add/",
        f"/admin/accounts/account/do/suspend/?ids={account.pk}",
        "/admin/search/?q=a",
    ]
    for page in [*pages(), *forms]:
        response = client.get(page)
        assert response.status_code == 200, page
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        found = INLINE.search(response.content.decode())
        assert found is None, (page, found)


# A session's key opens the portal, and the admin calls a row by its key: staff see their number alone.
# A keyword's use is on the keyword's page; streamed segments are part of a transcript, for a day.
# Sums of charges, which are made again from these.
# Members' own choices, what a page of theirs shows, and how a provider names a person.
WITHOUT_A_PAGE = {
    BatchEvent,
    ChatChannel,
    CorrectedWord,
    ExternalIdentity,
    KeywordUse,
    MemberSession,
    SettledUsage,
    StreamedSegments,
    Subscription,
    TaskAttempt,
    TaskTrace,
    UsageMark,
}


def test_every_own_table_has_a_page() -> None:
    own = {"accounts", "api", "storage", "domains", "batches", "speechportal"}
    tables = {
        model for model in _own_models() if model._meta.app_label in own and not model._meta.auto_created
    }
    assert tables - set(admin.site._registry) == WITHOUT_A_PAGE


def _own_models() -> list[type[models.Model]]:
    from django.apps import apps

    return list(apps.get_models())


def test_members_and_strangers_get_no_page() -> None:
    alice = factories.make_user("alice@example.com")
    factories.make_account(owner=alice)
    client = Client()
    assert client.get("/admin/").status_code == 302
    client.force_login(alice)
    assert client.get("/admin/", follow=True).status_code == 403
    staff_without_group = factories.make_user(is_staff=True)
    client.force_login(staff_without_group)
    assert client.get(reverse("admin:batches_task_changelist")).status_code == 403


def test_the_groups_are_as_migrate_makes_them() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == {
        "viewer",
        "support",
        "finance",
        "administrator",
    }
    viewer = member_of("viewer")
    assert viewer.has_perm("batches.view_task")
    assert not viewer.has_perm("batches.view_storedtranscript")
    assert not any(re.search(r"\.(add|change|delete)_", each) for each in viewer.get_all_permissions())
    assert member_of("finance").has_perm("accounts.change_price")
    assert not member_of("finance").has_perm("accounts.suspend_account")
    assert not member_of("support").has_perm("accounts.change_price")
    assert member_of("administrator").has_perm("accounts.erase_account")


def test_sign_ins_that_were_refused_are_found_by_person_and_by_place() -> None:
    Client(REMOTE_ADDR="192.0.2.9").post("/login/", {"username": "Alice@example.com", "password": "wrong"})
    client = signed_in("support")
    for text, found in [("192.0.2.9", 2), ("192.0.2.8", 0), ("alice@example.com", 2), ("acc_x", 0)]:
        page = client.get(reverse("admin:accounts_signinfailures_changelist"), {"q": text})
        assert len(page.context["cl"].result_list) == found, text


def test_the_lists_lead_to_their_neighbours(secrets: list[str]) -> None:
    client = signed_in("support")
    account = Account.objects.get()
    page = client.get(reverse("admin:accounts_account_change", args=[account.pk])).content.decode()
    assert f"{reverse('admin:batches_batch_changelist')}?account={account.uid}" in page
    other = factories.make_batch()
    batches = client.get(reverse("admin:batches_batch_changelist"), {"account": account.uid}).content.decode()
    assert other.uid not in batches
    assert Task.unscoped.filter(account=account).first().batch.uid in batches  # type: ignore[union-attr] # made above
    assert Membership.objects.filter(account=account).exists()


def test_lists_have_what_the_script_of_their_actions_needs() -> None:
    """Django's script counts the selected rows in an element, and stops with an error where there is none."""
    factories.make_task(factories.make_batch(), state="failed")
    page = signed_in("support").get(reverse("admin:batches_task_changelist")).content.decode()
    assert "admin/js/actions" in page
    assert 'class="action-counter"' in page
