"""Servers for storages that use django-storages: Azurite, a GCS emulator, and asyncssh's SFTP server."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest
import requests
from azure.storage.blob import BlobServiceClient
from gcp_storage_emulator.server import create_server

from speechportal.accounts.models import Account
from speechportal.storage import services
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.kind import Owner
from speechportal.storage.models import Connection
from tests.programs import required

OWNER = Owner("acc_0000000000000000", "con_0000000000000000")
AZURE_ACCOUNT = "devstoreaccount1"
# Azurite's published development key, which is no secret.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
USER, PASSWORD = "caller", "correct horse"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def saved(provider: str, values: dict[str, str]) -> Connection:
    """Save a connection of a new account, since links that the portal serves name one."""
    account = Account.objects.create(name=f"Remote {secrets.token_hex(3)}")
    return services.create_connection(account=account, name="Remote", provider=provider, **values)


# --- Google Cloud Storage


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def gcs_bucket(gcs_url: str) -> str:
    name = f"bucket-{secrets.token_hex(6)}"
    requests.post(f"{gcs_url}/storage/v1/b?project=p", json={"name": name}, timeout=30).raise_for_status()
    return name


@pytest.fixture
def gcs_store(gcs_url: str, gcs_bucket: str, db: None) -> Callable[..., ObjectStore]:
    """Function that opens a store in a new bucket of the emulator, as a user who signed in with gcloud.

    Such credentials hold no private key, and have a token here, which the emulator accepts.
    """
    user = {
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "secret",
        "refresh_token": "refresh",
        "token": "token",
        "expiry": "2099-01-01T00:00:00Z",
    }

    def open_store(**fields: str) -> ObjectStore:
        values = {
            "endpoint_url": gcs_url,
            "bucket": gcs_bucket,
            "root_path": "a root/with parts/",
            "service_account": json.dumps(user),
            **fields,
        }
        return saved("gcs", values).store()

    return open_store


# --- SFTP


@dataclass
class SftpServer:
    port: int
    host_key: str
    private_key: str  # one that the user may sign in with
    folder: Path


class _Server(asyncssh.SSHServer):
    authorised = ""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.export_public_key().decode().split()[1] == self.authorised


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    folder = tmp_path_factory.mktemp("sftp")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    _Server.authorised = user_key.export_public_key().decode().split()[1]
    loop = asyncio.new_event_loop()
    ready: list[int] = []

    class Sftp(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
            super().__init__(channel, chroot=str(folder).encode())

    async def serve() -> None:
        server = await asyncssh.create_server(
            _Server, "127.0.0.1", 0, server_host_keys=[host_key], sftp_factory=Sftp
        )
        ready.append(server.sockets[0].getsockname()[1])

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not ready:
        time.sleep(0.05)
    yield SftpServer(
        ready[0],
        host_key.export_public_key().decode().strip(),
        user_key.export_private_key().decode(),
        folder,
    )
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def sftp_store(sftp_server: SftpServer, db: None) -> Callable[..., ObjectStore]:
    """Function that opens a store in a new folder of the server."""
    name = f"calls-{secrets.token_hex(6)}"
    (sftp_server.folder / name).mkdir()

    def open_store(**fields: str) -> ObjectStore:
        values = {
            "host": "127.0.0.1",
            "port": str(sftp_server.port),
            "folder": f"/{name}/",
            "username": USER,
            "host_key": sftp_server.host_key,
            "password": PASSWORD,
            **fields,
        }
        return saved("sftp", values).store()

    return open_store


# --- Azure


@pytest.fixture(scope="session")
def azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("azurite"), free_port()
    program = shutil.which("azurite-blob")
    if program is None:
        install = [
            required("npm"),
            "install",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            "azurite@3",
        ]
        subprocess.run(install, check=True, capture_output=True, timeout=900)
        program = str(folder / "node_modules" / ".bin" / "azurite-blob")
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder / "data"), "--skipApiVersionCheck", "--silent"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(120)


@pytest.fixture
def azure_container(azurite_url: str) -> str:
    name = f"container-{secrets.token_hex(6)}"
    credential = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}
    service = BlobServiceClient(f"{azurite_url}/{AZURE_ACCOUNT}", credential=credential)
    service.create_container(name)
    service.close()
    return name


@pytest.fixture
def azure_store(azurite_url: str, azure_container: str, db: None) -> Callable[..., ObjectStore]:
    """Function that opens a store in a new container of Azurite."""

    def open_store(**fields: str) -> ObjectStore:
        values = {
            "endpoint_url": azurite_url,
            "account_name": AZURE_ACCOUNT,
            "account_key": AZURE_KEY,
            "bucket": azure_container,
            "root_path": "a root/with parts/",
            **fields,
        }
        return saved("azure", values).store()

    return open_store
