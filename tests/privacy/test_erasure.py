"""Erasure of an account or a person: what is deleted, what is kept, and that others lose nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from batches.models import Batch, Charge, SearchText, StoredTranscript, Task
from batches.operations.privacy.erasure import close_account, erase_person
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import endpoint
from batches.webhooks.events import WebhookTest
from batches.webhooks.outbox import announce
from domains.models import Domain
from speechportal.accounts.models import Account, ApiToken, AuditEntry, Membership, User
from speechportal.accounts.tokens import api_tokens
from speechportal.storage.models import Connection
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db


def furnished(name: str, email: str) -> Account:
    """An account with one of everything, one of its tasks charged."""
    owner = factories.make_user(email, "a long enough password")
    account = factories.make_account(name, owner)
    api_tokens.create_token(account=account, created_by=owner, name="build", scopes=["read"])
    batch = factories.make_batch(account, name=f"{name} calls", webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    for state in ("completed", "failed", "waiting"):
        task = factories.make_task(batch, f"{name}-{state}.wav", state=state)
        announce(batch, WebhookTest(task.uid, "test", state))
        document = Transcript("en", 1.0, 1000, [Segment(0, 1000, f"{name} spoke.")])
        StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
        if state == "completed":
            Charge.unscoped.create(
                account=account,
                batch=batch,
                task=task,
                batch_name=batch.name,
                input_name=task.name,
                media_duration=1,
                amount=Decimal("0.1"),
                currency="USD",
            )
    return account


def everything_about(account: Account) -> dict[str, int]:
    return {
        model.__name__: model._base_manager.filter(**{path: account}).count()
        for model, path in [
            (Batch, "account"),
            (Task, "account"),
            (StoredTranscript, "task__account"),
            (SearchText, "account"),
            (Charge, "account"),
            (Domain, "account"),
            (Connection, "account"),
            (ApiToken, "account"),
            (Membership, "account"),
        ]
    }


def test_an_account_is_closed_and_its_books_stay() -> None:
    ours, theirs = furnished("Ours", "alice@example.com"), furnished("Theirs", "bob@example.com")
    before = everything_about(theirs)
    connection = Connection.unscoped.get(account=ours)
    report = close_account(account=ours)
    left = everything_about(ours)
    assert left == {**dict.fromkeys(left, 0), "Batch": 1, "Task": 1, "Charge": 1}
    assert everything_about(theirs) == before
    task, batch = Task.unscoped.get(account=ours), Batch.unscoped.get(account=ours)
    assert (task.name, task.input_key, task.connection) == (task.uid, task.uid, None)
    assert (batch.name, batch.input_path, batch.webhook_url) == (batch.uid, "", "")
    ours.refresh_from_db()
    assert ours.closed_at is not None
    assert ours.is_suspended
    assert "Ours" not in ours.name
    assert Charge.unscoped.get(account=ours).input_name == "Ours-completed.wav"
    text = "\n".join(report.lines())
    assert "3 transcripts" in text
    assert "1 charges" in text
    assert connection.place in text
    assert Path(connection.place).is_dir()
    assert AuditEntry.unscoped.filter(action="account.erased", account=ours).exists()


def test_closing_twice_is_fine() -> None:
    account = furnished("Ours", "alice@example.com")
    close_account(account=account)
    report = close_account(account=account)
    assert not any(report.removed.values())


def test_a_task_in_progress_is_stopped_first() -> None:
    batch = factories.make_batch()
    factories.claimed(batch)
    with pytest.raises(ValidationError, match="still being stopped"):
        close_account(account=batch.account)
    task = Task.unscoped.get()
    assert task.state == Task.State.CANCELLING
    batch.account.refresh_from_db()
    assert batch.account.is_suspended
    assert batch.account.closed_at is None


def test_a_person_is_erased_and_the_account_goes_on(client: Client) -> None:
    account = furnished("Ours", "alice@example.com")
    bob = factories.make_user("bob@example.com", "a long enough password", first_name="Bob")
    factories.add_member(account, bob, Membership.Role.MANAGER)
    api_tokens.create_token(account=account, created_by=bob, name="bob's", scopes=["read"])
    client.force_login(bob)
    report = erase_person(user=bob)
    bob.refresh_from_db()
    assert "bob" not in f"{bob.email}{bob.first_name}{bob.last_name}".lower()
    assert not bob.is_active
    assert not bob.has_usable_password()
    assert account.memberships.count() == 1
    assert ApiToken.unscoped.filter(account=account).count() == 1
    assert client.get("/profile/").status_code == 302
    assert report.removed["sessions"] == 1
    newest = AuditEntry.unscoped.order_by("-pk")[:3]
    assert "bob@example.com" not in " ".join(f"{entry.target_name} {entry.changes}" for entry in newest)


def test_an_account_s_only_owner_is_not_erased() -> None:
    furnished("Ours", "alice@example.com")
    alice = User.objects.get(email="alice@example.com")
    with pytest.raises(ValidationError, match="only owner"):
        erase_person(user=alice)
    assert User.objects.get(pk=alice.pk).is_active


def test_the_commands_ask_for_a_reason_and_report(capsys: pytest.CaptureFixture[str]) -> None:
    account = furnished("Ours", "alice@example.com")
    with pytest.raises(CommandError):
        call_command("close_account", account.uid, "--yes")
    with pytest.raises(CommandError, match="no account"):
        call_command("close_account", "acc_nothing", "--yes", "--reason", "Asked for.")
    call_command("close_account", account.uid, "--yes", "--reason", "Asked for by mail.")
    assert "connections with their credentials" in capsys.readouterr().out
    assert AuditEntry.unscoped.filter(action="account.erased", reason="Asked for by mail.").exists()
    call_command("erase_person", "Alice@example.com", "--yes", "--reason", "Asked for by mail.")
    assert "memberships" not in capsys.readouterr().out  # They went with the account.


def test_only_administrators_close_accounts_and_erase_people() -> None:
    account = furnished("Ours", "alice@example.com")
    url = f"/admin/accounts/account/do/close/?ids={account.pk}"
    for group in ("viewer", "support", "finance"):
        assert signed_in(group).post(url, {"reason": "Asked for."}).status_code == 403
    response = signed_in("administrator").post(url, {"reason": "Asked for."}, follow=True)
    assert "connections with their credentials" in response.content.decode()
    account.refresh_from_db()
    assert account.closed_at is not None
