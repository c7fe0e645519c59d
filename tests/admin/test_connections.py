"""Connections in admin: list, test, change and delete; the secret can be set but is never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from speechportal.accounts.models import Account
from speechportal.storage.models import Connection
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
LIST = "admin:storage_connection_changelist"
CANARY = "canary-secret-77"


@pytest.fixture
def account() -> Account:
    return factories.make_account("Alice’s")


@pytest.fixture
def bucket(account: Account) -> Connection:
    """Connection to an S3 bucket that is never contacted."""
    connection = Connection(
        account=account,
        name="Calls",
        provider="aws",
        parameters={
            "region": "us-east-1",
            "endpoint_url": "https://s3.us-east-1.amazonaws.com",
            "bucket": "alice-calls",
            "access_key": "AKIA",
        },
    )
    connection.set_secret(CANARY)
    connection.full_clean()
    connection.save()
    return connection


def page_of(connection: Connection) -> str:
    return reverse("admin:storage_connection_change", args=[connection.pk])


def act(client: Client, name: str, connection: Connection) -> Any:
    address = f"{reverse('admin:storage_connection_do', args=[name])}?ids={connection.pk}"
    return client.post(address, {"reason": "A member asked for it."}, follow=True)


def entered(connection: Connection, **fields: str) -> dict[str, str]:
    names = ("name", "region", "endpoint_url", "bucket", "root_path", "access_key", "local_folder")
    values = {"name": connection.name, **connection.parameters}
    return {**dict.fromkeys(names, ""), **values, "secret": "", "reason": "Asked.", **fields}


@pytest.mark.parametrize("group", ["viewer", "support", "administrator"])
def test_no_page_shows_a_secret(group: str, bucket: Connection) -> None:
    client = signed_in(group)
    for address in (reverse(LIST), page_of(bucket)):
        response = client.get(address)
        assert response.status_code == 200
        for secret in (CANARY, bucket.encrypted_secret):
            assert secret not in response.content.decode()


@pytest.mark.parametrize("text", ["{uid}", "Calls", "alice-cal", "{account}"])
def test_a_connection_is_found(text: str, bucket: Connection) -> None:
    other = factories.make_connection(factories.make_account("Other"), name="Elsewhere")
    wanted = text.format(uid=bucket.uid, account=bucket.account.uid)
    page = signed_in("viewer").get(reverse(LIST), {"q": wanted}).content.decode()
    assert bucket.uid in page
    assert other.uid not in page


def test_its_page_leads_to_the_account_and_the_batches(account: Account) -> None:
    batch = factories.make_batch(account, name="nightly")
    assert batch.connection is not None
    page = signed_in("support").get(page_of(batch.connection)).content.decode()
    assert reverse("admin:batches_batch_change", args=[batch.pk]) in page
    assert reverse("admin:accounts_account_change", args=[account.pk]) in page


def test_the_secret_is_kept_when_left_empty_and_replaced_when_entered(bucket: Connection) -> None:
    client, before = signed_in("support"), bucket.encrypted_secret
    assert client.post(page_of(bucket), entered(bucket, name="Renamed")).status_code == 302
    bucket.refresh_from_db()
    assert (bucket.name, bucket.encrypted_secret) == ("Renamed", before)
    assert client.post(page_of(bucket), entered(bucket, secret="another")).status_code == 302
    bucket.refresh_from_db()
    assert bucket.encrypted_secret != before


def test_what_is_wrong_is_said_at_its_field(bucket: Connection) -> None:
    response = signed_in("support").post(page_of(bucket), entered(bucket, bucket="no such name!"))
    assert response.status_code == 200
    assert "3 to 63 letters" in response.content.decode()
    bucket.refresh_from_db()
    assert bucket.parameters["bucket"] == "alice-calls"


def test_a_connection_is_made_for_an_account(account: Account) -> None:
    fields = {
        "account": str(account.pk),
        "name": "New",
        "provider": "aws",
        "region": "us-east-1",
        "bucket": "bucket",
        "access_key": "AKIA",
        "secret": CANARY,
    }
    client = signed_in("support")
    address = reverse("admin:storage_connection_add")
    assert client.post(address, {**fields, "secret": ""}).status_code == 200
    assert not Connection.unscoped.exists()
    assert client.post(address, fields).status_code == 302
    made = Connection.unscoped.get()
    assert made.account == account
    assert made.encrypted_secret
    assert CANARY not in made.encrypted_secret


def test_a_storage_is_tested(account: Account, swift_connection: Callable[..., Connection]) -> None:
    right, client = swift_connection(account), signed_in("support")
    assert "The storage is in order" in act(client, "test", right).content.decode()
    wrong = swift_connection(account, secret="not the secret")
    assert "does not accept the access key" in act(client, "test", wrong).content.decode()
    wrong.refresh_from_db()
    assert "does not accept the access key" in wrong.last_error


def test_a_connection_in_use_stays(account: Account) -> None:
    batch = factories.make_batch(account, name="nightly")
    used, free = batch.connection, factories.make_connection(account)
    assert used is not None
    client = signed_in("support")
    assert "nightly" in act(client, "delete", used).content.decode()
    act(client, "delete", free)
    assert list(Connection.unscoped.all()) == [used]


def test_a_viewer_of_support_staff_changes_nothing(bucket: Connection) -> None:
    client = signed_in("viewer")
    assert client.post(page_of(bucket), entered(bucket, name="Renamed")).status_code == 403
    assert act(client, "delete", bucket).status_code == 403
    assert act(client, "test", bucket).status_code == 403
    bucket.refresh_from_db()
    assert (bucket.name, bucket.last_error) == ("Calls", "")
