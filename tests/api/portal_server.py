"""The portal under gunicorn, as ``manage.py run`` starts it, on the tests' database."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from django.conf import settings
from django.db import connection

from speechportal.platform import supervisor

THREADS = 2  # Fewer than the requests that wait at once.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _database_url() -> str:
    """URL of the tests' own database, for another process."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    return f"postgresql://{given['USER']}@/{given['NAME']}?host={given['HOST']}"


@contextmanager
def serving(folder: Path, threads: int = THREADS, **variables: str) -> Iterator[str]:
    """Yield the portal's URL. It has one process, so that waiting and other requests share it.

    ``variables`` are further settings, without their prefix.
    """
    port = free_port()
    environ = {
        **os.environ,
        "SPEECHPORTAL_DATABASE_URL": _database_url(),
        "SPEECHPORTAL_DATA_DIR": str(folder),
        "SPEECHPORTAL_STORAGE_LOCAL_ROOTS": str(settings.STORAGE_LOCAL_ROOTS[0]),
        "SPEECHPORTAL_MODELS_DIR": str(settings.MODELS_DIR),
        "SPEECHPORTAL_API_TOKEN_PEPPERS": ",".join(settings.API_TOKEN_PEPPERS),
        "SPEECHPORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "SPEECHPORTAL_SECRET_KEY": settings.SECRET_KEY,
        "SPEECHPORTAL_OUTBOUND_NETWORKS": "127.0.0.0/8",
        "SPEECHPORTAL_OUTBOUND_PORTS": "any",
        **{f"SPEECHPORTAL_{name}": value for name, value in variables.items()},
    }
    process = subprocess.Popen(
        supervisor.web_command(f"127.0.0.1:{port}", workers=1, threads=threads), env=environ
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(120)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{url}/healthz", timeout=60).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise TimeoutError("the server did not start")
