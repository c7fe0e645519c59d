"""Environment variables that say which GPUs a process sees, and how they are numbered.

By itself, CUDA numbers the fastest GPU 0; nvidia-smi numbers them in the order of the bus. All processes of
the portal count as nvidia-smi does, unless the operator has set CUDA_DEVICE_ORDER.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_DEVICE_ORDER = "CUDA_DEVICE_ORDER"


def device_order(inherited: Mapping[str, str]) -> dict[str, str]:
    """Variable with the order in which GPUs are numbered: the operator's, or that of the bus."""
    return {_DEVICE_ORDER: inherited.get(_DEVICE_ORDER) or "PCI_BUS_ID"}


def visible_devices(inherited: Mapping[str, str]) -> list[str] | None:
    """GPUs that the operator lets a process see, by number or UUID, in their order; None for all of them."""
    if VISIBLE_DEVICES not in inherited:
        return None
    names = [name.strip() for name in inherited[VISIBLE_DEVICES].split(",")]
    # As CUDA does: what follows an invalid entry is not seen.
    return list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))


def isolate(device: str, inherited: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Device name for a process that sees no other GPU, and the variable that hides the others from it.

    In such a process the GPU is the current one of every thread. Other devices, and a number that the
    operator's CUDA_VISIBLE_DEVICES does not reach, stay as they are: the process reports what is missing.
    """
    kind, _, number = device.partition(":")
    if not number.isdecimal():
        return device, {}
    names = visible_devices(inherited)
    if names is None:
        return kind, {VISIBLE_DEVICES: str(int(number))}
    if int(number) >= len(names):
        return device, {}
    return kind, {VISIBLE_DEVICES: names[int(number)]}
