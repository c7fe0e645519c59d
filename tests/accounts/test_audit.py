"""Audit trail: which actions are recorded, with which actor, and that entries cannot be changed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from batches.services import batches as batch_services
from domains.models import Domain
from domains.services import delete_domain, update_domain
from speechportal.accounts.audit.actor import Actor, Kind, acting_as, with_reason
from speechportal.accounts.audit.trail import HIDDEN, AppendOnly, record
from speechportal.accounts.models import AuditEntry
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db


def entries(**conditions: object) -> list[AuditEntry]:
    return list(AuditEntry.unscoped.filter(**conditions).order_by("pk"))


def test_a_change_is_told_with_before_and_after_who_and_why() -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    actor = Actor(Kind.STAFF, alice.pk, address="192.0.2.7", request_id="request-1")
    with acting_as(actor), with_reason("They asked for it by mail."):
        account.batch_limit = 25
        account.price_per_file = Decimal("0.10")  # As it was.
        account.save()
    (entry,) = entries(action="account.changed")
    assert entry.changes == {"batch_limit": [10, 25]}
    assert (entry.account, entry.actor, entry.actor_kind) == (account, alice, Kind.STAFF)
    assert (entry.address, entry.request_id) == ("192.0.2.7", "request-1")
    assert entry.reason == "They asked for it by mail."
    assert entry.target_uid == account.uid


def test_what_runs_without_a_request_is_the_system() -> None:
    domain = factories.make_domain(factories.make_account())
    update_domain(domain=domain, name="Calls")
    (entry,) = entries(action="domain.changed")
    assert entry.actor_kind == Kind.SYSTEM
    assert entry.changes["name"][1] == "Calls"


def test_of_a_webhook_url_the_host_alone_is_told() -> None:
    batch = factories.make_batch(webhook_url="https://one.example/hooks/secret-1")
    batch.webhook_url = "https://two.example/hooks?key=secret-2"
    batch.save()
    (entry,) = entries(action="batch.changed")
    assert entry.changes == {"webhook_url": ["https://one.example/…", "https://two.example/…"]}
    batch.webhook_url = ""
    batch.save()
    assert entries(action="batch.changed")[1].changes == {"webhook_url": ["https://two.example/…", ""]}


def test_saving_without_a_difference_writes_nothing() -> None:
    account = factories.make_account()
    before = AuditEntry.unscoped.count()
    account.save()
    assert AuditEntry.unscoped.count() == before


def test_deleting_is_told() -> None:
    account = factories.make_account()
    batch = factories.make_batch(account)
    domain = batch.domain
    assert isinstance(domain, Domain)
    batch_services.delete_batch(batch=batch)
    (entry,) = entries(action="batch.deleted")
    assert entry.target_uid == batch.uid
    assert entry.changes["domain"] == [f"{domain} ({domain.uid})", None]
    delete_domain(domain=domain)
    assert entries(action="domain.deleted")[0].account == account


def test_a_refused_change_leaves_no_entry() -> None:
    account = factories.make_account()
    before = AuditEntry.unscoped.count()
    account.name = "Other"
    with transaction.atomic():
        account.save()
        assert AuditEntry.unscoped.count() == before + 1
        transaction.set_rollback(True)
    assert AuditEntry.unscoped.count() == before


def test_a_secret_is_never_in_an_entry() -> None:
    user = factories.make_user("bob@example.com", "a first password")
    user.set_password("canary-password")
    user.save()
    (entry,) = entries(action="user.changed")
    assert entry.changes == {"password": [HIDDEN, HIDDEN]}
    everything = " ".join(str(each.changes) for each in AuditEntry.unscoped.all())
    assert user.password not in everything
    assert "canary" not in everything


def test_machine_fields_are_not_people_s_changes() -> None:
    batch = factories.make_batch()
    before = AuditEntry.unscoped.count()
    batch.last_task_order += 1
    batch.save()
    assert AuditEntry.unscoped.count() == before


def test_an_entry_cannot_be_changed_or_deleted() -> None:
    entry = record("batch.polled", factories.make_batch())
    entry.reason = "Another."
    with pytest.raises(AppendOnly):
        entry.save()
    with pytest.raises(AppendOnly):
        entry.delete()
    with pytest.raises(AppendOnly):
        AuditEntry.unscoped.all().delete()
    with pytest.raises(AppendOnly):
        AuditEntry.unscoped.filter(pk=entry.pk).update(reason="Another.")
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_auditentry SET reason = 'Another.'")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite cannot tell retention from others")
def test_postgresql_deletes_entries_for_retention_alone() -> None:
    entry = record("batch.polled", factories.make_batch())
    later = timezone.now() + timedelta(minutes=1)
    assert entry.account is not None
    own = AuditEntry.unscoped.filter(account=entry.account)
    assert own.expire(later) > 0
    record("batch.polled", factories.make_batch(entry.account))
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_auditentry")
    assert own.exists()


def test_the_row_of_a_member_s_account_is_found_along_its_path() -> None:
    batch = factories.make_batch()
    task = factories.make_task(batch)
    assert record("task.retried", task).account == batch.account


def test_a_request_names_the_member_and_the_address(client: Client) -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    client.force_login(alice)
    fields = {"name": "Calls", "code": "calls", "plan": "basic", "keywords": ""}
    response = client.post("/domains/new/", fields, REMOTE_ADDR="198.51.100.4")
    assert response.status_code == 302
    (entry,) = entries(action="domain.created")
    assert (entry.actor_kind, entry.actor, entry.account) == (Kind.MEMBER, alice, account)
    assert entry.address == "198.51.100.4"
    assert entry.request_id == response["X-Request-ID"]
