"""`LoadedModels`: the pair of models that this worker used last and prefers for its next task."""

from __future__ import annotations

import time
from collections.abc import Callable

from domains.offered_models import ModelPair

STICKY_SECONDS = 300.0  # then fair scheduling resumes, so that no model's tasks starve


class LoadedModels:
    """Model affinity of a worker: loading takes up to a minute, so it keeps its models for a while.

    ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.pair: ModelPair | None = None
        self._since = 0.0

    def use(self, pair: ModelPair) -> None:
        """Record that a task of this pair is being processed."""
        now = self._clock()
        if pair != self.pair or now - self._since > STICKY_SECONDS:
            self.pair, self._since = pair, now

    @property
    def preferred(self) -> ModelPair | None:
        """Model pair whose tasks this worker claims first; ``None`` for fair scheduling."""
        return self.pair if self._clock() - self._since <= STICKY_SECONDS else None
