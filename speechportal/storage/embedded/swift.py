"""Embedded S3 server for the demo and the tests: OpenStack Swift with its S3 interface.

Four processes on loopback ports, one device, one replica, all files below one folder. They stop when the
process that started them ends, even if it is killed.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import ClientError

from speechportal.env import stored_secret
from speechportal.platform.processes import die_with_parent
from speechportal.storage.backends.s3_client import ExplicitS3Storage, S3Settings

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 5

STORAGE_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
container_update_timeout = 10
log_level = WARNING

[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""

PROXY_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING

[pipeline:main]
pipeline = {pipeline} proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
location = {region}

[filter:tempauth]
use = egg:swift#tempauth
{users}
"""
CONFIGURED_FILTERS = ("s3api", "tempauth")
PIPELINE = (
    *("catch_errors", "gatekeeper", "healthcheck", "listing_formats"),
    *CONFIGURED_FILTERS,
    *("copy", "slo", "dlo", "symlink"),
)


class SwiftUnavailable(Exception):
    """Raised when the server cannot run here; the message says why and what to do."""


class SwiftServer:
    """Starts and stops Swift. Its data stays in ``folder`` for the next start.

    ``accounts`` are names (letters and digits) and their secrets; clients use ``port`` (0 for a free one) at
    ``address``, one of this machine's.
    """

    region = "us-east-1"

    def __init__(
        self, folder: Path, port: int = 0, accounts: dict[str, str] | None = None, address: str = HOST
    ) -> None:
        self.folder = folder.resolve()
        self.address = address
        self.port = port
        self.accounts = accounts or {"t1": secrets.token_urlsafe(24)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint_url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def log_folder(self) -> Path:
        return self.folder / "log"

    def access_key(self, account: str) -> str:
        return f"{account}:admin"

    def secret(self, account: str) -> str:
        return self.accounts[account]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it serves. Raises :class:`SwiftUnavailable`."""
        if importlib.util.find_spec("swift") is None:
            raise SwiftUnavailable("OpenStack Swift is not installed: pip install 'speechportal[swift]'.")
        (self.folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
        self.log_folder.mkdir(exist_ok=True)
        self._check_extended_attributes()
        ports = dict(zip(("account", "container", "object"), _free_ports(3), strict=True))
        self.port = self.port or _free_ports(1)[0]
        self._write_configuration(ports)
        self._make_rings(ports)
        try:
            for name in (*ports, "proxy"):
                self._start_process(name)
            self._wait(list(ports.values()))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def healthy(self) -> bool:
        """Whether all processes run and the health check succeeds."""
        if not self._processes or self._ended():
            return False
        connection = http.client.HTTPConnection(self.address, self.port, timeout=2)
        try:
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def create_bucket(self, account: str, bucket: str) -> None:
        """Create a bucket. Idempotent."""
        client = ExplicitS3Storage(
            S3Settings(self.endpoint_url, self.region, bucket, self.access_key(account), self.secret(account))
        ).client
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def _check_extended_attributes(self) -> None:
        probe = self.folder / "extended-attributes"
        probe.touch()
        try:
            os.setxattr(probe, "user.swift.probe", b"1" * 2048)
        except OSError as error:
            raise SwiftUnavailable(
                f"The file system of {self.folder} keeps no extended attributes ({error.strerror}), which"
                " Swift needs: use a folder on another one, such as ext4 or XFS."
            ) from error
        finally:
            probe.unlink()

    def _write_configuration(self, ports: dict[str, int]) -> None:
        # The location of every object depends on it, so it must never change.
        suffix = stored_secret(self.folder / "hash_suffix", secrets.token_hex(16))
        (self.folder / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_suffix = {suffix}\n")
        common = {"folder": self.folder, "user": pwd.getpwuid(os.getuid()).pw_name}
        for name, port in ports.items():
            text = STORAGE_CONF.format(name=name, host=HOST, port=port, **common)
            (self.folder / f"{name}.conf").write_text(text)
        users = "\n".join(f"user_{name}_admin = {secret} .admin" for name, secret in self.accounts.items())
        text = PROXY_CONF.format(
            host=self.address,
            port=self.port,
            users=users,
            region=self.region,
            pipeline=" ".join(PIPELINE),
            **common,
        )
        for name in PIPELINE:
            if name not in CONFIGURED_FILTERS:
                text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
        proxy_conf = self.folder / "proxy.conf"
        proxy_conf.touch(mode=0o600)  # It contains the secrets.
        proxy_conf.write_text(text)

    def _make_rings(self, ports: dict[str, int]) -> None:
        # Isolated mode: a module in the program's folder has the name of one of the standard library.
        program = Path(__file__).with_name("rings.py")
        command = [sys.executable, "-I", str(program), str(self.folder)]
        made = subprocess.run(
            [*command, *map(str, ports.values())], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise SwiftUnavailable(f"Swift's rings cannot be made: {made.stderr.strip()[-500:]}")

    def _start_process(self, name: str) -> None:
        package = "obj" if name == "object" else name
        program = f"import sys; from swift.{package}.server import main; sys.exit(main())"
        command = [sys.executable, "-I", "-c", program, str(self.folder / f"{name}.conf"), "--verbose"]
        with (self.log_folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),
            )

    def _wait(self, ports: list[int]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if ended := self._ended():
                raise SwiftUnavailable(f"Swift's {ended} server ended as it started: {self._log_end(ended)}")
            if all(_listens(port) for port in ports) and self.healthy():
                return
            if time.monotonic() > deadline:
                raise SwiftUnavailable(
                    f"Swift did not serve within {START_SECONDS} s; see {self.log_folder}."
                )
            time.sleep(0.05)

    def _ended(self) -> str:
        return next((name for name, process in self._processes.items() if process.poll() is not None), "")

    def _log_end(self, name: str) -> str:
        lines = (self.log_folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"


def _free_ports(count: int) -> list[int]:
    """Find free ports; each stays open until all are chosen, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
