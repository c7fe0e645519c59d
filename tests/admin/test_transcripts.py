"""Transcripts in admin: readable only while the account allows it, and every reading is audited."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from speechportal.accounts.models import AuditEntry, Membership, User
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
REASON = "They say that it stops in the middle."


@pytest.fixture
def transcript() -> StoredTranscript:
    task = factories.make_task(factories.make_batch(), state="completed")
    said = Transcript("en", 1.0, 1000, [Segment(0, 1000, "Nobody else should hear this.")])
    return StoredTranscript.unscoped.create(task=task, stage="words", document=said.to_dict())


def read(client: Client, transcript: StoredTranscript) -> tuple[int, bool]:
    """Status of the response, and whether it contains the transcript."""
    response = client.post(f"/admin/batches/storedtranscript/{transcript.pk}/read/", {"reason": REASON})
    return response.status_code, "Nobody else should hear this." in response.content.decode()


def allow(task: Task, **time: int) -> None:
    account = task.account
    account.support_reads_until = timezone.now() + timedelta(**time)
    account.save()


@pytest.mark.parametrize("group", ["support", "administrator"])
def test_hidden_unless_the_account_allows_it(group: str, transcript: StoredTranscript) -> None:
    client = signed_in(group)
    assert read(client, transcript) == (403, False)
    allow(transcript.task, days=-1)
    assert read(client, transcript) == (403, False)
    assert not AuditEntry.unscoped.filter(action="task.transcript_read").exists()
    allow(transcript.task, days=1)
    assert read(client, transcript) == (200, True)
    entry = AuditEntry.unscoped.get(action="task.transcript_read")
    assert (entry.account, entry.reason) == (transcript.task.account, REASON)
    assert entry.target_uid == transcript.task.uid


def test_not_even_a_superuser_reads_without_leave(transcript: StoredTranscript) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com"))
    assert read(client, transcript) == (403, False)


def test_viewers_and_finance_never_read(transcript: StoredTranscript) -> None:
    allow(transcript.task, days=1)
    for group in ("viewer", "finance"):
        assert read(signed_in(group), transcript) == (403, False)


def test_nothing_is_shown_before_the_reason_is_given(transcript: StoredTranscript) -> None:
    allow(transcript.task, days=1)
    client = signed_in("support")
    page = client.get(f"/admin/batches/storedtranscript/{transcript.pk}/read/")
    assert "Nobody else" not in page.content.decode()
    page = client.post(f"/admin/batches/storedtranscript/{transcript.pk}/read/", {"reason": ""})
    assert "Nobody else" not in page.content.decode()
    assert not AuditEntry.unscoped.filter(action="task.transcript_read").exists()


def test_an_owner_allows_it_for_a_time_and_takes_it_back(client: Client) -> None:
    alice, manager = factories.make_user("alice@example.com"), factories.make_user("bob@example.com")
    account = factories.make_account(owner=alice)
    factories.add_member(account, manager, Membership.Role.MANAGER)
    client.force_login(manager)
    assert client.post("/account/privacy/", {"support": "7"}).status_code == 403
    client.force_login(alice)
    assert client.post("/account/privacy/", {"support": "7"}).status_code == 302

    def now() -> tuple[bool, int | None]:
        account.refresh_from_db()
        return account.support_may_read, account.transcript_days

    assert now() == (True, None)
    client.post("/account/privacy/", {"support": "", "transcript_days": "90"})
    assert now() == (True, 90)
    client.post("/account/privacy/", {"support": "0"})
    assert now() == (False, None)
    assert AuditEntry.unscoped.filter(action="account.changed", actor=alice).count() == 3
