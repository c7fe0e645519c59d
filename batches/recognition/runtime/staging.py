"""`StagedTensor`: static memory on a device with pinned memory of the host in front of it.

Many small copies to a GPU cost more than one large one, and copies from ordinary memory wait for the GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from batches.recognition.runtime.device import is_gpu


class StagedTensor:
    """(size,) values on a device, written through the host. Not thread-safe; for one stream."""

    def __init__(self, size: int, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.size = size
        self.tensor = torch.zeros(size, device=device, dtype=dtype)
        self._pinned = torch.zeros(size, dtype=dtype, pin_memory=True) if is_gpu(device) else self.tensor
        self._copied: torch.cuda.Event | None = None

    def staging(self, size: int) -> NDArray[Any]:
        """Host memory of the first ``size`` values, to be written, and then uploaded."""
        if self._copied is not None:
            self._copied.synchronize()
        found: NDArray[Any] = self._pinned[:size].numpy()
        return found

    def upload(self, size: int) -> None:
        """Copy the first ``size`` values to the device, on the current stream."""
        if self._pinned is self.tensor:
            return
        self.tensor[:size].copy_(self._pinned[:size], non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record()
