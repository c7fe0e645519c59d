"""Storage notifications of new files, in the formats of several services."""

from __future__ import annotations

import base64
import json
import random
from typing import Any
from urllib.parse import quote_plus

import pytest

from batches.intake import notifications, polling
from batches.models import Batch, Task
from batches.operations import jobs
from speechportal.platform import queue
from speechportal.storage import notification_links, services
from tests.clients import Client
from tests.factories import make_batch
from tests.workbench import put

pytestmark = pytest.mark.django_db
KEY = "in/통화 1+2.wav"
S3_RECORD = {
    "eventSource": "aws:s3",
    "eventName": "ObjectCreated:Put",
    "s3": {"bucket": {"name": "calls"}, "object": {"key": quote_plus(KEY, safe="/"), "size": 5}},
}
S3_EVENT = {"Records": [S3_RECORD]}
GRID = {
    "eventType": "Microsoft.Storage.BlobCreated",
    "subject": f"/blobServices/default/containers/calls/blobs/{KEY}",
    "data": {"contentLength": 5},
}
SHAPES: dict[str, Any] = {
    "S3": S3_EVENT,
    "SNS": {"Type": "Notification", "Message": json.dumps(S3_EVENT)},
    "SQS": {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(S3_EVENT)}]},
    "SNS by SQS": {
        "Messages": [{"Body": json.dumps({"Type": "Notification", "Message": json.dumps(S3_EVENT)})}]
    },
    "EventBridge": {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "calls"}, "object": {"key": KEY}},
    },
    "MinIO": {
        "EventName": "s3:ObjectCreated:Put",
        "Key": f"calls/{KEY}",
        "Records": [{**S3_RECORD, "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put"}],
    },
    "Event Grid": [GRID],
    "CloudEvents": {"specversion": "1.0", "type": GRID["eventType"], "subject": GRID["subject"]},
    "Pub/Sub": {
        "message": {
            "attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": "calls", "objectId": KEY},
            "data": "",
        }
    },
    "Pub/Sub data": {
        "message": {
            "attributes": {},
            "data": base64.b64encode(json.dumps({"bucket": "calls", "name": KEY}).encode()).decode(),
        }
    },
}


@pytest.fixture
def batch(settings: Any) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch()


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Queued jobs, which are recorded instead of run."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(queue, "enqueue", lambda *job, **_options: found.append(job))
    return found


def send(batch: Batch, document: Any, token: str = "", **headers: str) -> Any:
    assert batch.connection is not None
    path = f"/notify/{batch.connection.uid}/{token or notification_links.token_of(batch.connection)}/"
    body = document if isinstance(document, str) else json.dumps(document)
    return Client().post(path, body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_names_the_file(shape: str) -> None:
    assert notifications.read(SHAPES[shape]) == [notifications.Written("calls", KEY)]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "SNS"])
def test_a_notification_makes_the_task_at_once(
    batch: Batch, queued: list[tuple[Any, ...]], shape: str
) -> None:
    put(batch, KEY.removeprefix("in/"))
    answer = send(batch, SHAPES[shape])
    assert (answer.status_code, answer.json()) == (200, {"taken": 1})
    ((job, *arguments),) = [each for each in queued if each[0].endswith("take_notified")]
    assert job == "batches.operations.jobs.take_notified"
    jobs.take_notified(*arguments)
    jobs.take_notified(*arguments)  # Services send some twice.
    assert Task.unscoped.get().input_key == KEY
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)


def test_only_what_a_poll_would_take_is_taken(batch: Batch, queued: list[tuple[Any, ...]]) -> None:
    keys = ["in/.hidden.wav", f"in/{batch.name}/done.wav", "in/notes.txt", "elsewhere/a.wav", "in/gone.wav"]
    for key in keys[:4]:
        put(batch, f"../{key}")
    records = [{**S3_RECORD, "s3": {"bucket": {"name": ""}, "object": {"key": key}}} for key in keys]
    assert send(batch, {"Records": records}).json() == {"taken": 4}
    jobs.take_notified(*queued[0][1:])
    assert not Task.unscoped.exists()
    removed = {"Records": [{**S3_RECORD, "eventName": "ObjectRemoved:Delete"}]}
    assert send(batch, removed).json() == {"taken": 0}


def test_an_address_is_signed_and_can_be_made_anew(batch: Batch, queued: list[tuple[Any, ...]]) -> None:
    assert batch.connection is not None
    assert send(batch, S3_EVENT, token="x" * 43).status_code == 404
    old = notification_links.token_of(batch.connection)
    services.renew_notification_address(connection=batch.connection)
    assert send(batch, S3_EVENT, token=old).status_code == 404
    assert send(batch, S3_EVENT).status_code == 200


@pytest.mark.parametrize("body", ["", "[", "7", '{"colour": "red"}', '{"Records": [7]}', "[[[[[[]]]]]]"])
def test_what_is_not_understood_is_refused(batch: Batch, queued: list[tuple[Any, ...]], body: str) -> None:
    assert send(batch, body).status_code == 400
    assert queued == []


def test_services_that_ask_first_are_answered(batch: Batch, queued: list[tuple[Any, ...]]) -> None:
    validation = {
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6"},
    }
    assert send(batch, [validation]).json() == {"validationResponse": "512d38b6"}
    assert send(batch, {"Event": "s3:TestEvent", "Bucket": "calls"}).json() == {"taken": 0}
    assert batch.connection is not None
    path = f"/notify/{batch.connection.uid}/{notification_links.token_of(batch.connection)}/"
    asked = Client().options(path, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
    assert asked.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"


def messages_of(keys: list[str]) -> dict[str, Any]:
    """Ten messages of SQS, every other one with an envelope of SNS, as a function passes them on."""
    bodies = [
        json.dumps({"Records": [{**S3_RECORD, "s3": {"bucket": {"name": ""}, "object": {"key": key}}}]})
        for key in map(quote_plus, keys)
    ]
    wrapped = [
        json.dumps({"Type": "Notification", "Message": body}) if number % 2 else body
        for number, body in enumerate(bodies)
    ]
    return {"Records": [{"eventSource": "aws:sqs", "body": body} for body in wrapped]}


def test_a_thousand_files_become_a_task_each(batch: Batch, queued: list[tuple[Any, ...]]) -> None:
    """Notifications come twice, late and out of order, for other paths too, and some never."""
    chance = random.Random(7)
    inside = [f"in/{number % 10}/통화 {number:04}+.wav" for number in range(1000)]
    outside = [f"else/{number}.wav" for number in range(50)] + [f"in/.trash/{n}.wav" for n in range(50)]
    for key in inside + outside:
        put(batch, f"../{key}")
    lost = set(chance.sample(inside, 150))
    sent = [key for key in inside if key not in lost] + outside
    sent += chance.sample(sent, 300)
    chance.shuffle(sent)
    for start in range(0, len(sent), 10):
        assert send(batch, messages_of(sent[start : start + 10])).status_code == 200
    jobs_of_files = [job for job in queued if job[0].endswith("take_notified")]
    jobs_of_files += chance.sample(jobs_of_files, 30)  # The queue delivers a job twice, too.
    chance.shuffle(jobs_of_files)
    for number, (_job, *arguments) in enumerate(jobs_of_files):
        if number == len(jobs_of_files) // 2:
            polling.poll(batch.pk)  # It sees all files, and waits for them to settle.
        jobs.take_notified(*arguments)
    made = list(Task.unscoped.values_list("input_key", flat=True))
    assert len(made) == 850
    assert set(made) == set(inside) - lost
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (150, 0)
    ordered = Task.unscoped.order_by("task_order")
    assert sorted(ordered.values_list("input_key", flat=True)) == sorted(inside)
    assert list(ordered.values_list("task_order", flat=True)) == list(range(1, 1001))
