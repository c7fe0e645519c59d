"""Export of everything stored about an account as a ZIP file of JSON lines, without secrets."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from batches.models import (
    Adjustment,
    Batch,
    BatchEvent,
    Charge,
    ChatChannel,
    ClientRequest,
    CorrectedWord,
    Correction,
    Delivery,
    DeliveryAttempt,
    ExecutionResult,
    ProcessedFolder,
    ResultFile,
    StoredTranscript,
    Subscription,
    Task,
    TaskAttempt,
)
from domains.models import Domain, Keyword, KeywordUse
from speechportal.accounts.audit import trail
from speechportal.accounts.models import (
    Account,
    AccountProvider,
    ApiToken,
    AuditEntry,
    Invitation,
    Membership,
)
from speechportal.platform.typed_json import TypedJSONField
from speechportal.storage.models import Connection

# Columns without members' data: secrets, their digests, leases, and the queue's own times.
LEFT_OUT = {
    "encrypted_secret",
    "original",
    "reprocess_due_at",
    "encrypted_url",
    "digest",
    "pepper",
    "key_digest",
    "lease_token",
    "lease_expires_at",
    "reserved",
    "minute_started_at",
    "minute_requests",
}
TABLES: list[tuple[str, type[models.Model], str]] = [
    ("members", Membership, "account"),
    ("invitations", Invitation, "account"),
    ("api_tokens", ApiToken, "account"),
    ("company_sign_in", AccountProvider, "account"),
    ("connections", Connection, "account"),
    ("domains", Domain, "account"),
    ("keywords", Keyword, "domain__account"),
    ("keyword_use", KeywordUse, "keyword__domain__account"),
    ("batches", Batch, "account"),
    ("batch_events", BatchEvent, "account"),
    ("notifications", Subscription, "membership__account"),
    ("chat_channels", ChatChannel, "account"),
    ("processed_folders", ProcessedFolder, "connection__account"),
    ("tasks", Task, "account"),
    ("task_attempts", TaskAttempt, "task__account"),
    ("transcripts", StoredTranscript, "task__account"),
    ("client_requests", ClientRequest, "task__account"),
    ("corrections", Correction, "task__account"),
    ("corrected_words", CorrectedWord, "domain__account"),
    ("result_files", ResultFile, "task__account"),
    ("execution_results", ExecutionResult, "account"),
    ("charges", Charge, "account"),
    ("corrections_of_charges", Adjustment, "account"),
    ("deliveries", Delivery, "account"),
    ("delivery_attempts", DeliveryAttempt, "delivery__account"),
    ("activity", AuditEntry, "account"),
]


# Tables and columns with the text of transcripts.
TRANSCRIPT_TABLES = {"transcripts", "corrections"}
SAID_FIELDS = {"payload", "answer"}  # of deliveries


def export_account(*, account: Account, target: Path | IO[bytes], transcripts: bool = True) -> dict[str, int]:
    """Write the ZIP file; returns how many rows of each table are in it.

    Without ``transcripts`` it contains no text of transcripts: for staff without support access.
    """
    counts: dict[str, int] = {}
    trail.record("account.exported", account, changes={"transcripts": [None, transcripts]})
    left_out = LEFT_OUT if transcripts else LEFT_OUT | SAID_FIELDS
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("account.json", "w") as file:
            file.write(_line(account, left_out))
        for name, model, path in TABLES:
            if name in TRANSCRIPT_TABLES and not transcripts:
                continue
            rows = model._base_manager.filter(**{path: account}).order_by("pk")
            with archive.open(f"{name}.jsonl", "w", force_zip64=True) as file:
                counts[name] = _write(file, rows.iterator(chunk_size=200), left_out)
    return counts


def _write(file: IO[bytes], rows: Iterable[models.Model], left_out: set[str]) -> int:
    count = 0
    with io.BufferedWriter(file) as buffered:
        for row in rows:
            buffered.write(_line(row, left_out))
            count += 1
    return count


def _line(row: models.Model, left_out: set[str]) -> bytes:
    values: dict[str, Any] = {
        field.attname: field.value_to_string(row)
        if isinstance(field, TypedJSONField)
        else getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.name not in left_out
    }
    if isinstance(row, Membership):
        values["email"] = row.user.email
    return (json.dumps(values, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n").encode()
