"""Dry runs through the API: paths and a webhook URL are tried before a batch is created."""

from __future__ import annotations

from decimal import Decimal

import pytest
import standardwebhooks

from batches.models import Delivery
from batches.services import batches as batch_services
from batches.webhooks import endpoint
from tests.api.client import Api
from tests.factories import make_batch, make_connection, make_domain
from tests.webhooks.makers import make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.usefixtures("loopback_is_allowed")
CHECK = "batches/check"
TRY = "batches/try-webhook"


def test_paths_that_work_are_told_with_what_waits_and_costs(alice: Api) -> None:
    connection = make_connection(alice.account)
    store = connection.store()
    store.create_folder("in/")
    given = {"connection": connection.uid, "input_path": "in/", "result_path": "out/"}
    nothing = alice.post(CHECK, given).json()
    assert (nothing["ok"], nothing["files"]) == (True, 0)
    alice.account.price_per_file = Decimal("1.5")
    alice.account.save()
    for name in ("a.mp3", "b.wav", "notes.pdf"):
        store.put(f"in/{name}", b"sound")
    answer = alice.post(CHECK, given)
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["ok"], told["files"], told["size"], told["has_more"]) == (True, 2, 10, False)
    assert {"list", "read", "write", "move"} <= {each["action"] for each in told["input_path"]}
    assert (told["estimate"]["files"], told["estimate"]["amount"]) == (2, "3.0000")


def test_a_path_that_does_not_work_is_told_with_its_fault(alice: Api) -> None:
    connection = make_connection(alice.account)
    told = alice.post(CHECK, {"connection": connection.uid, "input_path": "missing/"}).json()
    assert (told["ok"], told["estimate"]) == (False, None)
    [fault] = [each for each in told["input_path"] if not each["ok"]]
    assert fault["code"]
    assert fault["message"]
    outside = alice.post(CHECK, {"connection": connection.uid, "input_path": "../up/"}).json()
    assert outside["ok"] is False


def test_what_creating_would_refuse_is_told_in_its_words(alice: Api, charlie: Api) -> None:
    batch = make_batch(alice.account, name="calls", input_path="in/")
    assert batch.connection is not None
    given = {"connection": batch.connection.uid, "input_path": "in/", "result_path": "out/", "name": "calls"}
    told = alice.post(CHECK, given).json()
    assert told["ok"] is False
    assert all(each["ok"] for each in told["input_path"])
    domain = make_domain(alice.account)
    refused = alice.post("batches", {**given, "domain": domain.uid}).json()
    assert {(each["field"], each["message"]) for each in told["refused"]} == {
        (each["field"], each["message"]) for each in refused["errors"]
    }
    assert {each["field"] for each in told["refused"]} == {"input_path", "name"}
    own = alice.post(CHECK, {**given, "batch": batch.uid}).json()
    assert (own["ok"], own["refused"]) == (True, [])
    others = {"connection": make_connection(charlie.account).uid, "batch": batch.uid}
    assert charlie.post(CHECK, others).status_code == 422


def test_a_stranger_s_connection_is_unknown(alice: Api, charlie: Api) -> None:
    answer = charlie.post(CHECK, {"connection": make_connection(alice.account).uid})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "connection")


def test_an_address_is_tried_and_nothing_is_kept(alice: Api) -> None:
    with receiving() as receiver:
        answer = alice.post(TRY, {"webhook_url": receiver.url})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["ok"], told["status"], told["signed"], told["problem"]) == (True, 204, False, "")
    [message] = receiver.received
    assert message.json["type"] == "webhook.test"
    with receiving(status(401, b"no key")) as receiver:
        told = alice.post(TRY, {"webhook_url": receiver.url}).json()
    assert (told["ok"], told["status"], told["answer"]) == (False, 401, "no key")
    assert "401" in told["problem"]
    told = alice.post(TRY, {"webhook_url": "nowhere"}).json()
    assert (told["ok"], told["status"]) == (False, None)
    assert not Delivery.unscoped.exists()


def test_a_batch_signs_it_until_it_is_deleted(alice: Api, charlie: Api) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url, account=alice.account)
        given = {"webhook_url": receiver.url, "batch": batch.uid}
        assert alice.post(TRY, given).json()["signed"] is True
        assert charlie.post(TRY, given).status_code == 422
        secret = endpoint.show_secret_once(batch=batch)
        batch_services.delete_batch(batch=batch)
        assert alice.post(TRY, given).status_code == 422
    [message] = receiver.received
    assert standardwebhooks.Webhook(secret).verify(message.body, message.headers)
