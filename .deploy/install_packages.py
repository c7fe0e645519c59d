"""Install the project's packages into the Python that runs this, at the locked versions.

    python .deploy/install_packages.py runtime|development [--torch auto|cpu|cuda] [--extra NAME ...]

"runtime" is what running needs, "development" all of requirements.lock. Says what will be fetched before it
fetches anything. Uses the standard library alone, and pip as it is set up; TORCH_INDEX in the environment
names the index of PyTorch's own builds where pip's does not have the one that is wanted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
SUPPORTED = ((3, 11), (3, 12), (3, 13))
RUNTIME_EXTRAS = ("redis", "sentry")
DRIVER = Path("/proc/driver/nvidia")
# To fetch, and on the disk, in GB; measured on Linux x86-64, rounded up.
SIZES = {
    ("runtime", "cpu"): (0.9, 2.7),
    ("runtime", "cuda"): (3.0, 6.0),
    ("development", "cpu"): (1.3, 3.8),
    ("development", "cuda"): (3.4, 7.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the project's packages at the locked versions.")
    parser.add_argument("group", choices=("runtime", "development"))
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml")
    parser.add_argument("--plan", action="store_true", help="say what would be fetched, and end")
    arguments = parser.parse_args()
    if sys.version_info[:2] not in SUPPORTED:
        versions = ", ".join(".".join(map(str, each)) for each in SUPPORTED)
        sys.exit(f"Python {sys.version.split()[0]} is not supported; use one of {versions}.")
    build, reason = choose_build(arguments.torch)
    wanted = requirements(arguments.group, arguments.extra)
    print(statement(arguments.group, build, reason), flush=True)
    if arguments.plan:
        return
    install_torch(build, required=arguments.torch != "auto")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        install = ("install", "--constraint", str(LOCK), "--requirement", file.name)
        if arguments.group == "development" and install_all_of_lock(*install):
            return
        if pip(*install):
            sys.exit("The packages could not be installed; pip says why above.")


def install_all_of_lock(*install: str) -> bool:
    """Install what the lock names, without resolving it; False if that is not all that is needed here.

    Modules are compiled when they are first imported: most never are.
    """
    return not pip(*install, "--no-deps", "--no-compile") and not pip("check")


def choose_build(wanted: str) -> tuple[str, str]:
    """ "cpu" or "cuda", and why."""
    if wanted != "auto":
        return wanted, f"TORCH={wanted}"
    if DRIVER.exists() or shutil.which("nvidia-smi"):
        return "cuda", "there is an NVIDIA driver"
    return "cpu", "there is no NVIDIA driver; TORCH=cuda takes the other"


def requirements(group: str, extras: list[str]) -> list[str]:
    """Requirements of a group; the lock holds their exact versions."""
    if group == "development":
        return [line for line in LOCK.read_text().splitlines() if "==" in line and not line.startswith("#")]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    if unknown := sorted(set(extras) - set(optional)):
        sys.exit(f"There is no extra {', '.join(unknown)}; there are {', '.join(optional)}.")
    chosen = (line for name in (*RUNTIME_EXTRAS, *extras) for line in optional[name])
    return [*project["dependencies"], *chosen]


def statement(group: str, build: str, reason: str) -> str:
    """What will be fetched."""
    fetched, stored = SIZES[group, build]
    name = {"cpu": "CPU", "cuda": "CUDA"}[build]
    return (
        f"Python {sys.version.split()[0]}, PyTorch for {name} ({reason}). Packages for {group}: "
        f"up to {fetched:.1f} GB to fetch, {stored:.1f} GB on the disk in {sys.prefix}."
    )


def install_torch(build: str, *, required: bool) -> None:
    """Install the build of PyTorch that is wanted, unless it is here.

    Where no index has a CPU build, "auto" goes on with the one that pip finds.
    """
    if installed_build() == build:
        return
    version = next(line for line in LOCK.read_text().splitlines() if line.startswith("torch=="))
    index = os.environ.get("TORCH_INDEX", "")
    where = ["--index-url", index] if index else []
    wanted = f"{version}+cpu" if build == "cpu" else version
    again = ["--force-reinstall", "--no-deps"] if installed_build() else []
    failed = pip("install", *where, *again, wanted)
    if again and not failed:
        failed = pip("install", *where, wanted)  # what the other build needs besides
    if not failed and installed_build() == build:
        return
    remedy = "Set TORCH_INDEX to PyTorch's index of such builds, which its installation page names"
    if required or build == "cuda":
        sys.exit(f"pip finds no build of PyTorch for {build}. {remedy}.")
    fetched, stored = SIZES["runtime", "cuda"]
    print(
        f"pip finds no CPU build of PyTorch, so the usual one is taken: up to {fetched:.1f} GB to fetch, "
        f"{stored:.1f} GB on the disk. {remedy}, or stop here.",
        flush=True,
    )


def installed_build() -> str:
    """The build of PyTorch in this Python; empty where there is none."""
    ask = "import torch; print('cuda' if torch.version.cuda else 'cpu')"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def pip(*arguments: str) -> int:
    """Run pip; show what it fetches and what goes wrong. Returns its exit status."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout or ():
        if line.startswith(("Collecting", "ERROR", "Successfully")):
            print("   ", line.rstrip(), flush=True)
    return process.wait()


if __name__ == "__main__":
    main()
