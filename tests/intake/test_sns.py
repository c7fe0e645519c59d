"""Amazon SNS messages: accepted only with Amazon's signature."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from django.core.cache import cache
from django.utils import timezone

from batches.intake import notifications, sns
from batches.models import Batch, Task
from batches.operations import jobs
from speechportal.outbound import client
from speechportal.outbound.errors import ConnectionFailed
from speechportal.platform import queue
from tests.factories import make_batch
from tests.intake.test_storage_notifications import KEY, S3_EVENT, send
from tests.workbench import put

pytestmark = pytest.mark.django_db
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
KEY_OF_AMAZON = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}


def certificate(start: datetime, end: datetime) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(KEY_OF_AMAZON.public_key()).not_valid_before(start).not_valid_after(end)
    made = builder.sign(KEY_OF_AMAZON, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def signed(version: str = "2", **fields: str) -> dict[str, str]:
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:calls",
        "Message": json.dumps(S3_EVENT),
        "Timestamp": "2026-11-27T06:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }
    keys = [key for key in SIGNED[message["Type"]] if key in message]
    text = "".join(f"{key}\n{message[key]}\n" for key in keys)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - version 1 is SHA-1
    signature = KEY_OF_AMAZON.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**message, "Signature": base64.b64encode(signature).decode()}


def confirmation(url: str = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription") -> Any:
    return signed(Type="SubscriptionConfirmation", SubscribeURL=url, Token="2336412f", Message="Confirm.")


class Amazon:
    """Amazon's hosts: serves the certificate, confirms subscriptions, and records requests."""

    def __init__(self) -> None:
        now = timezone.now()
        self.certificate = certificate(now - timedelta(days=1), now + timedelta(days=1))
        self.asked: list[str] = []
        self.is_reached = True

    def get(self, url: str, file: BinaryIO, **_how: Any) -> None:
        self.asked.append(url)
        if not self.is_reached:
            raise ConnectionFailed
        file.write(self.certificate)


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Amazon:
    cache.clear()
    made = Amazon()
    monkeypatch.setattr(client, "get", made.get)
    return made


@pytest.fixture
def batch(settings: Any) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch()


@pytest.fixture
def run_queued(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Function that runs the queued jobs, and the jobs that these queue."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(queue, "enqueue", lambda *job, **_options: found.append(job))

    def run() -> None:
        while found:
            path, *arguments = found.pop(0)
            getattr(jobs, path.rpartition(".")[2])(*arguments)

    return run


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon S3 Notification"}])
def test_a_signed_message_makes_the_task(
    batch: Batch, amazon: Amazon, run_queued: Callable[[], None], version: str, subject: dict[str, str]
) -> None:
    put(batch, KEY.removeprefix("in/"))
    assert send(batch, signed(version, **subject)).status_code == 200
    assert not Task.unscoped.exists()  # Answered before anything is asked of Amazon.
    run_queued()
    assert Task.unscoped.get().input_key == KEY
    send(batch, signed(version, **subject))
    run_queued()
    assert amazon.asked == [CERTIFICATE_URL]  # It is kept.


def test_a_message_that_was_changed_is_refused(
    batch: Batch, amazon: Amazon, run_queued: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    put(batch, KEY.removeprefix("in/"))
    changed = {**signed(Message="{}"), "Message": json.dumps(S3_EVENT)}
    for message in (changed, {**signed(), "Signature": "%"}, {**signed(), "Signature": ""}):
        assert send(batch, message).status_code == 200
        run_queued()
    assert not Task.unscoped.exists()
    assert caplog.text.count("its signature is wrong") == 3


@pytest.mark.parametrize(
    "change",
    [
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com.example.com/a.pem"},
        {"SigningCertURL": "http://sns.us-east-1.amazonaws.com/a.pem"},
        {"SigningCertURL": "https://sns.us-east-1.amazonaws.com:8443/a.pem"},
        {"SigningCertURL": "https://[/a.pem"},
        {"SigningCertURL": None},
        {"SignatureVersion": "3"},
        {"TopicArn": None},
        {"Subject": 7},
    ],
)
def test_what_amazon_cannot_have_signed_is_refused_at_once(
    batch: Batch, amazon: Amazon, run_queued: Callable[[], None], change: dict[str, Any]
) -> None:
    answer = send(batch, {**signed(), **change})
    assert (answer.status_code, "refused" in answer.json()["error"]) == (403, True)
    run_queued()
    assert amazon.asked == []


def test_a_certificate_that_is_over_or_none_is_refused(batch: Batch, amazon: Amazon) -> None:
    long_ago = timezone.now() - timedelta(days=400)
    amazon.certificate = certificate(long_ago, long_ago + timedelta(days=1))
    with pytest.raises(sns.NotSigned, match="not valid at present"):
        sns.verify(signed())
    amazon.certificate = b"<html>"
    with pytest.raises(sns.NotSigned, match="cannot be read"):
        sns.verify(signed())


def test_a_subscription_is_confirmed_at_amazon_alone(
    batch: Batch, amazon: Amazon, run_queued: Callable[[], None]
) -> None:
    assert send(batch, confirmation()).status_code == 200
    run_queued()
    assert amazon.asked == [
        CERTIFICATE_URL,
        "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
    ]
    assert send(batch, confirmation("https://example.com/confirm")).status_code == 403
    send(batch, {**confirmation(), "Token": "another"})
    run_queued()
    assert len(amazon.asked) == 2


def test_where_amazon_is_not_reached_the_batch_is_polled_soon(
    batch: Batch, amazon: Amazon, run_queued: Callable[[], None]
) -> None:
    amazon.is_reached = False
    Batch.unscoped.update(next_poll_at=timezone.now() + timedelta(hours=5))
    assert batch.connection is not None
    notifications.take_message(batch.connection.pk, signed())
    batch.refresh_from_db()
    assert batch.next_poll_at < timezone.now() + timedelta(minutes=5)
