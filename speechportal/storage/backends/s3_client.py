"""S3 clients made by django-storages, independent of the machine's AWS configuration."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.loaders
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from storages.backends.s3 import S3Storage

from speechportal.storage.backends.s3_guard import GuardedSession

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
CONNECT_SECONDS, READ_SECONDS = 10, 60

# Without these a client reads profiles and files of the user that the portal runs as.
_NO_AMBIENT = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


@dataclass(frozen=True)
class S3Settings:
    """Location and credentials of a bucket. ``root`` is ``""`` or ends with a slash."""

    endpoint_url: str
    region: str
    bucket: str
    access_key: str
    secret: str = field(repr=False)
    root: str = ""
    path_style: bool = True


class ServerClock:
    """Server's clock, from the ``Date`` header of its latest response."""

    def __init__(self) -> None:
        self._seen: tuple[datetime, float] | None = None

    def note(self, http_response: Any = None, **_kwargs: Any) -> None:
        """Handle botocore's ``after-call`` event."""
        date = getattr(http_response, "headers", {}).get("Date")
        if not date:
            return
        try:
            self._seen = (parsedate_to_datetime(date), time.monotonic())
        except ValueError:
            return  # Keep the previous value.

    def now(self) -> datetime | None:
        if self._seen is None:
            return None
        date, at = self._seen
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return aware + timedelta(seconds=time.monotonic() - at)


class ExplicitS3Storage(S3Storage):  # type: ignore[misc] # django-storages ships no types
    """django-storages' S3 storage with explicit settings: no key, profile, proxy or setting is looked up."""

    def __init__(self, given: S3Settings) -> None:
        self.clock = ServerClock()
        self.http = GuardedSession(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        super().__init__(
            access_key=given.access_key,
            secret_key=given.secret,
            security_token=None,
            session_profile=None,
            bucket_name=given.bucket,
            region_name=given.region,
            endpoint_url=given.endpoint_url,
            custom_domain=None,
            cloudfront_signer=None,
            location="",
            default_acl=None,
            object_parameters={},
            proxies={},
            verify=None,
            use_ssl=True,
            use_threads=True,
            gzip=False,
            client_config=_config(given),
            # Several MB at a time, one after the other: a worker has one core and little memory.
            transfer_config=TransferConfig(
                multipart_threshold=64 * MIB, multipart_chunksize=16 * MIB, use_threads=False
            ),
        )

    def _create_session(self) -> boto3.Session:
        core = botocore.session.Session(session_vars=cast("Any", _NO_AMBIENT))
        core.register("before-send.s3", cast("Any", self.http.answer))
        core.register("after-call.s3", self.clock.note)
        loader = _descriptions()
        core.register_component("data_loader", loader)
        session = boto3.Session(
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, botocore_session=core
        )
        # Each session adds the same folder to the list, which all sessions share.
        loader.search_paths[:] = dict.fromkeys(loader.search_paths)
        return session

    @property
    def client(self) -> S3Client:
        """Client of this thread."""
        return cast("S3Client", self.connection.meta.client)


@lru_cache(maxsize=1)
def _descriptions() -> botocore.loaders.Loader:
    """Load botocore's descriptions of S3, once for all buckets: it is most of the cost of making a client."""
    return botocore.loaders.create_loader()


def _config(given: S3Settings) -> Config:
    return Config(
        region_name=given.region,
        signature_version="s3v4",
        s3={"addressing_style": "path" if given.path_style else "auto"},
        # Newer defaults send trailing checksums, which NCP and others refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": 3},
        proxies={},
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
        tcp_keepalive=True,
        user_agent_extra="speechportal",
    )


@lru_cache(maxsize=64)
def storage_for(given: S3Settings) -> ExplicitS3Storage:
    """Return the storage for these settings; cached, since making a client takes a tenth of a second."""
    return ExplicitS3Storage(given)


# A forked child must not use its parent's sockets.
os.register_at_fork(after_in_child=storage_for.cache_clear)
