"""GPU probe: ``python -m batches.recognition.runtime.gpu_probe`` prints this machine's GPUs as JSON.

torch is imported in a separate process (:func:`ask`), to keep it out of the portal's processes.
:meth:`GpuReport.problem` describes problems with the GPUs, without torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from batches.recognition.runtime.visible_devices import device_order, visible_devices

DRIVER_FILES = (
    Path("/proc/driver/nvidia"),
    Path("/dev/nvidia0"),
    Path("/dev/dxg"),
)  # where a driver is loaded
VERSION_FILE = Path("/proc/driver/nvidia/version")
# Minimum driver version by major version of CUDA. Source: NVIDIA, "CUDA Compatibility" (minor version
# compatibility), and the release notes of CUDA 13.0.
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
_VERSION = re.compile(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s")
_SOURCES = Path(__file__).resolve().parents[3]
_SECONDS = 120.0


# Architecture in torch's list, such as "sm_86" or "compute_120"; "a" and "f" limit it to one chip or family.
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def built_for(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether code for these architectures runs on a GPU of that compute capability.

    Binary code (``sm``) runs on its major version from its minor version on; PTX (``compute``) is compiled
    for any newer GPU. True if ``architectures`` is empty: torch then does not know them.

    Source: NVIDIA, "CUDA C++ Programming Guide", "Binary Compatibility" and "PTX Compatibility".
    """
    for architecture in architectures:
        if not (found := _ARCHITECTURE.fullmatch(architecture)):
            continue
        kind, version, limited_to = found[1], (int(found[2]), int(found[3])), found[4]
        if limited_to == "a":
            runs = capability == version
        elif kind == "compute" and not limited_to:
            runs = capability >= version
        else:
            runs = capability[0] == version[0] and capability >= version
        if runs:
            return True
    return not architectures


@dataclass(frozen=True, slots=True)
class Card:
    """GPU that torch finds. Memory in bytes. ``usable``: torch was built for its compute capability."""

    number: int
    name: str
    total: int
    free: int
    capability: str  # such as "9.0"
    usable: bool = True

    @property
    def described(self) -> str:
        return f"{self.name} (compute capability {self.capability})"


@dataclass(frozen=True, slots=True)
class GpuReport:
    """Result of the probe. ``cuda`` is empty for a CPU build of torch, ``driver`` if none is loaded."""

    torch: str = ""
    cuda: str = ""
    driver: str = ""
    cards: list[Card] = field(default_factory=list)
    error: str = ""  # torch's error message if it finds no GPU
    architectures: list[str] = field(default_factory=list)  # that torch was built for

    @property
    def usable_cards(self) -> list[Card]:
        return [card for card in self.cards if card.usable]

    @property
    def oldest_driver(self) -> str:
        """Minimum driver version for this torch's CUDA; empty if unknown."""
        major = self.cuda.partition(".")[0]
        return OLDEST_DRIVER.get(int(major), "") if major.isdigit() else ""

    def problem(self) -> tuple[str, str]:
        """Problem that prevents torch from using a GPU, and its remedy; both empty if there is none."""
        if self.usable_cards:
            return "", ""
        if self.cards:
            return self.build_problem(self.cards)
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

    def build_problem(self, cards: Sequence[Card]) -> tuple[str, str]:
        """Sentence and remedy for cards that torch was not built for."""
        described = ", ".join(card.described for card in cards)
        versions = [int(found[2]) for each in self.architectures if (found := _ARCHITECTURE.fullmatch(each))]
        too_new = all(int(card.capability.partition(".")[0]) > max(versions, default=0) for card in cards)
        other = "a newer PyTorch" if too_new else "a PyTorch for an older CUDA"
        return (
            f"PyTorch {self.torch} (CUDA {self.cuda}) was not built for {described}.",
            f"Install {other}, as the help page GPU says, or use another card.",
        )


@dataclass(frozen=True, slots=True)
class CardUsage:
    """Current utilisation of one GPU. Memory in bytes, ``load`` in per cent."""

    number: int
    name: str
    total: int
    used: int
    load: int


def usage() -> list[CardUsage]:
    """Utilisation of each visible GPU according to ``nvidia-smi``; empty if it is not installed or fails.

    Numbers are those of CUDA, which counts the GPUs of CUDA_VISIBLE_DEVICES alone; ``nvidia-smi`` counts all.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    fields = "uuid,index,name,memory.total,memory.used,utilization.gpu"
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    found: dict[str, CardUsage] = {}
    for line in ran.stdout.splitlines():
        uuid, number, rest = (part.strip() for part in line.split(",", 2))
        name, total, used, load = (part.strip() for part in rest.rsplit(",", 3))
        total_mb, used_mb, per_cent = (int(each) if each.isdigit() else 0 for each in (total, used, load))
        found[uuid] = CardUsage(int(number), name, total_mb << 20, used_mb << 20, per_cent)
    names = visible_devices(os.environ)
    if names is None:
        return list(found.values())
    return [
        replace(card, number=place)
        for place, named in enumerate(names)
        for uuid, card in found.items()
        if named == str(card.number) or uuid.startswith(named)
    ]


def driver_is_loaded() -> bool:
    """Whether an NVIDIA driver is loaded; without one, torch is not probed."""
    return any(path.exists() for path in DRIVER_FILES)


def ask(version_file: Path = VERSION_FILE, seconds: float = _SECONDS) -> GpuReport:
    """Run the probe in a separate process and return its report."""
    command = [sys.executable, "-m", "batches.recognition.runtime.gpu_probe", str(version_file)]
    # Numbered as in the engine processes and by nvidia-smi.
    environment = {**os.environ, **device_order(os.environ)}
    try:
        ran = subprocess.run(
            command,
            cwd=_SOURCES,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
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
    """Version of the kernel's NVIDIA driver, such as "535.129.03"; empty if none is loaded."""
    try:
        found = _VERSION.search(version_file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def probe(version_file: Path) -> GpuReport:
    """Probe with torch in this process."""
    import torch

    driver, cuda = driver_version(version_file), str(torch.version.cuda or "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # init raises an exception with the same text
        if torch.cuda.is_available():
            architectures = list(torch.cuda.get_arch_list())
            return GpuReport(
                torch.__version__, cuda, driver, _cards(architectures), architectures=architectures
            )
        error = ""
        if cuda:
            try:
                torch.cuda.init()  # type: ignore[no-untyped-call]
            except (RuntimeError, AssertionError) as raised:
                error = str(raised).splitlines()[0]
    return GpuReport(torch.__version__, cuda, driver, [], error)


def _cards(architectures: Sequence[str]) -> list[Card]:
    import torch

    cards = []
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        usable = built_for((found.major, found.minor), architectures)
        capability = f"{found.major}.{found.minor}"
        cards.append(Card(number, found.name, int(total), int(free), capability, usable))
    return cards


def _from_json(document: dict[str, Any]) -> GpuReport:
    return GpuReport(**{**document, "cards": [Card(**card) for card in document["cards"]]})


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


if __name__ == "__main__":
    print(json.dumps(asdict(probe(Path(sys.argv[1])))))
