"""Gateway: opens the store of a connection, confined to its root."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from speechportal.storage import keys, local_file_links
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.backends.s3 import S3Store
from speechportal.storage.backends.s3_client import S3Settings
from speechportal.storage.endpoints import check_endpoint
from speechportal.storage.local_folders import allowed_root
from speechportal.storage.providers import Provider, path_style


def open_local(folder: str | Path, *, account_uid: str, connection_uid: str) -> ObjectStore:
    """Open a folder of this machine. Raises :class:`ForbiddenFolder` unless the operator allows it."""
    return LocalStore(allowed_root(folder, account_uid), partial(local_file_links.make, connection_uid))


def open_s3(
    *,
    provider: Provider,
    endpoint_url: str,
    region: str,
    bucket: str,
    root_path: str,
    access_key: str,
    secret: str,
) -> ObjectStore:
    """Open a path in a bucket. Raises :class:`Misconfigured` for a forbidden endpoint."""
    check_endpoint(endpoint_url)
    return S3Store(
        S3Settings(
            endpoint_url=endpoint_url,
            region=region,
            bucket=bucket,
            access_key=access_key,
            secret=secret,
            root=keys.check_folder(root_path),
            path_style=path_style(provider),
        )
    )
