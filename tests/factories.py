"""Plain functions that make what a test needs, with sensible defaults."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from batches.models import Batch, Charge, ChatChannel, Task
from batches.models.recognition_settings import SETTINGS, RecognitionSettings
from batches.tasks import scheduling
from batches.tasks.leases import Lease
from domains.models import Domain
from speechportal.accounts.models import Account, Membership, User
from speechportal.storage.models import Connection

_numbers = itertools.count(1)


def make_user(email: str = "", password: str | None = None, **fields: Any) -> User:
    return User.objects.create_user(email or f"user{next(_numbers)}@example.com", password, **fields)


def make_account(name: str = "", owner: User | None = None, **fields: Any) -> Account:
    account = Account.objects.create(name=name or f"Account {next(_numbers)}", **fields)
    if owner is not None:
        add_member(account, owner, Membership.Role.OWNER)
    return account


def add_member(account: Account, user: User, role: str) -> Membership:
    return Membership.objects.create(account=account, user=user, role=role)


def make_domain(account: Account, **fields: Any) -> Domain:
    number = next(_numbers)
    fields = {"name": f"Domain {number}", "code": f"domain-{number}", "plan": Domain.Plan.BASIC, **fields}
    return Domain.unscoped.create(account=account, **fields)


def make_connection(account: Account, folder: Path | None = None, **fields: Any) -> Connection:
    """Create a connection to a local folder below the test's own storage root."""
    number = next(_numbers)
    folder = folder or Path(settings.STORAGE_LOCAL_ROOTS[0]) / account.uid / f"connection-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "name": f"Connection {number}",
        "provider": "local",
        "parameters": {"local_folder": str(folder)},
        **fields,
    }
    return Connection.unscoped.create(account=account, **fields)


def make_batch(account: Account | None = None, **fields: Any) -> Batch:
    """Create a batch with a domain and a local folder, with ``in/`` and ``out/`` in it.

    ``fields`` may name recognition settings too.
    """
    account = account or make_account()
    fields = {
        "name": f"batch {next(_numbers)}",
        "input_path": "in/",
        "result_path": "out/",
        **fields,
    }
    given = {name: fields.pop(name) for name in SETTINGS if name in fields}
    recognition = RecognitionSettings(**{"speakers": False, "language": "en-US", **given})
    if "domain" not in fields:
        fields["domain"] = make_domain(account)
    if "connection" not in fields:
        fields["connection"] = make_connection(account)
    batch = Batch(account=account, recognition=recognition, **fields)
    batch.full_clean()
    batch.save()
    if batch.connection and batch.connection.provider == "local":
        for path in (batch.input_path, batch.result_path):
            (Path(batch.connection.place) / path).mkdir(parents=True, exist_ok=True)
    return batch


def make_task(batch: Batch, name: str = "", **fields: Any) -> Task:
    """Create a waiting task; ``state`` may name a final state."""
    order = batch.last_task_order + 1
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=order)
    batch.last_task_order = order
    name = name or f"file-{order}.wav"
    fields = {
        "input_key": f"{batch.input_path}{name}",
        "input_version": f"version-{order}",
        "input_size": 1000,
        "input_modified_at": timezone.now(),
        **fields,
    }
    if fields.get("state") in Task.FINAL:
        fields.setdefault("started_at", timezone.now())
        fields.setdefault("finished_at", timezone.now())
        fields.setdefault("settings", batch.task_settings())
    if fields.get("state") == Task.State.FAILED:
        fields.setdefault("error_code", "not_media")
        fields.setdefault("error_message", "This is not an audio or video file.")
    return Task.unscoped.create(
        account=batch.account, batch=batch, connection=batch.connection, task_order=order, name=name, **fields
    )


def make_chat_channel(account: Account) -> ChatChannel:
    channel = ChatChannel(
        account=account, name=f"channel {next(_numbers)}", service="slack", topics=["status"]
    )
    channel.set_url("https://chat.example.com/hook")
    channel.save()
    return channel


def make_charge(task: Task, **fields: Any) -> Charge:
    """Create the charge of a finished task: 1.5 s of media, ten cents."""
    values = {
        "batch_name": task.batch.name,
        "input_name": task.name,
        "media_duration": 1500,
        "amount": Decimal("0.10"),
        "currency": "USD",
        **fields,
    }
    return Charge.unscoped.create(account=task.account, batch=task.batch, task=task, **values)


def claimed(batch: Batch, **fields: Any) -> tuple[Task, Lease]:
    """Create a task and claim it; returns it with its lease."""
    task = make_task(batch, **fields)
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert claim.task_id == task.pk
    task.refresh_from_db()
    return task, claim
