"""Retention: transcripts and logs are deleted after their account's days, and nothing else is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Correction, Delivery, DeliveryAttempt, SearchText, StoredTranscript, Task
from batches.operations import jobs
from batches.operations.privacy import retention
from batches.recognition.transcript import Segment, Transcript
from speechportal.accounts.audit.trail import record
from speechportal.accounts.models import Account, AuditEntry
from speechportal.platform import queue
from speechportal.platform.models import NamedLease
from tests import factories

pytestmark = pytest.mark.django_db


def account_with(transcript_days: int | None = None, log_days: int | None = None) -> Account:
    return factories.make_account(transcript_days=transcript_days, log_days=log_days)


def heard(account: Account, days_ago: int) -> Task:
    """A task that ended so long ago, with all that recognition left of it, and a delivery."""
    ended = timezone.now() - timedelta(days=days_ago)
    batch = account.batches.first() or factories.make_batch(account)
    task = factories.make_task(batch, state="completed", finished_at=ended)
    document = Transcript("en", 1.0, 1000, [Segment(0, 1000, "Hello.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    SearchText.unscoped.get_or_create(task=task, defaults={"account": account, "text": "hello"})
    Correction.unscoped.create(task=task, lines={"0": {"text": "Hello!"}})
    delivery = Delivery.unscoped.create(
        account=account,
        batch=batch,
        task=task,
        event="task.completed",
        about=task.uid,
        payload="{}",
        state="delivered",
        created_at=ended,
        ended_at=ended,
    )
    DeliveryAttempt.unscoped.create(delivery=delivery, number=1, started_at=ended, status=200)
    return task


def kept(account: Account) -> set[int]:
    return set(StoredTranscript.unscoped.filter(task__account=account).values_list("task", flat=True))


@pytest.mark.parametrize(
    ("account_days", "batch_days", "left"),
    [(None, 10, [9]), (30, 10, [9]), (10, 30, [9]), (30, None, [9, 29]), (None, None, [9, 29, 31])],
)
def test_of_the_account_s_days_and_the_batch_s_the_fewer_count(
    account_days: int | None, batch_days: int | None, left: list[int]
) -> None:
    account = account_with(transcript_days=account_days)
    tasks = {days: heard(account, days) for days in (9, 29, 31)}
    account.batches.update(transcript_days=batch_days)
    other = account_with()
    stays = heard(other, 1000)
    retention.enforce()
    assert kept(account) == {tasks[days].pk for days in left}
    assert kept(other) == {stays.pk}


def test_days_beyond_all_times_break_nothing() -> None:
    account = account_with(transcript_days=2_000_000_000, log_days=2_000_000_000)
    task = heard(account, 10_000)
    retention.enforce()
    assert kept(account) == {task.pk}


def test_transcripts_go_after_their_days_and_the_task_stays() -> None:
    account = account_with(transcript_days=30)
    old, new = heard(account, 31), heard(account, 29)
    removed = retention.enforce()
    assert removed["transcripts"] == removed["corrections"] == removed["search texts"] == 1
    left = [StoredTranscript.unscoped.all(), Correction.unscoped.all(), SearchText.unscoped.all()]
    assert [list(rows.values_list("task", flat=True)) for rows in left] == [[new.pk]] * 3
    assert Task.unscoped.filter(pk=old.pk).exists()
    assert Delivery.unscoped.count() == 2


def test_without_days_everything_is_kept() -> None:
    heard(account_with(), 10_000)
    removed = retention.enforce()
    assert not any(removed.values())
    assert StoredTranscript.unscoped.exists()


def test_logs_go_after_their_days_but_not_what_is_still_to_be_sent() -> None:
    account = account_with(log_days=30)
    heard(account, 31)
    recent = heard(account, 1)
    waiting = Delivery.unscoped.get(task=recent)
    Delivery.unscoped.filter(pk=waiting.pk).update(
        state="waiting", ended_at=None, created_at=timezone.now() - timedelta(days=90)
    )
    retention.enforce()
    assert list(Delivery.unscoped.all()) == [waiting]
    assert list(DeliveryAttempt.unscoped.values_list("delivery", flat=True)) == [waiting.pk]
    assert StoredTranscript.unscoped.count() == 2


def test_the_audit_trail_goes_with_the_logs_and_only_of_this_account() -> None:
    ours, theirs = account_with(log_days=30), account_with()
    before = AuditEntry.unscoped.filter(account=theirs).count()
    record("account.exported", ours)
    retention.enforce(timezone.now() + timedelta(days=31))
    assert not AuditEntry.unscoped.filter(account=ours).exists()
    assert AuditEntry.unscoped.filter(account=theirs).count() == before


def test_many_rows_go_in_small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    account = account_with(transcript_days=1)
    for _ in range(7):
        heard(account, 2)
    monkeypatch.setattr(retention, "CHUNK", 2)
    assert retention.enforce()["transcripts"] == 7


def test_the_beat_has_it_done_once_a_day() -> None:
    jobs._forget()
    jobs._forget()
    from django_q.models import OrmQ

    asked = [message.func() for message in OrmQ.objects.all()]
    assert asked.count("batches.operations.jobs.enforce_retention") == 1
    assert NamedLease._default_manager.filter(name="retention").exists()
    assert queue.queued_messages("short") == len(asked)
