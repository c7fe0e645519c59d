"""Stand-ins for CUDA graphs: captures whose graphs repeat the work, or its operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from batches.recognition.runtime.cuda_graphs import Graph


class Recorder:
    """Capture whose graphs repeat the work, and that counts both."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, work: Callable[[], None]) -> Graph:
        self.captured += 1
        work()
        recorder = self

        class Repeated:
            def replay(self) -> None:
                recorder.replayed += 1
                work()

        return Repeated()


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Graph that repeats the operations of the work on the same tensors, as a CUDA graph does.

    The work itself does not run again: what it would read anew, such as a tensor that has taken the place
    of another one or a number of Python's, stays as it was.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, _types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        self._operations.append((function, arguments, options or {}, result))
        return result

    @torch.inference_mode()
    def replay(self) -> None:
        for function, arguments, options, result in self._operations:
            again = function(*arguments, **options)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Capture whose graphs are tapes, and that counts them."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, work: Callable[[], None]) -> Graph:
        self.captured += 1
        work()
        tape = Tape()
        with tape:
            work()
        return tape
