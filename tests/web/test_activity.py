"""Activity: a batch's page lists changes to the batch, its tasks and deliveries; a task's page its own."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.models import Batch, Task
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.webhooks import redelivery
from speechportal.accounts.audit.actor import Actor, Kind, acting_as
from speechportal.accounts.models import Membership, User
from speechportal.platform import maintenance
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def batch(alice: User) -> Batch:
    return make_batch(make_account(owner=alice), name="calls", webhook_url="https://hooks.example.com/")


def page(user: User, path: str) -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_tells_of_the_batch_and_of_what_is_part_of_it(alice: User, batch: Batch) -> None:
    other = make_batch(batch.account, name="another one")
    failed, stranger = (make_task(each, state=Task.State.FAILED) for each in (batch, other))
    delivery = redelivery.send_test(batch=batch)
    with acting_as(Actor(Kind.MEMBER, alice.pk, address="192.0.2.9")):
        task_services.pause_batch(batch=batch)
        task_services.retry_task(task=failed)
        task_services.retry_task(task=stranger)
        redelivery.redeliver(delivery=delivery)
    bob = make_user("bob@example.com")
    add_member(batch.account, bob, Membership.Role.VIEWER)
    text = page(bob, f"/batches/{batch.uid}/activity/")
    for told in ("Batch changed", "Task retried", failed.name, "sent again", "192.0.2.9", alice.email):
        assert told in text, told
    assert text.count("Task retried") == 1
    assert "another one" not in text


def test_a_deleted_batch_s_is_still_there(alice: User, batch: Batch) -> None:
    batch_services.delete_batch(batch=batch)
    assert "Batch deleted" in page(alice, f"/batches/{batch.uid}/activity/")


def test_a_task_s_page_says_who_did_what_when(alice: User, batch: Batch) -> None:
    task = make_task(batch, state=Task.State.FAILED)
    with acting_as(Actor(Kind.MEMBER, alice.pk)):
        task_services.retry_task(task=task)
    text = page(alice, f"/batches/{batch.uid}/tasks/{task.uid}/")
    assert re.search(rf'Retried\s*<span class="sub">{alice.email}</span>', text)


def test_its_queries_do_not_grow_with_it(alice: User, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "KEPT_SECONDS", 0)  # asked at each page, not at some
    client = Client()
    client.force_login(alice)
    client.get("/")
    counts = []
    for _ in range(2):
        with acting_as(Actor(Kind.MEMBER, alice.pk)):
            for _ in range(5):
                task_services.retry_task(task=make_task(batch, state=Task.State.FAILED))
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/batches/{batch.uid}/activity/")
        counts.append(len(queries))
    assert counts[0] == counts[1]
