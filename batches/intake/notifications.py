"""Storage notifications: parses a storage service's messages about new objects and creates their tasks.

Supported formats: S3 events sent by AWS through SNS, SQS and EventBridge; MinIO's webhook; Azure Event Grid
(its own schema and CloudEvents); Google's Pub/Sub push. The notification URL of a connection is signed and
can be renewed; SNS messages have their own signature, which is verified. A notification only names an object
to look up, so a forged one causes a look-up and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from batches.intake import first_bytes, input_path, new_tasks, poll_schedule, sns
from batches.models import Batch
from speechportal.outbound.errors import OutboundError
from speechportal.platform import queue
from speechportal.storage import keys
from speechportal.storage.backends.base import StoredFile
from speechportal.storage.errors import InvalidKey, StorageError
from speechportal.storage.models import Connection

logger = logging.getLogger(__name__)
DEPTH = 4  # levels of nested messages
KEYS_AT_ONCE = 10_000
_AZURE_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)\Z", re.DOTALL)


@dataclass(frozen=True)
class Written:
    """Written object that a notification names. ``bucket`` is empty if the message format has none."""

    bucket: str
    key: str


class NotUnderstood(ValueError):
    """The body is in none of the supported formats."""


def read(document: Any) -> list[Written]:
    """Parse the written objects from a message in any format. Raises :class:`NotUnderstood`."""
    found = list(_read(document, DEPTH))
    if len(found) > KEYS_AT_ONCE:
        raise NotUnderstood
    return found


def _read(document: Any, depth: int) -> Iterator[Written]:
    if depth == 0:
        raise NotUnderstood
    if isinstance(document, str):
        document = _decoded(document)
    if isinstance(document, list):
        for each in document:
            yield from _read(each, depth - 1)
        return
    if not isinstance(document, dict):
        raise NotUnderstood
    for reader in (_records, _enveloped, _event_bridge, _event_grid, _pub_sub):
        if (found := reader(document, depth)) is not None:
            yield from found
            return
    if document.get("Event") == "s3:TestEvent":
        return
    raise NotUnderstood


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood from error


def _records(document: dict[str, Any], depth: int) -> Iterable[Written] | None:
    """S3 events, MinIO's webhook, and SQS messages as Lambda functions or EventBridge Pipes forward them."""
    records = document.get("Records", document.get("Messages"))
    if not isinstance(records, list):
        return None
    found: list[Written] = []
    for record in records:
        if not isinstance(record, dict):
            raise NotUnderstood
        body = record.get("body", record.get("Body"))
        if body is not None:
            found += _read(body, depth - 1)
        elif _is_written(str(record.get("eventName", ""))):
            s3 = _part(record, "s3")
            key = unquote_plus(str(_part(s3, "object").get("key", "")))
            found.append(Written(str(_part(s3, "bucket").get("name", "")), key))
    return found


def _is_written(event: str) -> bool:
    return event.removeprefix("s3:").startswith(("ObjectCreated", "ObjectRestore:Completed"))


def _enveloped(document: dict[str, Any], depth: int) -> Iterable[Written] | None:
    """SNS envelope: the event is the text of the message."""
    if document.get("Type") == sns.NOTIFICATION and isinstance(document.get("Message"), str):
        return list(_read(document["Message"], depth - 1))
    return [] if document.get("Type") in sns.CONFIRMATIONS else None


def _event_bridge(document: dict[str, Any], _depth: int) -> Iterable[Written] | None:
    if document.get("source") != "aws.s3":
        return None
    if document.get("detail-type") not in {"Object Created", "Object Restore Completed"}:
        return []
    detail = _part(document, "detail")
    bucket, key = _part(detail, "bucket").get("name", ""), _part(detail, "object").get("key", "")
    return [Written(str(bucket), str(key))]


def _event_grid(document: dict[str, Any], _depth: int) -> Iterable[Written] | None:
    kind = document.get("eventType", document.get("type"))
    if not isinstance(kind, str) or not kind.startswith("Microsoft."):
        return None
    match = _AZURE_SUBJECT.search(str(document.get("subject", "")))
    if kind != "Microsoft.Storage.BlobCreated" or match is None:
        return []
    return [Written(match[1], unquote(match[2]))]


def _pub_sub(document: dict[str, Any], _depth: int) -> Iterable[Written] | None:
    message = document.get("message")
    if not isinstance(message, dict):
        return None
    attributes = message.get("attributes")
    if not isinstance(attributes, dict):
        return None
    if attributes.get("eventType", "OBJECT_FINALIZE") != "OBJECT_FINALIZE":
        return []
    if "objectId" in attributes:
        return [Written(str(attributes.get("bucketId", "")), str(attributes["objectId"]))]
    try:
        data = json.loads(base64.b64decode(str(message.get("data", "")), validate=True))
        return [Written(str(data["bucket"]), str(data["name"]))]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise NotUnderstood from error


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    if not isinstance(found, dict):
        raise NotUnderstood
    return found


# --- Task creation


def accept(connection: Connection, written: Iterable[Written]) -> int:
    """Queue the files that are in input paths of the connection's batches; returns how many."""
    bucket, root = connection.parameters.get("bucket"), str(connection.parameters.get("root_path", ""))
    wanted = [
        each.key.removeprefix(root)
        for each in written
        if each.key.startswith(root) and (not bucket or not each.bucket or each.bucket == bucket)
    ]
    paths = Batch.unscoped.live().filter(connection=connection).values_list("pk", "input_path")
    taken = 0
    for batch_id, path in paths:
        if own := [key for key in wanted if key.startswith(path)]:
            queue.enqueue("batches.operations.jobs.take_notified", batch_id, own)
            taken += len(own)
    return taken


def take_message(connection_id: int, message: dict[str, Any]) -> None:
    """Process an SNS message after verifying its signature; confirm the subscription if it requests that.

    If Amazon cannot be reached, the connection's batches are polled soon instead.
    """
    connection = Connection.unscoped.filter(pk=connection_id).first()
    if connection is None:
        return
    try:
        sns.verify(message)
        if message["Type"] == "SubscriptionConfirmation":
            sns.confirm(message)
        accept(connection, read(message))
    except sns.NotSigned as error:
        logger.warning("connection %s: SNS message rejected: %s", connection.uid, error)
    except OutboundError as error:
        logger.warning("connection %s: SNS message could not be verified: %s", connection.uid, error.code)
        for batch in Batch.unscoped.live().filter(connection=connection):
            poll_schedule.hasten(batch)


def take(batch_id: int, wanted: list[str]) -> int:
    """Create tasks for the files of a notification, which are complete. Returns how many.

    If the storage does not answer, the next poll finds the files.
    """
    batch = Batch.unscoped.live().select_related("connection").filter(pk=batch_id).first()
    if batch is None or batch.connection is None:
        return 0
    Batch.unscoped.filter(pk=batch.pk).update(quiet_polls=0)
    try:
        store = batch.connection.store()
        looks = (_stat(store, key) for key in wanted if input_path.is_watched(batch, key))
        found = [file for file in looks if file is not None and first_bytes.is_taken(store, file)]
    except StorageError:
        poll_schedule.hasten(batch)
        return 0
    return new_tasks.take_whole(batch, found)


def _stat(store: Any, key: str) -> StoredFile | None:
    try:
        found: StoredFile | None = store.stat(keys.check_key(key))
    except InvalidKey:
        return None
    return found
