"""CUDA graphs: work of fixed size is captured once and then launched as one call.

A network of some hundred small kernels, launched one by one, costs the host more time than the GPU, the more
so as every launch waits for the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import torch

from batches.recognition.runtime.device import CAPTURING, is_gpu, new_stream

Result = TypeVar("Result")


class Graph(Protocol):
    """Interface of a captured graph."""

    def replay(self) -> None: ...


# Captures a call, which must only use static tensors, as a graph. It may run the call before.
Capture = Callable[[Callable[[], None]], Graph]


class CudaCapture:
    """Captures CUDA graphs, which share a stream for captures and a memory pool.

    Keep all of its graphs until none is needed: destroying one may free the workspace that cuBLAS has for
    the stream, which the others still write to. For new graphs after that, make another capture. What the
    call before a capture allocated stays with the allocator; ``release_memory`` gives it back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._side = new_stream(device)

    def __call__(self, work: Callable[[], None]) -> Graph:
        try:
            with CAPTURING:
                return self._captured(work)
        except RuntimeError as error:
            # Of what is not torch's own memory, such as the graph itself.
            if "CUDA error: out of memory" in str(error):
                raise torch.OutOfMemoryError(str(error)) from None
            raise

    def _captured(self, work: Callable[[], None]) -> Graph:
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):  # libraries allocate their workspaces at the first call
            work()
        current.wait_stream(self._side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"):
            work()
        return graph


def capture_for(device: torch.device) -> Capture | None:
    """CUDA graphs on a GPU; None on a CPU."""
    return CudaCapture(device) if is_gpu(device) else None


class GraphedFunction(Generic[Result]):
    """Function of static tensors, for few sizes: captured once for each, then replayed. Not thread-safe.

    Its results are static too: the next call may overwrite them. ``new_capture`` makes the capture of all
    sizes; where that is None, the function is called directly.
    """

    def __init__(self, function: Callable[..., Result], new_capture: Callable[[], Capture | None]) -> None:
        self._function, self._new_capture = function, new_capture
        self._capture = new_capture()
        self._graphs: dict[tuple[int, ...], tuple[Graph, list[Result]]] = {}

    @torch.inference_mode()
    def __call__(self, *size: int) -> Result:
        if self._capture is None:
            return self._function(*size)
        if size not in self._graphs:
            self._graphs[size] = self._captured(size, self._capture)
        graph, results = self._graphs[size]
        graph.replay()
        return results[0]

    def _captured(self, size: tuple[int, ...], capture: Capture) -> tuple[Graph, list[Result]]:
        results: list[Result] = []

        def work() -> None:
            results[:] = [self._function(*size)]

        return capture(work), results

    @property
    def is_graphed(self) -> bool:
        """Whether calls are graphs, so that each size is captured once."""
        return self._capture is not None

    def clear(self) -> None:
        """Drop all graphs, and with them their memory."""
        self._graphs.clear()
        self._capture = self._new_capture()

    def fitting_sizes(self, sizes: Sequence[int], run: Callable[[int], object]) -> tuple[int, ...]:
        """Run each of the ascending sizes once, so that its graph exists; returns those that fit into memory.

        The largest runs first: the others fit into its memory. Graphs of a size that does not fit are
        dropped. Raises torch.OutOfMemoryError if none fits.
        """
        found: list[int] = []
        for size in reversed(sizes):
            try:
                run(size)
            except torch.OutOfMemoryError:
                if size == sizes[0]:
                    raise
                found = []
            else:
                found.append(size)
                continue
            self.clear()  # after the exception is gone, which references tensors
        return tuple(reversed(found))
