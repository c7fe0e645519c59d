"""Notifications of storages: from the shapes that services send to the keys that were written.

Understood are S3 events as AWS sends them by SNS, SQS and EventBridge, MinIO's webhook, Azure Event Grid (its
own schema and CloudEvents) and Google's Pub/Sub push. The address of a connection is signed and can be made
anew; a notification only says where to look, so a false one makes the portal look and no more.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from batches.intake import input_path, new_tasks, poll_schedule
from batches.models import Batch
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.platform import queue
from speechportal.storage import keys
from speechportal.storage.backends.base import StoredFile
from speechportal.storage.errors import InvalidKey, StorageError
from speechportal.storage.models import Connection

DEPTH = 4  # of messages within messages
KEYS_AT_ONCE = 10_000
_AZURE_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)\Z", re.DOTALL)
_SNS_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\Z")
_CONFIRM_SECONDS = 10


@dataclass(frozen=True)
class Written:
    """An object that a notification names. ``bucket`` is empty where the shape has none."""

    bucket: str
    key: str


class NotUnderstood(ValueError):
    """The body is none of the known shapes."""


def read(document: Any) -> list[Written]:
    """Objects that were written, of any shape. Raises :class:`NotUnderstood`."""
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
    """S3's events, MinIO's webhook, and messages of SQS as a function or a pipe passes them on."""
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
    """SNS: the event is the text of a message."""
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        return list(_read(document["Message"], depth - 1))
    return [] if document.get("Type") in {"SubscriptionConfirmation", "UnsubscribeConfirmation"} else None


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


# --- What is done about it


def accept(connection: Connection, written: Iterable[Written]) -> int:
    """Have the files taken that lie in input paths of the connection's batches; returns how many."""
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


def take(batch_id: int, wanted: list[str]) -> int:
    """Make tasks of files that a notification named: a written object is whole. Returns how many.

    What cannot be taken now, since the storage does not answer, is found by the next poll.
    """
    batch = Batch.unscoped.live().select_related("connection").filter(pk=batch_id).first()
    if batch is None or batch.connection is None:
        return 0
    Batch.unscoped.filter(pk=batch.pk).update(quiet_polls=0)
    try:
        store = batch.connection.store()
        looks = (_stat(store, key) for key in wanted if input_path.is_watched(batch, key))
        found = [file for file in looks if file is not None]
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


def confirm_subscription(url: str) -> bool:
    """Confirm a subscription of Amazon's SNS, at Amazon's own address alone."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not _SNS_HOST.match(parts.hostname or ""):
        return False
    try:
        client.get(url, io.BytesIO(), timeout=_CONFIRM_SECONDS, max_body=64 * 1024)
    except OutboundError:
        return False
    return True
