"""``python -m tests.chaos``: drop files into two batches, break everything for a while, and count.

The portal's own settings are made here, before Django reads them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.database import Postgres, Sqlite

ROOT = Path(__file__).resolve().parents[2]
DISK = "64m"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed plans the same faults")
    parser.add_argument("--files", type=int, default=200, help="inputs, over both batches")
    parser.add_argument("--minutes", type=float, default=20, help="then what is not done is stuck")
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--speakers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--kills", type=int, default=3, help="how often to kill at each named step")
    parser.add_argument("--pause", type=float, default=8, help="mean seconds between kills at random")
    parser.add_argument(
        "--rain", type=float, default=0.0, help="seconds of faults; 0: until all kills are done"
    )
    parser.add_argument("--workers", type=int, default=2, help="recognition workers")
    parser.add_argument("--keep", action="store_true", help="leave the run's folder for a look")
    return parser.parse_args()


def configure(folder: Path, url: str, workers: int) -> None:
    """Set the environment of this process and of the clusters."""
    for name in [name for name in os.environ if name.startswith("SPEECHPORTAL_")]:
        if name != "SPEECHPORTAL_MODELS_DIR":
            del os.environ[name]
    models = os.environ.get("SPEECHPORTAL_MODELS_DIR") or str(ROOT / "var" / "models")
    given = {
        "DATA_DIR": str(folder),
        "MODELS_DIR": models,
        "WORK_DIR": str(folder / "work"),
        "DATABASE_URL": url,
        "WHISPER_MODELS": "tiny.en" if (Path(models) / "tiny.en").exists() else "base",
        "RECOGNITION_WORKERS": str(workers),
        "SHORT_WORKERS": "2",
        "POLL_SECONDS": "2",
        "SETTLE_SECONDS": "1",
        "IDLE_SECONDS": "10",
        "LEASE_SECONDS": "6",
        "WEBHOOK_LEASE_SECONDS": "30",
        "WORK_FREE_MB": "8",
        "MAX_ATTEMPTS": "1000",  # The killer's work is not the files' fault.
        "OUTBOUND_NETWORKS": "127.0.0.0/8",
        "OUTBOUND_PORTS": "any",
        "LOG_LEVEL": "INFO",
    }
    os.environ.update({f"SPEECHPORTAL_{name}": value for name, value in given.items()})
    os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"


@contextmanager
def run_folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="speechportal-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as somebody else.
    try:
        yield folder
    finally:
        if keep:
            print(f"The run's folder: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk that can be filled as the work folder; ``False`` if this user may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["/usr/bin/env", "umount", "--lazy", str(folder)], check=False)


def fill(folder: Path) -> None:
    """Fill the disk for a few seconds."""
    filler = folder / "filler"
    try:
        with filler.open("wb") as file:
            while True:
                file.write(b"\0" * 1024 * 1024)
    except OSError:
        time.sleep(4)
    finally:
        filler.unlink(missing_ok=True)


def main() -> int:
    options = arguments()
    if options.database == "both":  # Each has Django's settings, and so a process, of its own.
        ends = [
            subprocess.call([sys.executable, "-m", "tests.chaos", *sys.argv[1:], "--database", name])
            for name in ("sqlite", "postgres")
        ]
        return max(ends)
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(options.keep))
        database = (Postgres if options.database == "postgres" else Sqlite)(folder)
        database.start()
        stack.callback(database.stop)
        can_fill = stack.enter_context(small_disk(folder / "work"))
        configure(folder, database.url, options.workers)
        import django

        django.setup()
        from tests.chaos.run import Run

        return Run(options, folder, database, (lambda: fill(folder / "work")) if can_fill else None).go(stack)


if __name__ == "__main__":
    threading.excepthook = threading.__excepthook__
    sys.exit(main())
