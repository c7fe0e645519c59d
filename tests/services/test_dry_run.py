"""Dry run and creation of a batch agree: both refuse the same, with the same sentence."""

from __future__ import annotations

from typing import Any, cast

import pytest
from django.core.exceptions import ValidationError

from batches.models import Batch
from batches.services import batches as batch_services
from batches.services import dry_run
from batches.services.batches import BatchFields
from domains.models import Domain
from speechportal.accounts.models import Account, User
from speechportal.storage.models import Connection
from tests.clients import Client
from tests.factories import make_account, make_batch, make_domain, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user()


@pytest.fixture
def account(owner: User) -> Account:
    return make_account(owner=owner)


@pytest.fixture
def connection(account: Account) -> Connection:
    """A connection with a batch that watches ``calls/``."""
    batch = make_batch(account, name="calls", input_path="calls/")
    assert batch.connection is not None
    batch.connection.store().create_folder("talks/")
    return batch.connection


def checked(connection: Connection, **fields: Any) -> list[tuple[str, str]]:
    input_path, result_path = fields.pop("input_path", ""), fields.pop("result_path", "out")
    batch = fields.pop("batch", None)
    others = cast("BatchFields", fields)
    found = dry_run.preview(
        connection=connection, input_path=input_path, result_path=result_path, batch=batch, others=others
    )
    assert found.is_fine is not bool(found.refused) or not found.paths_work
    return [(each.field, each.message) for each in found.refused]


def created(connection: Connection, **fields: Any) -> list[tuple[str, str]]:
    """Errors of creating the batch; empty if it is created."""
    fields = {
        "name": "talks",
        "domain": make_domain(connection.account),
        "input_path": "",
        "result_path": "out",
        "formats": ["json"],
        **fields,
    }
    try:
        batch_services.create_batch(account=connection.account, connection=connection, **fields)
    except ValidationError as error:
        if not hasattr(error, "error_dict"):
            return [("", message) for message in error.messages]
        return [(field, message) for field, each in error.message_dict.items() for message in each]
    return []


@pytest.mark.parametrize(
    "fields",
    [
        {"input_path": "calls"},
        {"input_path": "calls/monday/"},
        {"input_path": ""},
        {"input_path": "talks/../calls"},
        {"input_path": "talks", "result_path": "../out"},
        {"input_path": "talks", "name": "calls"},
        {"input_path": "talks", "name": "a/b"},
        {"input_path": "talks", "name": "가" * 90},
    ],
)
def test_both_refuse_in_the_same_sentence(connection: Connection, fields: dict[str, Any]) -> None:
    refused = checked(connection, **fields)
    assert refused
    assert created(connection, **fields) == refused
    assert Batch.unscoped.count() == 1


def test_both_refuse_a_domain_that_is_taken_or_free(connection: Connection, account: Account) -> None:
    free = make_domain(account, plan=Domain.Plan.FREE)
    taken = Batch.unscoped.get().domain
    for domain in (free, taken):
        fields = {"input_path": "talks", "domain": domain}
        refused = checked(connection, **fields)
        assert [field for field, _message in refused] == ["domain"]
        assert created(connection, **fields) == refused


def test_both_refuse_one_batch_too_many(connection: Connection, account: Account) -> None:
    account.batch_limit = 1
    account.save()
    connection.refresh_from_db()
    refused = checked(connection, input_path="talks")
    assert [field for field, _message in refused] == [""]
    assert created(connection, input_path="talks") == refused


def test_what_check_accepts_is_created(connection: Connection) -> None:
    fields = {"input_path": "talks", "name": "talks"}
    assert checked(connection, **fields) == []
    assert checked(connection, input_path="talks") == []  # before a name is filled in
    assert created(connection, **fields) == []


def test_an_edited_batch_does_not_stand_in_its_own_way(connection: Connection, account: Account) -> None:
    batch = Batch.unscoped.get()
    account.batch_limit = 1
    account.save()
    assert checked(connection, batch=batch, name="calls", input_path="calls/") == []
    assert Batch.unscoped.get(pk=batch.pk).name == "calls"


def test_the_page_says_it(connection: Connection, owner: User) -> None:
    batch = Batch.unscoped.get()
    client = Client()
    client.force_login(owner)
    asked: dict[str, str | int] = {
        "connection": connection.pk,
        "input_path": "calls/",
        "result_path": "out/",
        "name": "calls",
    }
    text = client.get("/batches/check/", asked).content.decode()
    assert "This path overlaps the input path of the batch “calls”." in text
    assert "A batch with this name already exists." in text
    assert "Both paths work" not in text
    text = client.get("/batches/check/", {**asked, "batch": batch.uid}).content.decode()
    assert "This path overlaps" not in text
    assert "Both paths work" in text
    assert (
        f'name="batch" value="{batch.uid}"' in client.get(f"/batches/{batch.uid}/settings/").content.decode()
    )
    assert 'name="batch"' not in client.get("/batches/new/").content.decode()
