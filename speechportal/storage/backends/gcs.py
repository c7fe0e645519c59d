"""`GcsStore`: a bucket of Google Cloud Storage, or a path in it, as object storage.

The version of a file is its generation, a number that grows with every write. Reads and copies are
conditional on the generation of the source, and copies never overwrite. Pre-signed URLs are V4 signed URLs of
the service account. Credentials without a private key cannot sign: then the portal serves the links.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
from google.api_core import exceptions as google
from google.api_core.retry import Retry
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials, Signing
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.credentials import Credentials as UserCredentials
from google.oauth2.service_account import Credentials
from storages.backends.gcloud import GoogleCloudStorage

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
    Misconfigured,
    NotFound,
    ObjectEncrypted,
    ObjectLocked,
    StorageError,
    StorageFault,
    Throttled,
    TimedOut,
    Unreachable,
    WrongCredentials,
)

PUBLIC = "https://storage.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
FIELDS = "items(name,size,generation,updated),prefixes,nextPageToken"  # fields of a listing
USER_FIELDS = ("client_id", "client_secret", "refresh_token", "token", "expiry")
PARTS = 8 * 1024 * 1024
_RETRY = DEFAULT_RETRY.with_deadline(30.0)
_STATUSES: dict[int, type[StorageError]] = {
    400: Misconfigured,
    401: WrongCredentials,
    403: AccessDenied,
    404: NotFound,
    408: TimedOut,
    412: Changed,
    429: Throttled,
    503: Throttled,
    504: TimedOut,
}
# Reasons and sentences of the service, in lower case:
# https://docs.cloud.google.com/storage/docs/json_api/v1/status-codes
_PHRASES: dict[str, type[StorageError]] = {
    "specified bucket does not exist": BucketMissing,
    "retentionpolicynotmet": ObjectLocked,
    "objectunderactivehold": ObjectLocked,
    "resourceisencryptedwithcustomerencryptionkey": ObjectEncrypted,
    "customer-supplied encryption key": ObjectEncrypted,
}


@dataclass(frozen=True)
class GcsSettings:
    """Location and credentials of a bucket: JSON of a service account or user; none for an emulator."""

    bucket: str
    service_account: str = field(repr=False)
    endpoint_url: str = PUBLIC
    root: str = ""


class GuardedGcsStorage(GoogleCloudStorage):  # type: ignore[misc] # django-storages ships no types
    """django-storages' Google storage with explicit settings, over the guarded transport."""

    _client: Client | None

    def __init__(self, given: GcsSettings) -> None:
        self.given = given
        self.adapter = GuardedAdapter(policy)
        credentials = _credentials(given.service_account)
        super().__init__(
            project_id=getattr(credentials, "project_id", None) or "speechportal",
            credentials=credentials,
            bucket_name=given.bucket,
            custom_endpoint=None,
            location="",
        )

    @property
    def client(self) -> Any:
        if self._client is None:
            tokens = Request(guarded_session(self.adapter))
            session = AuthorizedSession(self.credentials, auth_request=tokens)
            guarded_session(self.adapter, session)
            self._client = Client(
                project=self.project_id,
                credentials=self.credentials,
                _http=session,
                client_options={"api_endpoint": self.given.endpoint_url},
            )
            # Switched off: it looks up the bucket for OpenTelemetry, from threads of its own.
            self._client._bucket_metadata_cache = None  # noqa: SLF001 - there is no argument for it
        return self._client


def _retry() -> Retry | None:
    """Google's retry policy for workers. A web request never retries: it reports the error at once."""
    return None if web_budget.is_limited() else _RETRY


def _credentials(service_account: str) -> Any:
    if not service_account:
        return AnonymousCredentials()
    try:
        found = json.loads(service_account)
        # Tokens are always requested from Google, whatever address the key contains. Other types of
        # credentials name addresses, files or programs to get tokens from.
        if (kind := found.get("type")) == "authorized_user":
            known = {name: found[name] for name in USER_FIELDS if name in found}
            return UserCredentials.from_authorized_user_info(known, scopes=[SCOPE])
        if kind not in {"service_account", None}:
            raise WrongCredentials(answer=f"type: {str(kind)[:40]}")
        return Credentials.from_service_account_info({**found, "token_uri": TOKEN_URI}, scopes=[SCOPE])
    except (ValueError, TypeError, AttributeError, auth.GoogleAuthError) as error:
        raise WrongCredentials from error


@lru_cache(maxsize=32)
def storage_for(given: GcsSettings) -> GuardedGcsStorage:
    return GuardedGcsStorage(given)


class GcsStore(RemoteStore):
    """Objects below ``root`` in a bucket."""

    def __init__(self, given: GcsSettings, link_maker: LinkMaker) -> None:
        super().__init__(given.root)
        self._given = given
        self._link_maker = link_maker

    @property
    def _storage(self) -> GuardedGcsStorage:
        return storage_for(self._given)

    @property
    def _bucket(self) -> Any:
        return self._storage.bucket

    @contextlib.contextmanager
    def faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except outbound.OutboundError as error:
            raise from_outbound(error, key) from error
        except google.GoogleAPICallError as error:
            raise _from_answer(error, key) from error
        except (auth.RefreshError, auth.InvalidValue) as error:
            raise WrongCredentials(key) from error
        except (google.GoogleAPIError, auth.GoogleAuthError, requests.RequestException) as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, outbound.OutboundError):
                raise from_outbound(cause, key) from error
            raise Unreachable(key) from error

    def server_time(self) -> datetime:
        if (now := self._storage.adapter.server_time()) is None:
            with self.faults(""):
                next(iter(self._storage.client.list_blobs(self._bucket, max_results=1)), None)
            now = self._storage.adapter.server_time()
        if now is None:
            raise StorageFault("", answer="no Date")
        return now

    def levels(self, full_prefix: str) -> Iterator[Level]:
        listing = self._storage.client.list_blobs(
            self._bucket,
            prefix=full_prefix or None,
            delimiter="/",
            page_size=1000,
            fields=FIELDS,
            retry=_retry(),
        )
        try:
            for page in listing.pages:
                blobs = [_blob(each) for each in page]
                yield Level(sorted(page.prefixes), blobs)
        except google.NotFound as error:
            raise BucketMissing(full_prefix[len(self.root) :]) from error

    def head(self, full_key: str) -> Blob | None:
        found = self._bucket.get_blob(full_key, retry=_retry())
        if found is not None:
            return _blob(found)
        try:  # "Not found" may also mean the bucket.
            next(iter(self._storage.client.list_blobs(self._bucket, max_results=1, retry=_retry())), None)
        except google.NotFound as error:
            raise BucketMissing(full_key[len(self.root) :]) from error
        return None

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        source = self._bucket.blob(blob.full_key, generation=int(blob.version))
        for start in range(0, blob.size, PARTS):
            end = min(start + PARTS, blob.size) - 1
            with expecting(end - start + 1):
                data = source.download_as_bytes(start=start, end=end, retry=_retry(), checksum=None)
            if len(data) != end - start + 1:
                raise StorageFault(blob.full_key, answer=f"{len(data)} of {end - start + 1} bytes")
            yield from (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))

    def write(self, full_key: str, data: bytes | Path, content_type: str) -> None:
        target = self._bucket.blob(full_key)
        if isinstance(data, bytes):
            target.upload_from_string(data, content_type=content_type, retry=_retry())
            return
        if data.stat().st_size > PARTS:
            target.chunk_size = PARTS
        target.upload_from_filename(str(data), content_type=content_type, retry=_retry())

    def duplicate(self, blob: Blob, full_target: str) -> None:
        source = self._bucket.blob(blob.full_key, generation=int(blob.version))
        target = self._bucket.blob(full_target)
        token: str | None = ""
        while token is not None:
            token, _done, _total = target.rewrite(
                source,
                token=token or None,
                if_generation_match=0,
                if_source_generation_match=int(blob.version),
                retry=_retry(),
            )

    def remove(self, full_key: str) -> None:
        with contextlib.suppress(google.NotFound):
            self._bucket.blob(full_key).delete(retry=_retry())

    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        full_key = self.full_key(key)
        credentials = self._storage.credentials
        if not isinstance(credentials, Signing):
            return self._link_maker(key, expires, method, filename)
        wanted: dict[str, Any] = {}
        if method == "get":
            wanted["response_type"] = mimetypes.guess_type(key)[0]
            wanted["response_disposition"] = attachment(filename) if filename else None
        with self.faults(key):
            url: str = self._bucket.blob(full_key).generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=expires),
                method=method.upper(),
                credentials=credentials,
                api_access_endpoint=self._given.endpoint_url,
                **wanted,
            )
        return url


def _blob(found: Any) -> Blob:
    return Blob(found.name, int(found.size or 0), str(found.generation), found.updated)


def _from_answer(error: google.GoogleAPICallError, key: str) -> StorageError:
    status = int(error.code or 0)
    kind = _STATUSES.get(status, StorageFault)
    text = _answer(error).replace(key, "").lower() if status in {400, 403, 404} else ""
    kind = next((named for words, named in _PHRASES.items() if words in text), kind)
    return kind(key, answer="" if kind in {NotFound, Changed} else f"HTTP {status}")


def _answer(error: google.GoogleAPICallError) -> str:
    """Text of the server's answer; empty if there was none.

    The exception's own message starts with the URL, so with names of a bucket and an object: any words.
    """
    response = error.response
    return str(response.text) if isinstance(response, requests.Response) else ""
