"""`AzureStore`: a container of Azure Blob Storage, or a path in it, as object storage.

The version of a file is its ETag, which changes with every write. Copies are conditional on the ETag of the
source and never overwrite. Pre-signed URLs for reading are Azure's own; Azure does not accept an upload by a
plain PUT, so those for writing lead to the portal.
"""

from __future__ import annotations

import contextlib
import mimetypes
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core import exceptions as azure
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    BlobPrefix,
    BlobSasPermissions,
    BlobServiceClient,
    ContentSettings,
    ExponentialRetry,
    generate_blob_sas,
)
from storages.backends.azure_storage import AzureStorage

from speechportal.outbound import errors as outbound
from speechportal.outbound import web_budget
from speechportal.outbound.requests_adapter import GuardedAdapter, expecting, guarded_session
from speechportal.storage.backends.base import CHUNK, LinkMaker, Method
from speechportal.storage.backends.remote import Blob, Level, RemoteStore
from speechportal.storage.backends.s3 import attachment
from speechportal.storage.backends.s3_errors import from_outbound
from speechportal.storage.endpoints import policy
from speechportal.storage.errors import (
    AccessDenied,
    BucketMissing,
    Changed,
    InvalidKey,
    Misconfigured,
    NotFound,
    ObjectArchived,
    ObjectEncrypted,
    ObjectLocked,
    StorageError,
    StorageFault,
    TargetExists,
    Throttled,
    TimedOut,
    Unreachable,
    WrongCredentials,
)

COPY_SECONDS = 3600.0
PARTS = 8 * 1024 * 1024
PAGE = 1000  # entries per page of a listing
_KINDS: dict[str, type[StorageError]] = {
    "ContainerNotFound": BucketMissing,
    "ContainerBeingDeleted": BucketMissing,
    "ContainerDisabled": BucketMissing,
    "BlobNotFound": NotFound,
    "ConditionNotMet": Changed,
    "SourceConditionNotMet": Changed,
    "BlobAlreadyExists": TargetExists,
    "AuthenticationFailed": WrongCredentials,
    "InvalidAuthenticationInfo": WrongCredentials,
    "AccountIsDisabled": AccessDenied,
    "AuthorizationFailure": AccessDenied,
    "AuthorizationPermissionMismatch": AccessDenied,
    "InsufficientAccountPermissions": AccessDenied,
    "ServerBusy": Throttled,
    "OperationTimedOut": TimedOut,
    "BlobArchived": ObjectArchived,
    "BlobBeingRehydrated": ObjectArchived,
    "BlobUsesCustomerSpecifiedEncryption": ObjectEncrypted,
    "BlobImmutableDueToPolicy": ObjectLocked,
    "InvalidResourceName": InvalidKey,
    "InvalidUri": InvalidKey,
}
_STATUSES: dict[int, type[StorageError]] = {
    400: Misconfigured,
    401: WrongCredentials,
    403: AccessDenied,
    404: NotFound,
    408: TimedOut,
    409: TargetExists,
    412: Changed,
    429: Throttled,
    503: Throttled,
    504: TimedOut,
}


@dataclass(frozen=True)
class AzureSettings:
    """Location and credentials of a container."""

    endpoint_url: str
    account_name: str
    account_key: str = field(repr=False)
    container: str = ""
    root: str = ""


class WorkersRetry(ExponentialRetry):
    """Azure's retry policy for workers. A web request never retries: it reports the error at once."""

    def increment(self, *args: Any, **kwargs: Any) -> bool:
        return not web_budget.is_limited() and bool(super().increment(*args, **kwargs))


class GuardedAzureStorage(AzureStorage):  # type: ignore[misc] # django-storages ships no types
    """django-storages' Azure storage with explicit settings, over the guarded transport."""

    def __init__(self, given: AzureSettings) -> None:
        self.given = given
        self.adapter = GuardedAdapter(policy)
        super().__init__(
            account_name=given.account_name,
            account_key=given.account_key,
            azure_container=given.container,
            connection_string=None,
            sas_token=None,
            token_credential=None,
            custom_domain=None,
        )

    def _get_service_client(self) -> BlobServiceClient:
        session = guarded_session(self.adapter)
        return BlobServiceClient(
            self.given.endpoint_url,
            credential={"account_name": self.account_name, "account_key": self.account_key},
            transport=RequestsTransport(session=session, session_owner=False),
            retry_policy=WorkersRetry(retry_total=2),
            max_single_put_size=PARTS,
            max_block_size=PARTS,
            max_single_get_size=PARTS,
            max_chunk_get_size=PARTS,
        )


@lru_cache(maxsize=32)
def storage_for(given: AzureSettings) -> GuardedAzureStorage:
    return GuardedAzureStorage(given)


class AzureStore(RemoteStore):
    """Blobs below ``root`` in a container."""

    def __init__(self, given: AzureSettings, link_maker: LinkMaker) -> None:
        super().__init__(given.root)
        self._given = given
        self._link_maker = link_maker

    @property
    def _storage(self) -> GuardedAzureStorage:
        return storage_for(self._given)

    @property
    def _container(self) -> Any:
        return self._storage.client

    def full_key(self, key: str) -> str:
        """Refuse backslashes, which Azure treats as slashes, and control characters."""
        if "\\" in key or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
            raise InvalidKey(key)
        return super().full_key(key)

    @contextlib.contextmanager
    def faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except outbound.OutboundError as error:
            raise from_outbound(error, key) from error
        except azure.HttpResponseError as error:
            raise _from_answer(error, key) from error
        except azure.AzureError as error:
            cause = _outbound_cause(error)
            raise (from_outbound(cause, key) if cause else Unreachable(key)) from error

    def server_time(self) -> datetime:
        if (now := self._storage.adapter.server_time()) is None:
            with self.faults(""):
                self._container.get_container_properties()
            now = self._storage.adapter.server_time()
        if now is None:
            raise StorageFault("", answer="no Date")
        return now

    def levels(self, full_prefix: str) -> Iterator[Level]:
        listing = self._container.walk_blobs(
            name_starts_with=full_prefix, delimiter="/", results_per_page=PAGE
        )
        for page in listing.by_page():
            found = list(page)
            yield Level(
                [each.name for each in found if isinstance(each, BlobPrefix)],
                [_blob(each) for each in found if not isinstance(each, BlobPrefix)],
            )

    def head(self, full_key: str) -> Blob | None:
        try:
            return _blob(self._container.get_blob_client(full_key).get_blob_properties())
        except azure.ResourceNotFoundError as error:
            if getattr(error, "error_code", None) == "ContainerNotFound":
                raise
            self._container.get_container_properties()  # Raises if the container is missing.
            return None

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        client = self._container.get_blob_client(blob.full_key)
        for start in range(0, blob.size, PARTS):
            length = min(PARTS, blob.size - start)
            with expecting(length):
                part = client.download_blob(
                    offset=start,
                    length=length,
                    etag=f'"{blob.version}"',
                    match_condition=MatchConditions.IfNotModified,
                )
                data = part.readall()
            if len(data) != length:
                raise StorageFault(blob.full_key, answer=f"{len(data)} of {length} bytes")
            yield from (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))

    def write(self, full_key: str, data: bytes | Path, content_type: str) -> None:
        client = self._container.get_blob_client(full_key)
        settings = ContentSettings(content_type=content_type)
        if isinstance(data, bytes):
            client.upload_blob(data, overwrite=True, content_settings=settings)
            return
        with data.open("rb") as stream:
            client.upload_blob(stream, length=data.stat().st_size, overwrite=True, content_settings=settings)

    def duplicate(self, blob: Blob, full_target: str) -> None:
        source = self._container.get_blob_client(blob.full_key)
        target = self._container.get_blob_client(full_target)
        target.start_copy_from_url(
            source.url,
            source_etag=f'"{blob.version}"',
            source_match_condition=MatchConditions.IfNotModified,
            match_condition=MatchConditions.IfMissing,
        )
        end = time.monotonic() + COPY_SECONDS
        while (state := target.get_blob_properties().copy.status) == "pending":
            if time.monotonic() > end:
                raise TimedOut(blob.full_key)
            time.sleep(1)
        if state not in {"success", None}:
            raise StorageFault(blob.full_key, answer=f"copy {state}")

    def remove(self, full_key: str) -> None:
        with contextlib.suppress(azure.ResourceNotFoundError):
            self._container.get_blob_client(full_key).delete_blob()

    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        full_key = self.full_key(key)
        if method == "put":
            return self._link_maker(key, expires, method, filename)
        given = self._given
        token = generate_blob_sas(
            account_name=given.account_name,
            container_name=given.container,
            blob_name=full_key,
            account_key=given.account_key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(seconds=expires),
            content_disposition=attachment(filename) if filename else None,
            content_type=mimetypes.guess_type(key)[0],
        )
        return f"{self._container.get_blob_client(full_key).url}?{token}"


def _blob(found: Any) -> Blob:
    return Blob(found.name, found.size, found.etag.strip('"'), found.last_modified)


def _from_answer(error: azure.HttpResponseError, key: str) -> StorageError:
    code = str(getattr(error, "error_code", None) or "")
    status = error.status_code or 0
    kind = _KINDS.get(code) or _STATUSES.get(status, StorageFault)
    answer = ", ".join(filter(None, (code, f"HTTP {status}" if status else "")))
    return kind(key, answer="" if kind in {NotFound, Changed} else answer)


def _outbound_cause(error: BaseException) -> outbound.OutboundError | None:
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "inner_exception", None) or seen.__cause__ or seen.__context__
        if isinstance(seen, outbound.OutboundError):
            return seen
        seen = inner
    return None
