"""Environment variables that say which GPUs a process sees, and how they are numbered.

By itself, CUDA numbers the fastest GPU 0; nvidia-smi numbers them in the order of the bus. All processes of
the portal count as nvidia-smi does, unless the operator has set CUDA_DEVICE_ORDER.
"""

from __future__ import annotations

from collections.abc import Mapping

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_DEVICE_ORDER = "CUDA_DEVICE_ORDER"


def device_order(inherited: Mapping[str, str]) -> dict[str, str]:
    """Variable with the order in which GPUs are numbered: the operator's, or that of the bus."""
    return {_DEVICE_ORDER: inherited.get(_DEVICE_ORDER) or "PCI_BUS_ID"}
