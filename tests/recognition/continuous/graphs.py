"""Stand-in for CUDA graphs: a capture whose graphs repeat the work."""

from collections.abc import Callable

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
