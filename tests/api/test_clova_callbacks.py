"""Callbacks of CLOVA requests: one unsigned message in the outbox, sent like every other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Batch, ClientRequest, Delivery, DeliveryAttempt, Task, Webhook
from batches.operations import jobs
from batches.operations.privacy import retention
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from batches.webhooks import callbacks, redelivery
from batches.webhooks.sender import FIRST_WIDTH, Sender
from speechportal.accounts.models import Account
from speechportal.platform import queue
from tests.admin.staff import signed_in
from tests.api.client import Api
from tests.api.clova_calls import Receiver, make_clova_batch, upload
from tests.api.work import complete
from tests.factories import make_batch


@pytest.fixture
def batch(alice: Api) -> Batch:
    return make_clova_batch(alice)


def send(stopping: Callable[[], bool] = lambda: False) -> None:
    Sender(stopping=stopping, linger=timedelta(0)).run(60)


def due_again() -> None:
    Delivery.unscoped.filter(state="waiting").update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def test_the_result_is_posted_until_it_is_accepted(alice: Api, batch: Batch, receiver: str) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook", userdata={"n": 1}).json()["token"]
    send()
    assert Receiver.posted == []
    complete(Task.unscoped.get(uid=token))
    Receiver.status = 500
    send()
    delivery = Delivery.unscoped.get()
    assert (delivery.kind, delivery.event, delivery.address) == ("clova.callback", "", f"{receiver}/hook")
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("waiting", 1, 500)
    assert delivery.next_attempt_at > timezone.now()
    Receiver.status = 204
    due_again()
    send()
    due_again()
    send()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    assert list(delivery.log.values_list("number", "status")) == [(1, 500), (2, 204)]
    assert [each["token"] for each in Receiver.posted] == [token, token]
    assert Receiver.posted[1]["params"]["userdata"]["n"] == 1
    assert not Webhook.unscoped.exists(), "a callback needs no webhook and no secret"


def test_it_is_unsigned_and_beside_a_webhook_message(alice: Api, batch: Batch, receiver: str) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url=f"{receiver}/webhook")
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    send()
    by_path = dict(Receiver.headers_of)
    assert set(by_path) == {"/webhook", "/hook"}
    assert by_path["/webhook"]["webhook-signature"].startswith("v1,")
    assert [name for name in by_path["/hook"] if name.lower().startswith("webhook-")] == []
    assert by_path["/hook"]["content-type"] == "application/json; charset=utf-8"
    assert sorted(Delivery.unscoped.values_list("kind", "state")) == [
        ("clova.callback", "delivered"),
        ("webhook", "delivered"),
    ]


def test_a_stopped_webhook_stops_no_callback(alice: Api, batch: Batch, receiver: str) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url=f"{receiver}/webhook")
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    Webhook.unscoped.update(state="paused", stopped_at=timezone.now())
    send()
    assert [path for path, _headers in Receiver.headers_of] == ["/hook"]
    assert dict(Delivery.unscoped.values_list("kind", "state")) == {
        "clova.callback": "delivered",
        "webhook": "waiting",
    }


def test_a_failing_callback_is_no_fault_of_the_webhook(alice: Api, batch: Batch, receiver: str) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url=f"{receiver}/webhook")
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    Delivery.unscoped.filter(kind="webhook").delete()
    Receiver.status = 410
    send()
    assert Delivery.unscoped.get().state == "failed"
    webhook = Webhook.unscoped.get()
    assert (webhook.state, webhook.failing_since) == ("active", None)


def test_a_receiver_that_is_gone_is_left_alone(alice: Api, batch: Batch, receiver: str) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    Receiver.status = 410
    send()
    assert len(Receiver.posted) == 1
    assert Delivery.unscoped.get().state == "failed"


def test_the_end_of_a_task_has_its_callback_sent(alice: Api, batch: Batch, receiver: str) -> None:
    """The message is queued in the transaction that ends the task, not later by the periodic job."""
    upload(alice, batch)
    claim = scheduling.claim_next("test")
    assert claim is not None
    lifecycle.fail(claim, Failure("not_media", "No media.", {}))
    assert not Delivery.unscoped.exists()
    upload(alice, batch, callback=f"{receiver}/hook")
    claim = scheduling.claim_next("test")
    assert claim is not None
    lifecycle.fail(claim, Failure("not_media", "No media.", {}))
    assert Delivery.unscoped.count() == 1
    assert queue.queued_messages("deliveries") == 1
    jobs.send_deliveries()
    assert [each["result"] for each in Receiver.posted] == ["FAILED"]


def test_a_cancelled_task_has_its_callback_queued_once(alice: Api, batch: Batch, receiver: str) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    assert callbacks.queue_missed() == 0
    lifecycle.cancel(Task.unscoped.filter(uid=token))
    assert [callbacks.queue_missed(), callbacks.queue_missed()] == [1, 0]
    send()
    assert [each["result"] for each in Receiver.posted] == ["FAILED"]
    Delivery.unscoped.all().delete()  # As retention does, long afterwards.
    assert callbacks.queue_missed() == 0


def test_a_receiver_that_hangs_holds_up_its_own_batch_alone(alice: Api, batch: Batch, receiver: str) -> None:
    """Twenty messages wait for the hanging receiver; another batch's is sent during the first of them."""
    other = make_batch(alice.account, input_path="other/")
    for _number in range(20):
        hanging = upload(alice, batch, callback=f"{receiver}/hang").json()["token"]
        complete(Task.unscoped.get(uid=hanging))
    Delivery.unscoped.update(next_attempt_at=timezone.now() - timedelta(hours=1))
    token = upload(alice, other, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    # Releases the hanging ones when the other batch's has arrived.
    send(Receiver.arrived.is_set)
    assert [each["token"] for each in Receiver.posted if each["token"] == token] == [token]
    assert 1 <= Receiver.most_hanging <= FIRST_WIDTH
    assert Delivery.unscoped.filter(state="waiting").count() == 20 - FIRST_WIDTH


def test_it_is_shown_sent_again_and_forgotten_like_any_delivery(
    alice: Api, batch: Batch, receiver: str
) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook?secret=42").json()["token"]
    complete(Task.unscoped.get(uid=token))
    send()
    delivery = Delivery.unscoped.get()
    told = alice.get(f"deliveries/{delivery.uid}").json()
    assert (told["kind"], told["event"], told["payload"], len(told["log"])) == ("clova.callback", "", None, 1)
    assert "secret=42" not in alice.get(f"deliveries/{delivery.uid}").content.decode()
    redelivery.redeliver(delivery=delivery)
    send()
    assert [each["token"] for each in Receiver.posted] == [token, token]
    page = signed_in("support").get(f"/admin/batches/delivery/{delivery.pk}/change/")
    assert page.status_code == 200
    assert b"secret=42" not in page.content
    assert ClientRequest.unscoped.get().callback_queued_at is not None
    Account.objects.filter(pk=batch.account_id).update(log_days=1)
    removed = retention.enforce(timezone.now() + timedelta(days=2))
    assert (removed["deliveries"], removed["delivery attempts"]) == (1, 2)
    assert not DeliveryAttempt.unscoped.exists()
