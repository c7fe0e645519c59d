"""Acknowledged errors of batches and webhooks leave Home."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from batches.models import Batch, Delivery, Webhook
from batches.models.notifications import Topic
from batches.notifications import digest
from batches.operations import dashboard
from batches.services import acknowledgements, selected_tasks
from batches.status import batch_status
from batches.status.failures import Failure
from batches.webhooks import endpoint, redelivery
from speechportal.accounts.models import AuditEntry, Membership, User
from speechportal.accounts.tokens import api_tokens
from tests.api.client import Api
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
REFUSED = Failure("wrong_credentials", "The storage refuses the key.", {})
GONE = Failure("bucket_missing", "The bucket is gone.", {})


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def batch(alice: User) -> Batch:
    return make_batch(make_account(owner=alice), name="calls", webhook_url="https://hooks.example.com/")


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def titles(batch: Batch) -> list[str]:
    return [alert.title for alert in dashboard.alerts(batch.account)]


def told(batch: Batch, topic: Topic) -> list[str]:
    now = timezone.now()
    return digest.lines(batch.account, topic, digest.Span(now - timedelta(hours=1), now))


def failed_delivery(batch: Batch, about: str = "tsk_1") -> Delivery:
    return Delivery.unscoped.create(
        account=batch.account,
        batch=batch,
        event="task.completed",
        about=about,
        payload="{}",
        state=Delivery.State.FAILED,
        ended_at=timezone.now(),
    )


def test_an_error_is_acknowledged_with_a_note_until_another_comes(alice: User, batch: Batch) -> None:
    batch_status.set_error(batch.pk, REFUSED)
    [alert] = dashboard.alerts(batch.account)
    assert told(batch, Topic.STATUS) != []
    client = client_of(alice)
    assert alert.acknowledge in client.get("/").content.decode()
    assert 'name="note"' in client.get(alert.acknowledge).content.decode()
    page = client.post(alert.acknowledge, {"note": "the key is renewed\0"}, follow=True).content.decode()
    assert "Home no longer names it." in page
    assert "the key is renewed" in page
    assert alert.acknowledge not in page
    assert titles(batch) == []
    assert told(batch, Topic.STATUS) == []
    entry = AuditEntry.objects.for_account(batch.account).get(action="batch.acknowledged")
    assert (entry.actor, entry.changes["note"]) == (alice, [None, "the key is renewed"])
    again = client.post(alert.acknowledge, follow=True).content.decode()
    assert "nothing that nobody has acknowledged" in again
    batch_status.set_error(batch.pk, GONE)
    assert titles(batch) == ["calls"]
    batch.refresh_from_db()
    assert (batch.acknowledged_at, batch.acknowledgement) == (None, "")
    acknowledgements.acknowledge_error(batch=batch)
    batch_status.set_normal(batch.pk)
    batch_status.set_error(batch.pk, GONE)
    assert titles(batch) == ["calls"]


def test_a_stopped_webhook_is_acknowledged_until_sending_stops_again(alice: User, batch: Batch) -> None:
    webhook = endpoint.for_batch(batch)
    stop = {"state": Webhook.State.PAUSED, "stopped_at": timezone.now()}
    Webhook.unscoped.filter(pk=webhook.pk).update(**stop)
    failed_delivery(batch)
    [alert] = dashboard.alerts(batch.account)  # One, not another for its messages.
    client = client_of(alice)
    page = client.post(alert.acknowledge, {"note": "it is being moved"}, follow=True).content.decode()
    assert "it is being moved" in page
    assert titles(batch) == []
    endpoint.resume(batch=batch)
    assert titles(batch) == []
    Webhook.unscoped.filter(pk=webhook.pk).update(**stop)
    assert titles(batch) == ["Webhook of “calls”"]


def test_messages_that_were_not_accepted_are_named_and_acknowledged(alice: User, batch: Batch) -> None:
    endpoint.for_batch(batch)
    first = failed_delivery(batch)
    failed_delivery(batch, "tsk_2")
    [alert] = dashboard.alerts(batch.account)
    assert alert.detail == "2 messages were not accepted within the last 7 days."
    page = client_of(alice).get(alert.address).content.decode()
    assert alert.acknowledge in page
    acknowledgements.acknowledge_webhook(batch=batch, note="known")
    assert titles(batch) == []
    assert alert.acknowledge not in client_of(alice).get(alert.address).content.decode()
    redelivery.redeliver(delivery=first)
    assert (first.state, first.acknowledged_at, first.acknowledgement) == ("waiting", None, "")
    with pytest.raises(ValidationError) as refused:
        acknowledgements.acknowledge_webhook(batch=batch)
    assert refused.value.code == "nothing_to_acknowledge"


def test_mails_do_not_count_failures_that_were_acknowledged(batch: Batch) -> None:
    seen, _other = make_task(batch, state="failed"), make_task(batch, state="failed")
    assert "2 files of “calls” failed." in told(batch, Topic.FAILURES)[0]
    selected_tasks.acknowledge_task(task=seen)
    assert "1 file of “calls” failed." in told(batch, Topic.FAILURES)[0]


def test_viewers_and_strangers_acknowledge_nothing(batch: Batch) -> None:
    batch_status.set_error(batch.pk, REFUSED)
    viewer = make_user()
    add_member(batch.account, viewer, Membership.Role.VIEWER)
    address = f"/batches/{batch.uid}/acknowledge/error/"
    assert client_of(viewer).post(address).status_code == 403
    assert address not in client_of(viewer).get("/").content.decode()
    stranger = make_user()
    make_account(owner=stranger)
    assert client_of(stranger).post(address).status_code == 404
    assert titles(batch) == ["calls"]


def test_the_api_acknowledges(batch: Batch, alice: User) -> None:
    token, plain = api_tokens.create_token(
        account=batch.account, created_by=alice, name="test", scopes=["write"]
    )
    api = Api(batch.account, alice, token, plain)
    address = f"batches/{batch.uid}/acknowledge"
    assert api.post(address, {"subject": "error"}).json()["code"] == "nothing_to_acknowledge"
    batch_status.set_error(batch.pk, REFUSED)
    done = api.post(address, {"subject": "error", "note": "known"})
    assert (done.status_code, done.json()["acknowledgement"]) == (200, "known"), done.content
    assert api.post(address, {"subject": "error", "note": "x" * 501}).status_code == 422
    assert api.post(address, {"subject": "weather"}).status_code == 422
