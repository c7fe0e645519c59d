"""Storages for tests: local folders, a moto server, and OpenStack Swift, a real S3 server."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from speechportal.accounts.models import Account
from speechportal.storage import gateway
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.models import Connection
from speechportal.storage.providers import Provider

ROOT = "a root/with parts/"  # Stores see nothing outside of it.


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Swift with the accounts ``t1`` and ``t2``."""
    accounts = {name: secrets.token_urlsafe(16) for name in ("t1", "t2")}
    with SwiftServer(tmp_path_factory.mktemp("swift"), accounts=accounts) as server:
        yield server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def swift_bucket(swift: SwiftServer) -> str:
    """A new bucket of the account ``t1``."""
    name = f"bucket-{secrets.token_hex(6)}"
    swift.create_bucket("t1", name)
    return name


@pytest.fixture
def swift_connection(swift: SwiftServer, swift_bucket: str, db: None) -> Callable[..., Connection]:
    """Function that saves a connection of an account to a new Swift bucket, with the given fields."""

    def make(account: Account, **fields: str) -> Connection:
        secret = fields.pop("secret", swift.secret("t1"))
        defaults = {
            "name": f"Swift {secrets.token_hex(3)}",
            "provider": Provider.S3,
            "endpoint_url": swift.endpoint_url,
            "region": swift.region,
            "bucket": swift_bucket,
            "access_key": swift.access_key("t1"),
        }
        values = {**defaults, **fields}
        head = {name: values.pop(name) for name in ("name", "provider")}
        connection = Connection(account=account, **head, parameters=values)
        connection.set_secret(secret)
        connection.full_clean()
        connection.save()
        return connection

    return make


@pytest.fixture
def swift_store(swift: SwiftServer, swift_bucket: str) -> Callable[..., ObjectStore]:
    """Function that opens a store in the new Swift bucket; arguments replace the correct parameters."""

    def open_store(**fields: str) -> ObjectStore:
        return gateway.open_s3(
            provider=Provider.S3,
            **{
                "endpoint_url": swift.endpoint_url,
                "region": swift.region,
                "bucket": swift_bucket,
                "root_path": ROOT,
                "access_key": swift.access_key("t1"),
                "secret": swift.secret("t1"),
                **fields,
            },
        )

    return open_store


@pytest.fixture
def moto_store(moto_url: str) -> Callable[..., ObjectStore]:
    """Function that opens a store in a new bucket on moto."""
    bucket = f"bucket-{secrets.token_hex(6)}"
    client = boto3.client(
        "s3",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=bucket)

    def open_store(**fields: str) -> ObjectStore:
        return gateway.open_s3(
            provider=Provider.S3,
            **{
                "endpoint_url": moto_url,
                "region": "us-east-1",
                "bucket": bucket,
                "root_path": ROOT,
                "access_key": "access",
                "secret": "secret",
                **fields,
            },
        )

    return open_store


@pytest.fixture
def local_connection(db: None, tmp_path: Path) -> Connection:
    """A saved connection of a new account to a local folder."""
    account = Account.objects.create(name="Folders")
    folder = tmp_path / "storage" / account.uid / "files"
    folder.mkdir(parents=True)
    parameters = {"local_folder": str(folder)}
    connection = Connection(account=account, name="Folder", provider="local", parameters=parameters)
    connection.full_clean()
    connection.save()
    return connection


@pytest.fixture(
    params=["local", "moto", "swift", "gcs", "sftp", pytest.param("azure", marks=pytest.mark.programs)]
)
def store(request: pytest.FixtureRequest, db: None) -> ObjectStore:
    """An empty storage of each kind.

    ``db`` is asked for by name: pytest-django makes a test database only if a collected test does so, and
    a fixture that is fetched later would meet the installation's own.
    """
    if request.param == "local":
        connection: Connection = request.getfixturevalue("local_connection")
        return connection.store()
    opened: ObjectStore = request.getfixturevalue(f"{request.param}_store")()
    return opened
