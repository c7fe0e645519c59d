"""Probe of this machine's graphics cards: ``python -m batches.recognition.runtime.gpu_probe`` prints JSON.

torch is imported in a process of its own (:func:`ask`), so that it stays out of the portal's processes. What
is wrong with the cards is said by :meth:`GpuReport.problem`, without torch.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DRIVER_FILES = (
    Path("/proc/driver/nvidia"),
    Path("/dev/nvidia0"),
    Path("/dev/dxg"),
)  # where a driver is loaded
VERSION_FILE = Path("/proc/driver/nvidia/version")
# The oldest driver of each CUDA, by its major version. Source: NVIDIA, "CUDA Compatibility" (minor version
# compatibility), and the release notes of CUDA 13.0.
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
_VERSION = re.compile(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s")
_SOURCES = Path(__file__).resolve().parents[3]
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Card:
    """One graphics card that torch can use. Memory in bytes."""

    name: str
    total: int
    free: int
    capability: str  # such as "9.0"


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What torch finds. ``cuda`` is empty for a CPU build, ``driver`` where none is loaded."""

    torch: str = ""
    cuda: str = ""
    driver: str = ""
    cards: list[Card] = field(default_factory=list)
    error: str = ""  # why torch finds no card, in its own words

    @property
    def oldest_driver(self) -> str:
        """The oldest driver that this torch's CUDA runs with; empty where that is not known."""
        major = self.cuda.partition(".")[0]
        return OLDEST_DRIVER.get(int(major), "") if major.isdigit() else ""

    def problem(self) -> tuple[str, str]:
        """What keeps torch from using a card, and the remedy; empty texts if nothing does."""
        if self.cards:
            return "", ""
        if not self.torch:
            return f"PyTorch does not start: {self.error}", "Install the project's requirements again."
        if not self.cuda:
            return (
                f"PyTorch {self.torch} is a CPU build.",
                "Install a CUDA build: make models TORCH=cuda, or the CUDA image.",
            )
        if not self.driver:
            return (
                "No NVIDIA driver is loaded.",
                f"Install driver {self.oldest_driver or '580'} or newer; for containers NVIDIA's Toolkit.",
            )
        if self.oldest_driver and _numbers(self.driver) < _numbers(self.oldest_driver):
            return (
                f"The NVIDIA driver {self.driver} is too old for PyTorch {self.torch} (CUDA {self.cuda}).",
                f"Update it to {self.oldest_driver} or newer, or install a PyTorch for an older CUDA.",
            )
        who = f"PyTorch {self.torch} (CUDA {self.cuda}, driver {self.driver})"
        return (
            f"{who} finds no graphics card: {self.error or 'it gives no reason'}",
            "Check the cards with nvidia-smi, and CUDA_VISIBLE_DEVICES.",
        )


def driver_is_loaded() -> bool:
    """Whether there may be a card: without a driver there is no use in asking torch."""
    return any(path.exists() for path in DRIVER_FILES)


def ask(version_file: Path = VERSION_FILE, seconds: float = _SECONDS) -> GpuReport:
    """What torch finds, asked in another process."""
    command = [sys.executable, "-m", "batches.recognition.runtime.gpu_probe", str(version_file)]
    try:
        ran = subprocess.run(
            command, cwd=_SOURCES, capture_output=True, text=True, timeout=seconds, check=True
        )
        return _from_json(json.loads(ran.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return GpuReport(error=f"it did not start within {seconds:.0f} seconds")
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        return GpuReport(error=lines[-1] if lines else f"it ended with status {error.returncode}")
    except (OSError, ValueError, LookupError, TypeError) as error:
        return GpuReport(error=str(error))


def driver_version(version_file: Path = VERSION_FILE) -> str:
    """The version of the kernel's NVIDIA driver, such as "535.129.03"; empty where none is loaded."""
    try:
        found = _VERSION.search(version_file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def probe(version_file: Path) -> GpuReport:
    """Ask torch, in this process."""
    import torch

    driver, cuda = driver_version(version_file), str(torch.version.cuda or "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same is said by what init raises
        if torch.cuda.is_available():
            return GpuReport(torch.__version__, cuda, driver, _cards())
        error = ""
        if cuda:
            try:
                torch.cuda.init()  # type: ignore[no-untyped-call]
            except (RuntimeError, AssertionError) as raised:
                error = str(raised).splitlines()[0]
    return GpuReport(torch.__version__, cuda, driver, [], error)


def _cards() -> list[Card]:
    import torch

    cards = []
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        cards.append(Card(found.name, int(total), int(free), f"{found.major}.{found.minor}"))
    return cards


def _from_json(document: dict[str, Any]) -> GpuReport:
    return GpuReport(**{**document, "cards": [Card(**card) for card in document["cards"]]})


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


if __name__ == "__main__":
    print(json.dumps(asdict(probe(Path(sys.argv[1])))))
