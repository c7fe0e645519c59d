"""Decoding steps, run directly or as CUDA graphs.

A graph of a few steps is captured once for each combination of row bucket, position bucket and rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from batches.recognition.asr.continuous.decoding_step import DecodingStep
from batches.recognition.asr.continuous.keyword_tables import KeywordTables
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.runtime.cuda_graphs import Capture, Graph

_POSITION_BUCKETS = (96, 232)  # and all positions: self-attention reads no more keys than that


@dataclass(frozen=True, slots=True)
class StepShape:
    """Shape of a captured step: the parameters that it depends on."""

    rows: int
    positions: int
    keywords: bool
    sampling: bool


class StepRunner:
    """Runner of the steps of one static batch, ``steps`` at each call.

    ``capture`` is None to run them without graphs.
    """

    steps = 8

    def __init__(
        self, step: DecodingStep, batch: StaticBatch, keywords: KeywordTables, capture: Capture | None
    ) -> None:
        self._step, self._batch, self._keywords, self._capture = step, batch, keywords, capture
        self._graphs: dict[StepShape, Graph] = {}
        self._outdated: list[Graph] = []  # kept: graphs of one capture go together
        self._version = keywords.version
        self.row_buckets = sorted({max(1, batch.rows >> halvings) for halvings in range(4)})
        self.position_buckets = sorted(
            {*(size for size in _POSITION_BUCKETS if size < batch.positions), batch.positions}
        )

    def shape(self, rows: int, positions: int, *, keywords: bool, sampling: bool) -> StepShape:
        """The smallest buckets for so many rows and positions."""
        return StepShape(
            next(size for size in self.row_buckets if size >= rows),
            next(size for size in self.position_buckets if size >= min(positions, self._batch.positions)),
            keywords,
            sampling,
        )

    @torch.inference_mode()
    def run(self, shape: StepShape) -> None:
        """Advance the batch by all steps of one call."""
        if self._capture is None:
            self._advance(shape)
        else:
            self._graph(shape, self._capture).replay()

    def _graph(self, shape: StepShape, capture: Capture) -> Graph:
        if self._version != self._keywords.version:  # graphs with keywords read tables that are gone
            outdated = [shape for shape in self._graphs if shape.keywords]
            self._outdated += [self._graphs.pop(shape) for shape in outdated]
            self._version = self._keywords.version
        if shape not in self._graphs:
            # Nothing may move while the step runs for the capture: rows that are done change nothing.
            done = self._batch.done.clone()
            self._batch.done.fill_(value=True)
            self._graphs[shape] = capture(lambda: self._advance(shape))
            self._batch.done.copy_(done)
        return self._graphs[shape]

    def _advance(self, shape: StepShape) -> None:
        keywords = self._keywords if shape.keywords else None
        for _ in range(self.steps):
            self._step(self._batch, shape.rows, shape.positions, keywords, sampling=shape.sampling)
