"""Every table with tenant data declares its part in the audit trail, the export and account closing."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import models

from batches.models import (
    ClientRequest,
    ConnectionBackoff,
    Correction,
    PendingFile,
    ProcessedFolder,
    SearchText,
    StreamedSegments,
    Task,
    TaskAttempt,
)
from batches.operations.privacy.erasure import close_account
from batches.operations.privacy.export import TABLES
from domains.models import Keyword
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Membership
from speechportal.accounts.scoping import ScopedManager
from tests.privacy.test_erasure import furnished
from tests.repository.test_scoping import TENANT_MODELS

BY_THE_MACHINE = {
    # What polling, recognition, reporting and delivery write; what people do to them is recorded by services.
    *("Adjustment", "PendingFile", "Charge", "ClientRequest", "ConnectionBackoff", "Delivery"),
    *("DeliveryAttempt", "ExecutionResult", "ProcessedFolder", "IdempotencyRecord", "ResultFile"),
    *("TaskTrace", "SettledUsage", "UsageMark"),
    *(
        "BatchEvent",
        "CorrectedWord",
        "SearchText",
        "Task",
        "TaskAttempt",
        "StoredTranscript",
        "StreamedSegments",
        "Webhook",
        "Keyword",
        "KeywordUse",
        "Correction",
        "AuditEntry",
    ),
}
NOT_EXPORTED = {
    # Passing states of the portal itself, secrets, and what is derived from what is exported.
    *("PendingFile", "ConnectionBackoff", "IdempotencyRecord", "SearchText", "TaskTrace", "Webhook"),
    *("StreamedSegments", "SettledUsage", "UsageMark"),
}
KEPT_WHEN_CLOSED = {"Adjustment", "AuditEntry", "Batch", "Charge", "SettledUsage", "Task", "UsageMark"}


def names(found: set[type[models.Model]]) -> set[str]:
    return {model.__name__ for model in found}


def test_changes_of_every_table_are_followed_or_it_is_named_here() -> None:
    assert names(set(TENANT_MODELS) - set(trail._followed)) == BY_THE_MACHINE


def test_every_table_is_exported_or_named_here() -> None:
    exported = {model for _name, model, _path in TABLES} - {Membership}
    assert names(set(TENANT_MODELS) - exported) == NOT_EXPORTED


@pytest.mark.django_db
def test_every_table_is_emptied_when_an_account_is_closed_or_named_here() -> None:
    account = furnished("Ours", "alice@example.com")
    task = Task.unscoped.filter(account=account, state="completed").get()
    domain, batch = account.domains.get(), task.batch
    assert batch.connection is not None
    Keyword.unscoped.create(domain=domain, text="Ada")
    Correction.unscoped.create(task=task, lines={})
    SearchText.unscoped.get_or_create(task=task, defaults={"account": account, "text": "x"})
    ClientRequest.unscoped.create(task=task)
    StreamedSegments.unscoped.create(task=task, position=0, segments=[])
    attempt = TaskAttempt(task=task, outcome="failed", started_at=task.created_at, ended_at=task.created_at)
    attempt.save()
    ConnectionBackoff.unscoped.create(connection=batch.connection, code="x", retry_at=task.created_at)
    ProcessedFolder.unscoped.create(connection=batch.connection, path="in/x/")
    PendingFile.unscoped.create(batch=batch, key="in/x", version="1", size=1, modified_at=task.created_at)
    close_account(account=account)
    assert not TaskAttempt.unscoped.exists()
    left = set()
    for model in [*TENANT_MODELS, apps.get_model("accounts", "Membership")]:
        manager = model._meta.managers_map.get("objects")
        path = manager.path if isinstance(manager, ScopedManager) else "account"
        if model._base_manager.filter(**{path: account}).exists():
            left.add(model.__name__)
    assert left <= KEPT_WHEN_CLOSED
