"""Acknowledged failures leave Home, until their task fails again."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from batches.models import Batch, Task
from batches.operations import dashboard
from batches.services import selected_tasks
from batches.services import tasks as task_services
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from speechportal.accounts.models import AuditEntry, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
State = Task.State
BAD = Failure("not_media", "This is not an audio or video file.", {})


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def batch(alice: User) -> Batch:
    return make_batch(make_account(owner=alice), name="calls")


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def failures_on_home(batch: Batch) -> list[str]:
    return [alert.detail for alert in dashboard.alerts(batch.account) if alert.kind == "failed"]


def test_one_failure_is_acknowledged_on_its_page_and_leaves_home(alice: User, batch: Batch) -> None:
    task, other = make_task(batch, state=State.FAILED), make_task(batch, state=State.FAILED)
    assert failures_on_home(batch) == ["2 files failed within the last 7 days."]
    client = client_of(alice)
    page = reverse("batches:task", args=[batch.uid, task.uid])
    assert "acknowledge/" in client.get(page).content.decode()
    answer = client.post(
        reverse("batches:task_acknowledge", args=[batch.uid, task.uid]),
        {"note": " a test file\0 "},
        follow=True,
    )
    text = answer.content.decode()
    assert "The failure was acknowledged." in text
    assert f"by {alice.email}. a test file" in " ".join(text.split())
    assert "a test file" in text
    task.refresh_from_db()
    assert (task.state, task.acknowledgement) == (State.FAILED, "a test file")
    assert failures_on_home(batch) == ["1 file failed within the last 7 days."]
    entry = AuditEntry.objects.for_account(batch.account).get(action="task.acknowledged")
    assert (entry.target_uid, entry.actor, entry.changes) == (
        task.uid,
        alice,
        {"note": [None, "a test file"]},
    )
    other.refresh_from_db()
    assert other.acknowledged_at is None


def test_all_failures_of_a_batch_are_acknowledged_from_home(alice: User, batch: Batch) -> None:
    for _ in range(3):
        make_task(batch, state=State.FAILED)
    waiting = make_task(batch)
    client = client_of(alice)
    [alert] = [each for each in dashboard.alerts(batch.account) if each.acknowledge]
    assert alert.acknowledge.replace("&", "&amp;") in client.get("/").content.decode()
    question = client.get(alert.acknowledge).content.decode()
    assert "3 tasks of all that match the filter" in question
    assert 'name="note"' in question
    done = client.post(
        alert.acknowledge.split("?")[0], {"all": "1", "state": "failed", "note": "known"}, follow=True
    )
    assert "3 failures were acknowledged." in done.content.decode()
    assert failures_on_home(batch) == []
    assert set(Task.unscoped.exclude(pk=waiting.pk).values_list("acknowledgement", flat=True)) == {"known"}
    assert Task.unscoped.get(pk=waiting.pk).acknowledged_at is None


def test_a_task_that_fails_again_is_named_again(batch: Batch) -> None:
    task = make_task(batch, state=State.FAILED)
    selected_tasks.acknowledge_task(task=task, note="seen")
    assert failures_on_home(batch) == []
    task_services.retry_task(task=task)
    task.refresh_from_db()
    assert (task.acknowledged_at, task.acknowledgement) == (None, "")
    claim = scheduling.claim_next("test")
    assert claim is not None
    lifecycle.fail(claim, BAD)
    assert failures_on_home(batch) == ["1 file failed within the last 7 days."]


def test_what_has_not_failed_or_was_acknowledged_is_refused(batch: Batch) -> None:
    failed, waiting = make_task(batch, state=State.FAILED), make_task(batch)
    selected_tasks.acknowledge_task(task=failed, note="first")
    for task in (failed, waiting):
        with pytest.raises(ValidationError) as refused:
            selected_tasks.acknowledge_task(task=task, note="second")
        assert refused.value.code == "task_not_acknowledgeable"
    failed.refresh_from_db()
    assert failed.acknowledgement == "first"
    every = Task.objects.for_account(batch.account)
    assert selected_tasks.acknowledge(batch=batch, tasks=every) == selected_tasks.Outcome(0, 2)


def test_a_note_has_a_limit(batch: Batch) -> None:
    task = make_task(batch, state=State.FAILED)
    with pytest.raises(ValidationError) as refused:
        selected_tasks.acknowledge_task(task=task, note="x" * 501)
    assert refused.value.code == "note_too_long"
    task.refresh_from_db()
    assert task.acknowledged_at is None


def test_viewers_see_the_note_and_cannot_acknowledge(batch: Batch) -> None:
    viewer = make_user()
    add_member(batch.account, viewer, Membership.Role.VIEWER)
    task, other = make_task(batch, state=State.FAILED), make_task(batch, state=State.FAILED)
    selected_tasks.acknowledge_task(task=task, note="a known fault")
    client = client_of(viewer)
    assert "a known fault" in client.get(f"/batches/{batch.uid}/tasks/{task.uid}/").content.decode()
    assert "acknowledge/" not in client.get(f"/batches/{batch.uid}/tasks/{other.uid}/").content.decode()
    assert "acknowledge/" not in client.get("/").content.decode()
    answer = client.post(reverse("batches:task_acknowledge", args=[batch.uid, other.uid]))
    assert answer.status_code == 403
