"""Support staff see who acknowledged a failure, when, and with what note."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

import pytest
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch, Delivery, Task, Webhook
from batches.services import acknowledgements, selected_tasks
from batches.status import batch_status
from batches.status.failures import Failure
from batches.webhooks import endpoint
from speechportal.accounts.audit.actor import Actor, Kind, acting_as
from speechportal.accounts.models import Membership, User
from tests.admin.staff import signed_in
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user
from tests.webhooks.makers import make_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def bob() -> User:
    return make_user("bob@example.com")


@pytest.fixture
def batch(alice: User, bob: User) -> Batch:
    account = make_account(owner=alice)
    add_member(account, bob, Membership.Role.MANAGER)
    return make_batch(account, name="calls", webhook_url="https://hooks.example.com/")


def by(user: User) -> AbstractContextManager[None]:
    return acting_as(Actor(Kind.MEMBER, user.pk))


def summary(row: Model) -> dict[str, str]:
    """Summary on the admin page of a row, without its tags."""
    page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    html = signed_in("viewer").get(page).content.decode()
    pairs = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL)
    return {label: re.sub(r"<[^>]+>", "", value).strip() for label, value in pairs}


def test_each_failure_names_its_own_member(batch: Batch, alice: User, bob: User) -> None:
    batch_status.set_error(batch.pk, Failure("wrong_credentials", "The storage refuses the key.", {}))
    webhook = endpoint.for_batch(batch)
    Webhook.unscoped.filter(pk=webhook.pk).update(state="paused", stopped_at=timezone.now())
    delivery = make_delivery(batch)
    Delivery.unscoped.filter(pk=delivery.pk).update(state="failed", ended_at=timezone.now())
    one, two = make_task(batch, state="failed"), make_task(batch, state="failed")
    rows: list[Batch | Webhook | Delivery | Task] = [batch, webhook, delivery, one, two]
    for row in rows:
        row.refresh_from_db()
        assert "Acknowledged" not in summary(row)
    with by(alice):
        selected_tasks.acknowledge(batch=batch, tasks=Task.unscoped.filter(pk=two.pk), note="both known")
    with by(bob):
        selected_tasks.acknowledge_task(task=one, note="a test file")
        acknowledgements.acknowledge_webhook(batch=batch, note="the receiver moves")
    with by(alice):
        acknowledgements.acknowledge_error(batch=batch, note="the key is <renewed>")
    noted: dict[Batch | Webhook | Delivery | Task, tuple[User, str]] = {
        batch: (alice, "the key is &lt;renewed&gt;"),
        webhook: (bob, "the receiver moves"),
        delivery: (bob, "the receiver moves"),
        one: (bob, "a test file"),
        two: (alice, "both known"),
    }
    for row, (user, note) in noted.items():
        shown = summary(row)
        assert (shown["Acknowledged by"], shown["Note"]) == (user.email, note)
        row.refresh_from_db()
        assert row.acknowledged_at
        assert shown["Acknowledged"] == f"{timezone.localtime(row.acknowledged_at):%Y-%m-%d %H:%M:%S}"


def test_members_see_it_too(batch: Batch, alice: User, bob: User) -> None:
    delivery = make_delivery(batch)
    Delivery.unscoped.filter(pk=delivery.pk).update(state="failed", ended_at=timezone.now())
    with by(bob):
        acknowledgements.acknowledge_webhook(batch=batch, note="known")
    client = Client()
    client.force_login(alice)
    page = client.get(reverse("batches:delivery", args=[batch.uid, delivery.uid])).content.decode()
    assert "by bob@example.com. known" in " ".join(page.split())
