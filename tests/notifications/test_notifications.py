"""Notifications: who is told what, when, once, by mail and in chat channels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, BatchEvent, ChatChannel, Subscription, Task
from batches.notifications import chat, sending
from batches.services import notifications
from batches.status import batch_status
from batches.status.failures import Failure
from speechportal.accounts.models import Account, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
State = Task.State


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example.com"


@pytest.fixture
def account() -> Account:
    return make_account(name="Calls & Co")


@pytest.fixture
def alice(account: Account) -> User:
    user = make_user("alice@example.com")
    add_member(account, user, Membership.Role.OWNER)
    return user


@pytest.fixture
def batch(account: Account, alice: User) -> Batch:
    batch = make_batch(account, name="통화")
    for membership in account.memberships.all():
        sending.subscribe(membership)
    return batch


def membership_of(user: User) -> Membership:
    return user.memberships.get()


def let_time_pass(**span: int) -> None:
    """Move all stored times of notifications and events into the past."""
    age = timedelta(**span)
    for subscription in Subscription.unscoped.all():
        Subscription.unscoped.filter(pk=subscription.pk).update(told_until=subscription.told_until - age)
    for channel in ChatChannel.unscoped.all():
        ChatChannel.unscoped.filter(pk=channel.pk).update(told_until=channel.told_until - age)
    for event in BatchEvent.unscoped.all():
        BatchEvent.unscoped.filter(pk=event.pk).update(created_at=event.created_at - age)
    for task in Task.unscoped.exclude(finished_at=None):
        assert task.finished_at is not None
        Task.unscoped.filter(pk=task.pk).update(finished_at=task.finished_at - age)


def break_batch(batch: Batch) -> None:
    batch_status.set_error(batch.pk, Failure("wrong_credentials", "The storage refuses the key."))


def test_an_error_is_mailed_once_and_its_end_too(batch: Batch) -> None:
    break_batch(batch)
    let_time_pass(minutes=2)
    assert sending.send_due() == 1
    assert sending.send_due() == 0
    (told,) = mail.outbox
    assert told.to == ["alice@example.com"]
    assert "통화" in told.body
    assert "The storage refuses the key." in told.body
    assert f"/a/{batch.account.uid}/batches/{batch.uid}/" in told.body
    batch_status.set_normal(batch.pk)
    let_time_pass(minutes=2)
    assert sending.send_due() == 1
    assert "back to Normal" in mail.outbox[1].body


def test_an_error_that_stays_is_one_event(batch: Batch) -> None:
    for _ in range(3):
        break_batch(batch)
    assert BatchEvent.unscoped.count() == 1


def test_failures_are_gathered(batch: Batch, alice: User) -> None:
    notifications.choose(membership=membership_of(alice), frequencies={"failures": "now"})
    for number in range(30):
        make_task(batch, f"{number}.wav", state=State.FAILED)
    let_time_pass(minutes=3)
    assert sending.send_due() == 0  # They come in swarms.
    let_time_pass(minutes=4)
    assert sending.send_due() == 1
    (told,) = mail.outbox
    assert "30 files of “통화” failed." in told.body
    assert "30 × " in told.body
    assert "?state=failed" in told.body


def test_each_member_chooses(batch: Batch, account: Account, alice: User) -> None:
    vera = make_user("vera@example.com", language="ko")
    add_member(account, vera, Membership.Role.VIEWER)
    sending.subscribe(membership_of(vera))
    notifications.choose(membership=membership_of(alice), frequencies={"status": "never"})
    notifications.choose(membership=membership_of(vera), frequencies={"status": "hourly"})
    break_batch(batch)
    let_time_pass(minutes=30)
    assert sending.send_due() == 0
    let_time_pass(minutes=45)
    assert sending.send_due() == 1
    (told,) = mail.outbox
    assert told.to == ["vera@example.com"]
    assert "오류" in told.body


def test_nobody_hears_of_other_accounts(batch: Batch) -> None:
    other = make_account(name="Other")
    charlie = make_user("charlie@example.com")
    add_member(other, charlie, Membership.Role.OWNER)
    sending.subscribe(membership_of(charlie))
    break_batch(batch)
    let_time_pass(minutes=2)
    sending.send_due()
    assert [told.to for told in mail.outbox] == [["alice@example.com"]]


def test_a_batch_that_is_through(batch: Batch, alice: User) -> None:
    notifications.choose(membership=membership_of(alice), frequencies={"finished": "now"})
    task = make_task(batch, state=State.COMPLETED)
    Batch.unscoped.filter(pk=batch.pk).update(last_finished_at=timezone.now() - timedelta(minutes=7))
    waiting = make_task(batch)
    let_time_pass(minutes=2)
    assert sending.send_due() == 0
    Task.unscoped.filter(pk=waiting.pk).update(state=State.CANCELLED, finished_at=timezone.now())
    let_time_pass(minutes=2)
    assert sending.send_due() == 1, task
    assert "has recognised all files" in mail.outbox[0].body


class Receiver(BaseHTTPRequestHandler):
    status = 200
    bodies: list[Any] = []

    def do_POST(self) -> None:
        type(self).bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def receiver(settings: Settings) -> Iterator[str]:
    Receiver.status, Receiver.bodies = 200, []
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.OUTBOUND_NETWORKS, settings.OUTBOUND_HTTP = ["127.0.0.0/8"], True
    settings.OUTBOUND_PORTS = [server.server_port]
    yield f"http://127.0.0.1:{server.server_port}/hook/secret"
    server.shutdown()
    server.server_close()


def test_a_channel_is_told_until_it_takes_it(batch: Batch, account: Account, receiver: str) -> None:
    channel = notifications.add_channel(
        account=account, name="ops", service="slack", url=receiver, topics=["status"]
    )
    assert "secret" not in channel.encrypted_url
    break_batch(batch)
    let_time_pass(minutes=3)
    Receiver.status = 500
    sending.send_due()
    channel.refresh_from_db()
    assert channel.problem == "HTTP 500"
    Receiver.status = 200
    sending.send_due()
    sending.send_due()
    channel.refresh_from_db()
    assert channel.problem == ""
    assert len(Receiver.bodies) == 2
    assert "The storage refuses the key." in Receiver.bodies[1]["text"]


@pytest.mark.parametrize("service", ChatChannel.Service.values)
def test_messages_mention_nobody_and_stay_within_limits(service: str) -> None:
    body = json.dumps(chat.payload(service, "<!channel> @everyone " + "x" * 50_000), ensure_ascii=False)
    assert len(body) < 25_000
    assert "<!channel>" not in body or service != "slack" or '"plain_text"' in body
    if service == "discord":
        assert '"allowed_mentions": {"parse": []}' in body
        assert len(chat.payload(service, "x" * 5000)["content"]) == 2000  # type: ignore[arg-type] # a text


def test_an_inner_address_is_refused(account: Account) -> None:
    with pytest.raises(Exception, match="url"):
        notifications.add_channel(
            account=account, name="x", service="slack", url="http://127.0.0.1/", topics=["status"]
        )
    assert not ChatChannel.unscoped.exists()


def test_the_page(batch: Batch, alice: User, receiver: str) -> None:
    client = Client()
    client.force_login(alice)
    address = reverse("notifications")
    page = client.get(address, follow=True).content.decode()
    assert "A batch turns to Error" in page
    client.post(
        address, {"status": "daily", "failures": "never", "finished": "never", "budget": "never"}, follow=True
    )
    assert {each.frequency for each in Subscription.unscoped.all()} == {"daily", "never"}
    body = {"name": "ops", "service": "teams", "url": receiver, "topics": ["status", "failures"]}
    added = client.post(reverse("notification_channel_add"), body, follow=True).content.decode()
    assert "ops" in added
    assert receiver not in added
    channel = ChatChannel.unscoped.get()
    client.post(reverse("notification_channel_try", args=[channel.uid]))
    assert Receiver.bodies[0]["type"] == "message"
    again = client.post(reverse("notification_channel_add"), body, follow=True).content.decode()
    assert "already" in again
    client.post(reverse("notification_channel_remove", args=[channel.uid]))
    assert not ChatChannel.unscoped.exists()
