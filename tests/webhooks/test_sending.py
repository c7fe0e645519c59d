"""Sending: from a due delivery to a receiver that verifies its signature."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings
from standardwebhooks import Webhook as Verifier

from batches.models import Delivery, DeliveryAttempt, StoredTranscript
from batches.webhooks import endpoint
from batches.webhooks.outbox import announce_task
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_completed, make_delivery, make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db

NPM_VERSION = "1.1.1"
VERIFIER = """
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
const messages = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(messages.map(({ secret, headers, body }) => {
  const payload = Buffer.from(body, "base64").toString("utf8");
  try { return new Webhook(secret).verify(payload, headers).type; } catch (error) { return error.name; }
})));
"""


def test_a_message_arrives_signed_and_is_logged(clock: Clock) -> None:
    with receiving(status(200, b"thank you")) as receiver:
        batch = make_hooked_batch(receiver.url)
        delivery = make_delivery(batch, greeting="안녕")
        clock.send()
    (message,) = receiver.received
    assert message.path == "/hook?key=1"
    assert message.headers["content-type"] == "application/json"
    assert message.headers["webhook-id"] == delivery.uid
    secret = endpoint.show_secret_once(batch=batch)
    assert Verifier(secret).verify(message.body, message.headers) == message.json
    assert message.json["type"] == "webhook.test"
    assert message.json["version"] == 1
    assert message.json["data"] == {
        "account": {"id": batch.account.uid},
        "batch": {"id": batch.uid, "name": batch.name},
        "greeting": "안녕",
    }
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
    attempt = DeliveryAttempt.unscoped.get()
    assert (attempt.number, attempt.status, attempt.answer, attempt.error_code) == (1, 200, "thank you", "")
    assert attempt.duration is not None


@pytest.mark.programs
def test_javascript_verifies_what_was_sent_also_while_a_secret_is_replaced(
    clock: Clock, tmp_path: Path
) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    assert npm, "npm must be on this machine"
    assert node
    (tmp_path / "package.json").write_text('{"name": "verifier", "private": true, "type": "module"}')
    (tmp_path / "verify.mjs").write_text(VERIFIER)
    package = f"standardwebhooks@{NPM_VERSION}"
    installed = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", package],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert installed.returncode == 0, installed.stderr
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url, name="배치 “하나”")
        first = endpoint.show_secret_once(batch=batch)
        endpoint.rotate_secret(batch=batch)
        second = endpoint.show_secret_once(batch=batch)
        make_delivery(batch, text="말 \u2028 🎙 \x00")
        clock.send()
    (message,) = receiver.received
    body = base64.b64encode(message.body).decode()
    sent = [{"secret": secret, "headers": message.headers, "body": body} for secret in (first, second)]
    forged = {**sent[0], "body": base64.b64encode(message.body + b" ").decode()}
    ran = subprocess.run(
        [node, "verify.mjs"],
        cwd=tmp_path,
        input=json.dumps([*sent, forged]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    types = json.loads(ran.stdout)
    assert types[:2] == ["webhook.test", "webhook.test"]
    assert types[2] not in {"webhook.test", None}


def test_a_transcript_is_sent_as_clova_does_and_the_same_to_the_byte_each_time(clock: Clock) -> None:
    with receiving(status(500), status(500), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        task = make_completed(batch)
        delivery = announce_task(batch, task.pk)
        assert delivery is not None
        assert len(delivery.payload) < 1000
        assert "안녕하세요" not in delivery.payload
        for _ in range(3):
            clock.send()
            clock.forward(minutes=6)
    assert len(receiver.received) == 3
    assert len({message.body for message in receiver.received}) == 1
    assert set(receiver.ids) == {delivery.uid}
    data = receiver.received[0].json["data"]
    assert data["task"]["id"] == task.uid
    result = data["result"]
    assert (result["result"], result["token"], result["text"]) == (
        "COMPLETED",
        task.uid,
        "안녕하세요, 여보세요.",
    )
    assert result["segments"][0]["words"] == [[10, 900, "안녕하세요,"]]
    assert result["speakers"] == [{"label": "1", "name": "A", "edited": False}]


def test_a_deleted_transcript_leaves_the_event(clock: Clock) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        task = make_completed(batch)
        announce_task(batch, task.pk)
        StoredTranscript.unscoped.all().delete()
        clock.send()
    assert receiver.received[0].json["data"]["result"] is None


@pytest.mark.parametrize("code", [300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_anything_but_2xx_fails_and_no_redirect_is_followed(clock: Clock, code: int) -> None:
    with receiving() as elsewhere, receiving(status(code, b"no", Location=elsewhere.url)) as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        clock.send()
        assert elsewhere.received == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.last_error) == ("waiting", code, "refused")
    assert DeliveryAttempt.unscoped.get().status == code


def test_the_first_thousand_bytes_of_an_answer_are_kept(clock: Clock) -> None:
    with receiving(status(500, "é".encode() * 5000)) as receiver:
        make_delivery(make_hooked_batch(receiver.url))
        clock.send()
    assert DeliveryAttempt.unscoped.get().answer == "é" * 500


def test_what_is_no_text_is_kept_as_far_as_it_is(clock: Clock) -> None:
    with receiving(status(500, b"a\x00b\xff")) as receiver:
        make_delivery(make_hooked_batch(receiver.url))
        clock.send()
    assert DeliveryAttempt.unscoped.get().answer == "a\ufffdb\ufffd"


def test_a_slow_drip_ends_at_the_deadline(clock: Clock, settings: Settings) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 1
    with receiving() as receiver:
        assert receiver.server is not None
        server = receiver.server

        def drip(_message: object, _number: int) -> bytes:
            for _ in range(100):
                if server.wait(0.1):
                    break
            return b""

        receiver.answer = drip
        delivery = make_delivery(make_hooked_batch(receiver.url))
        clock.send()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.last_error) == ("waiting", None, "deadline_passed")
    attempt = DeliveryAttempt.unscoped.get()
    assert attempt.duration is not None
    assert 900 <= attempt.duration < 5000


def test_nothing_is_sent_to_an_address_that_is_not_allowed_any_more(clock: Clock, settings: Settings) -> None:
    with receiving() as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        settings.OUTBOUND_NETWORKS = []
        clock.send()
        assert receiver.received == []
    delivery.refresh_from_db()
    assert delivery.last_error == "address_not_allowed"


@pytest.mark.parametrize("document", [{"version": 99}, [], {"version": 1}, {"version": 1, "segments": [7]}])
def test_a_message_that_cannot_be_built_is_not_the_receivers_fault_and_stops_no_other(
    clock: Clock, document: object
) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        task = make_completed(batch)
        delivery = announce_task(batch, task.pk)
        assert delivery is not None
        StoredTranscript.unscoped.update(document=document)
        sound = make_delivery(batch)
        clock.send()
        assert receiver.ids == [sound.uid]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error) == ("waiting", "not_built")
    webhook = endpoint.for_batch(batch)
    assert webhook.failing_since is None


def test_many_deliveries_to_several_receivers_each_arrive_once(clock: Clock) -> None:
    with receiving() as one, receiving() as other:
        batches = [make_hooked_batch(one.url), make_hooked_batch(other.url)]
        wanted = [{make_delivery(batch).uid for _ in range(60)} for batch in batches]
        clock.send()
    for receiver, uids in zip((one, other), wanted, strict=True):
        assert sorted(receiver.ids) == sorted(uids)
    assert set(Delivery.unscoped.values_list("state", "attempts")) == {("delivered", 1)}
