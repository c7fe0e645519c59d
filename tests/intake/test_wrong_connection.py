"""A batch with a wrong connection or path shows the error within one poll, and recovers by itself (S3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch
from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.models import Connection
from tests.factories import make_account, make_batch

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(swift_connection: Callable[..., Connection], settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    account = make_account()
    connection = swift_connection(account)
    connection.store().put("in/a.wav", b"sound")
    return make_batch(account, connection=connection)


def poll(batch: Batch) -> tuple[str, str]:
    polling.poll(batch.pk)
    batch.refresh_from_db()
    return batch.status, batch.cause_code


@pytest.mark.parametrize(
    ("field", "wrong", "code"),
    [
        ("secret", "not the secret", "wrong_credentials"),
        ("access_key", "t1:nobody", "wrong_credentials"),
        ("bucket", "there-is-no-such-bucket", "bucket_missing"),
        ("endpoint_url", "http://127.0.0.1:9", "connection_refused"),
    ],
)
def test_the_cause_is_the_true_one_and_goes_with_it(
    batch: Batch, swift: SwiftServer, field: str, wrong: str, code: str
) -> None:
    assert poll(batch) == ("normal", "")
    connection = batch.connection
    assert connection is not None
    right = swift.secret("t1") if field == "secret" else connection.parameters[field]

    def give(value: str) -> None:
        if field == "secret":
            connection.set_secret(value)
        else:
            connection.parameters[field] = value
        connection.save()

    give(wrong)
    assert poll(batch) == ("error", code)
    assert batch.cause
    give(right)
    assert poll(batch) == ("normal", "")
    assert batch.cause == ""
    # The file is still known, whether or not it has settled by the server's clock of whole seconds.
    assert batch.tasks.count() + batch.pending_files.count() == 1
