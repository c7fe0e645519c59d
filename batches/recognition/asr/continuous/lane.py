"""`Lane`: one static batch with its queue.

Each turn fills free rows, runs a few steps, takes one snapshot, and harvests finished rows. Running out of
GPU memory halves the rows and restarts their attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer

from batches.recognition.asr.continuous.attempts import Attempt
from batches.recognition.asr.continuous.decoding_step import DecodingStep
from batches.recognition.asr.continuous.encoder import Encoder
from batches.recognition.asr.continuous.encoding_cache import EncodingCache
from batches.recognition.asr.continuous.harvest import Harvester
from batches.recognition.asr.continuous.keyword_tables import KeywordTables
from batches.recognition.asr.continuous.loop_check import find_loops
from batches.recognition.asr.continuous.row_filling import RowFilling, RowStart
from batches.recognition.asr.continuous.row_results import RowResults
from batches.recognition.asr.continuous.static_batch import Snapshot, StaticBatch
from batches.recognition.asr.continuous.step_graphs import StepRunner
from batches.recognition.asr.decoding import LOOP_CHECK
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.gpu_memory import LEAST_ROWS
from batches.recognition.runtime.cuda_graphs import Capture
from batches.recognition.runtime.device import memory_suffices, release_memory

_REFILL_SHARE = 4  # rows are refilled when a quarter of them is free
_PATIENCE = 16  # steps after which ended rows are harvested, however few they are


@dataclass(frozen=True, slots=True, eq=False)
class LaneParts:
    """Parts shared by all lanes of a decoder."""

    step: DecodingStep
    encoder: Encoder
    harvester: Harvester
    tokenizer: Tokenizer  # of any language
    new_capture: Callable[[], Capture | None]
    checks_loops: bool = True


class Lane:
    """Static batch of up to ``rows`` rows with its queue. Not thread-safe."""

    def __init__(self, parts: LaneParts, *, rows: int, frames: int, encoder_batch: int) -> None:
        self.frames, self.encoder_batch = frames, encoder_batch
        self.queue: deque[Attempt] = deque()
        self._parts = parts
        self._rows = rows
        self._owners: list[Attempt | None] = []
        self._waited = 0  # steps since the last harvest
        self._allocate(rows)

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def active(self) -> list[int]:
        """Rows in use, in ascending order."""
        return [row for row, owner in enumerate(self._owners) if owner is not None]

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts in rows."""
        return [owner for owner in self._owners if owner is not None]

    @property
    def is_idle(self) -> bool:
        return not self.queue and not self.active

    def _allocate(self, rows: int) -> None:
        """Allocate the batch, with fewer rows if memory does not suffice."""
        while not self._try_to_allocate(rows):
            rows = self._halved(rows)
        self._rows, self._owners, self._waited = rows, [None] * rows, 0
        self.encoder_batch = min(self.encoder_batch, rows)
        self._encodings = EncodingCache()

    def _try_to_allocate(self, rows: int) -> bool:
        """Allocate the batch, and what reads and writes it; whether memory suffices."""
        weights, capture = self._parts.step.weights, self._parts.new_capture()
        try:
            batch = StaticBatch(weights, rows, self.frames)
            keywords = KeywordTables(len(weights.output), weights.text_tokens, weights.device)
            filling = RowFilling(weights, batch, lambda: capture)
            results = RowResults(weights, batch, self._parts.tokenizer.no_speech, lambda: capture)
        except torch.OutOfMemoryError:
            return False
        self._batch, self._keywords, self._filling, self._results = batch, keywords, filling, results
        self._runner = StepRunner(self._parts.step, batch, keywords, capture)
        return True

    def _halved(self, rows: int) -> int:
        if rows <= LEAST_ROWS:
            raise ModelUnavailable(
                "The GPU's free memory does not suffice for recognition. Free some of it, choose a smaller "
                "model, or raise the memory limit of the engine."
            )
        return max(LEAST_ROWS, rows // 2)

    def turn(self) -> None:
        """Advance by a few steps."""
        if not memory_suffices(self._turn):
            self.shrink_for_memory()

    def shrink_for_memory(self) -> None:
        """Put all attempts back into the queue; halve the rows and the chunks encoded at once."""
        for attempt in reversed(self.attempts):
            if not attempt.harvested:
                attempt.restart()
                self.queue.appendleft(attempt)
        rows = self._rows
        if rows > LEAST_ROWS or self.encoder_batch == 1:
            rows = self._halved(rows)
        self.encoder_batch = max(1, self.encoder_batch // 2)
        device = self._batch.done.device
        self.release_encoder()
        del self._batch, self._runner, self._keywords, self._filling, self._results, self._encodings
        release_memory(device)
        self._allocate(rows)

    def release_encoder(self) -> None:
        """Drop the encoder's graphs, of which one may be damaged when memory has run out in its capture."""
        self._parts.encoder.release()

    def warm_up(self) -> None:
        """Run the encoder and the usual steps, so that plans and graphs exist before the first file."""
        while not memory_suffices(self._warm_up):
            self.shrink_for_memory()

    def _warm_up(self) -> None:
        self._parts.encoder.warm_up(self.frames, self.encoder_batch)
        self._filling.warm_up()
        self._results.warm_up(len(self._parts.tokenizer.sot_sequence_including_notimestamps) - 1)
        for rows in reversed(self._runner.row_buckets):  # the largest first: the others fit into its memory
            for positions in self._runner.position_buckets[:2]:
                for sampling in (False, True):
                    self._runner.run(self._runner.shape(rows, positions, keywords=False, sampling=sampling))
        release_memory(self._batch.done.device)

    def _turn(self) -> None:
        self._drop_cancelled()
        self._fill()
        active = self.active
        if not active:
            return
        steps = self._runner.steps
        attempts = self.attempts
        shape = self._runner.shape(
            active[-1] + 1,
            max(attempt.position for attempt in attempts) + steps + 1,
            keywords=any(attempt.automaton is not None for attempt in attempts),
            sampling=any(attempt.temperature > 0 for attempt in attempts),
        )
        self._runner.run(shape)
        self._waited += steps
        seen = self._batch.snapshot(shape.rows)
        for attempt, position in zip(attempts, seen.positions[active].tolist(), strict=True):
            attempt.position = position
        if self._parts.checks_loops:
            self._stop_loops(active, attempts, seen)
        self._harvest(active, shape.rows, seen)

    def _drop_cancelled(self) -> None:
        cancelled = [
            row for row, owner in enumerate(self._owners) if owner is not None and owner.future.cancelled()
        ]
        if cancelled:
            self._batch.stop(cancelled)
            for row in cancelled:
                self._owners[row] = None

    def _fill(self) -> None:
        free = [row for row, owner in enumerate(self._owners) if owner is None]
        while self.queue and len(free) >= min(len(self.queue), max(1, self._rows // _REFILL_SHARE)):
            attempts: list[Attempt] = []
            most = min(len(free), self.encoder_batch)
            if len(self.queue) > most:
                most = self._parts.encoder.full(most)  # what is left over waits for the next batch
            while self.queue and len(attempts) < most:
                attempt = self.queue.popleft()
                if not attempt.future.cancelled():
                    attempts.append(attempt)
            if not attempts:
                return
            rows, free = free[: len(attempts)], free[len(attempts) :]
            # Assigned before any allocation, so that they return to the queue when memory runs out.
            for row, attempt in zip(rows, attempts, strict=True):
                self._owners[row] = attempt
            self._start(rows, attempts)

    def _start(self, rows: list[int], attempts: list[Attempt]) -> None:
        """Encode the attempts' chunks into rows."""
        self._filling(rows, self.encode(attempts), [self._row_start(attempt) for attempt in attempts])

    def encode(self, attempts: list[Attempt]) -> Tensor:
        """(attempts, frames, state): kept from an earlier attempt, or encoded now, each chunk once."""
        chunks = {id(attempt.samples): attempt.samples for attempt in attempts}
        known = {
            key: kept for key, samples in chunks.items() if (kept := self._encodings.get(samples)) is not None
        }
        missing = [samples for key, samples in chunks.items() if key not in known]
        if not missing:
            return torch.stack([known[id(attempt.samples)] for attempt in attempts])
        encoded = self._parts.encoder(missing, self.frames)
        self._encodings.keep(missing, encoded)
        if len(missing) == len(attempts):
            return encoded
        known |= {id(samples): row for samples, row in zip(missing, encoded, strict=True)}
        return torch.stack([known[id(attempt.samples)] for attempt in attempts])

    def _row_start(self, attempt: Attempt) -> RowStart:
        state, bias = 0, 0
        if attempt.automaton is not None:
            in_use = [each.automaton.tree.digest for each in self.attempts if each.automaton is not None]
            self._keywords.retain(in_use)
            state, bias = self._keywords.place(attempt.automaton)
        limit = min(attempt.limit, self._batch.positions - len(attempt.initial))
        return RowStart(
            attempt.initial,
            attempt.start_of_transcript,
            limit,
            state,
            bias,
            attempt.temperature,
            attempt.seed,
        )

    def _stop_loops(self, active: Sequence[int], attempts: Sequence[Attempt], seen: Snapshot) -> None:
        """End rows in a loop. Every multiple of 8 tokens since the last check is checked."""
        rows = np.array(active)
        counts = seen.positions[rows] + 1 - np.array([len(attempt.initial) for attempt in attempts])
        counts = np.clip(counts, 0, seen.tokens.shape[1] - 1)
        end = self._parts.step.weights.text_tokens - 1
        written = counts + (seen.done[rows] & (seen.tokens[rows, counts] != end))
        checked = np.array([attempt.checked for attempt in attempts])
        ended = [attempt.loop is not None for attempt in attempts]
        checked[ended] = written[ended]  # a loop is found once
        looping = []
        while (pending := np.flatnonzero(checked + LOOP_CHECK <= written)).size:
            checked[pending] += LOOP_CHECK
            found = find_loops(seen.tokens[rows[pending]], checked[pending])
            for place, loop in zip(pending.tolist(), found, strict=True):
                attempts[place].checked, attempts[place].loop = int(checked[place]), loop
                if loop is not None:
                    checked[place] = written[place]
                    if not seen.done[rows[place]]:
                        looping.append(int(rows[place]))
        if looping:
            self._batch.stop(looping)
            seen.done[looping] = True

    def _harvest(self, active: Sequence[int], bucket: int, seen: Snapshot) -> None:
        """Harvest finished rows if worthwhile: to refill rows, use a smaller bucket, or if all are done."""
        ended = [row for row in active if seen.done[row]]
        if not ended:
            return
        left = len(active) - len(ended)
        buckets = self._runner.row_buckets
        smaller = next(size for size in buckets if size >= max(1, left))
        refills = self.queue and self._rows - left >= min(
            len(self.queue), max(1, self._rows // _REFILL_SHARE)
        )
        shrinks = not self.queue and smaller < bucket and left <= bucket // 2
        if left and not refills and not shrinks and self._waited < _PATIENCE:
            return
        attempts = [owner for row in ended if (owner := self._owners[row]) is not None]
        self._parts.harvester.collect(self._batch, self._results, ended, attempts, seen)
        self._waited = 0
        for row in ended:
            self._owners[row] = None
        if left and not self.queue and smaller < bucket:
            self._compact(smaller)

    def _compact(self, rows: int) -> None:
        """Move the remaining rows into the first ``rows`` rows, to use a smaller bucket."""
        high = [row for row in self.active if row >= rows]
        free = [row for row in range(rows) if self._owners[row] is None][: len(high)]
        if high:
            self._batch.move(high, free)
            for old, new in zip(high, free, strict=True):
                self._owners[new], self._owners[old] = self._owners[old], None
