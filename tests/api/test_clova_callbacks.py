"""What CLOVA's clients are called back with, when, and how one receiver leaves the others alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Batch, ClovaRequest, Task
from batches.operations import jobs
from batches.tasks import lifecycle
from batches.webhooks import callbacks
from speechportal.platform import queue
from tests.api.client import Api
from tests.api.clova_calls import Receiver, make_clova_batch, upload
from tests.api.work import complete
from tests.factories import make_batch


@pytest.fixture
def batch(alice: Api) -> Batch:
    return make_clova_batch(alice)


def test_the_result_is_posted_until_it_is_accepted(alice: Api, batch: Batch, receiver: str) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook", userdata={"n": 1}).json()["token"]
    callbacks.send_due()
    assert Receiver.posted == []
    complete(Task.unscoped.get(uid=token))
    Receiver.status = 500
    callbacks.send_due()
    request = ClovaRequest.unscoped.get()
    assert (request.callback_tries, request.callback_status) == (1, 500)
    assert request.callback_due_at is not None
    assert request.callback_due_at > timezone.now()
    assert not callbacks.due().exists()
    Receiver.status = 204
    ClovaRequest.unscoped.update(callback_due_at=timezone.now())
    callbacks.send_due()
    callbacks.send_due()
    assert not callbacks.due().exists()
    assert [each["token"] for each in Receiver.posted] == [token, token]
    assert Receiver.posted[1]["params"]["userdata"] == {"n": 1}
    assert ClovaRequest.unscoped.get().called_back_at is not None


def test_a_receiver_that_is_gone_is_left_alone(alice: Api, batch: Batch, receiver: str) -> None:
    token = upload(alice, batch, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    Receiver.status = 410
    callbacks.send_due()
    assert len(Receiver.posted) == 1
    assert ClovaRequest.unscoped.get().callback_due_at is None


def test_the_end_of_a_task_has_its_callback_sent(alice: Api, batch: Batch, receiver: str) -> None:
    """Not a beat later: the message is queued in the transaction that ends the task."""
    upload(alice, batch)
    claim = lifecycle.claim_next("test")
    assert claim is not None
    lifecycle.fail(claim, lifecycle.Cause("not_media", "No media.", {}))
    before = queue.queued_messages("short")
    upload(alice, batch, callback=f"{receiver}/hook")
    claim = lifecycle.claim_next("test")
    assert claim is not None
    lifecycle.fail(claim, lifecycle.Cause("not_media", "No media.", {}))
    assert queue.queued_messages("short") == before + 1
    jobs.send_callbacks()
    assert [each["result"] for each in Receiver.posted] == ["FAILED"]


def test_a_receiver_that_hangs_holds_up_its_own_batch_alone(alice: Api, batch: Batch, receiver: str) -> None:
    """Twenty are waiting for it; another batch's is answered while the first of them are under way."""
    other = make_batch(alice.account, input_path="other/")
    for _number in range(20):
        hanging = upload(alice, batch, callback=f"{receiver}/hang").json()["token"]
        complete(Task.unscoped.get(uid=hanging))
    ClovaRequest.unscoped.update(callback_due_at=timezone.now() - timedelta(hours=1))
    token = upload(alice, other, callback=f"{receiver}/hook").json()["token"]
    complete(Task.unscoped.get(uid=token))
    # Lets go of the hanging ones when the other batch's has come.
    callbacks.send_due(Receiver.arrived.is_set)
    assert [each["token"] for each in Receiver.posted if each["token"] == token] == [token]
    assert 1 <= Receiver.most_hanging <= callbacks.OF_A_BATCH
    assert callbacks.due().count() == 20 - callbacks.OF_A_BATCH
