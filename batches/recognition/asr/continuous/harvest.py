"""Harvest: copies the results of finished rows from the device to the host together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.attempts import Attempt, FinishedRow
from batches.recognition.asr.continuous.row_results import RowResults
from batches.recognition.asr.continuous.static_batch import Snapshot, StaticBatch, upload
from batches.recognition.asr.continuous.token_alignment import groups
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND
from batches.recognition.runtime.device import is_gpu


@dataclass(slots=True, eq=False)
class HostCopy:
    """Asynchronous copy of device tensors to the host, through pinned memory."""

    tensors: list[Tensor]
    event: torch.cuda.Event | None

    @staticmethod
    def start(*tensors: Tensor) -> HostCopy:
        if not is_gpu(tensors[0].device):
            return HostCopy([*tensors], None)
        hosts = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for host, tensor in zip(hosts, tensors, strict=True):
            host.copy_(tensor, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return HostCopy(hosts, event)

    def wait(self) -> list[NDArray[np.float32]]:
        if self.event is not None:
            self.event.synchronize()
        return [tensor.numpy() for tensor in self.tensors]


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    """Finished rows with their lengths; arrays are (rows,)."""

    attempts: list[Attempt]
    rows: NDArray[np.int64]  # in the static batch
    tokens: list[list[int]]
    scored: NDArray[np.int64]  # tokens, and the end of text where it was written
    first: NDArray[np.int64]  # position of the start of the transcript
    steps: NDArray[np.int64]  # of the attention map, with the lead
    frames: NDArray[np.int64]

    @staticmethod
    def read(
        batch: StaticBatch, rows: Sequence[int], attempts: list[Attempt], seen: Snapshot, end: int
    ) -> _Ended:
        tokens, scored, first, steps, frames = [], [], [], [], []
        for row, attempt in zip(rows, attempts, strict=True):
            written = int(seen.positions[row]) - len(attempt.initial) + 1
            ended = attempt.loop is None and seen.tokens[row, written] == end
            text = written + (not ended) if attempt.loop is None else attempt.loop
            tokens.append(seen.tokens[row, :text].tolist())
            scored.append(text + ended)
            first.append(attempt.start_of_transcript)
            steps.append(attempt.lead + min(text, written) + 1)
            frames.append(max(1, min(batch.frames, round(attempt.seconds * FRAMES_PER_SECOND))))
        numbers = [np.array(values, dtype=np.int64) for values in (rows, scored, first, steps, frames)]
        return _Ended(attempts, numbers[0], tokens, *numbers[1:])

    def pick(self, index: NDArray[np.int64]) -> _Ended:
        return _Ended(
            [self.attempts[place] for place in index],
            self.rows[index],
            [self.tokens[place] for place in index],
            self.scored[index],
            self.first[index],
            self.steps[index],
            self.frames[index],
        )


class Harvester:
    """Harvester of ended rows; ``submit`` runs the host part in another thread."""

    def __init__(self, weights: DeviceWeights, submit: Callable[[Callable[[], None]], object]) -> None:
        self._weights, self._submit = weights, submit
        self._languages: tuple[tuple[int, ...], Tensor] = (), weights.embedding[:0]

    @torch.inference_mode()
    def collect(
        self,
        batch: StaticBatch,
        results: RowResults,
        rows: Sequence[int],
        attempts: list[Attempt],
        seen: Snapshot,
    ) -> None:
        """Start the copies of these rows, which may be filled again as soon as this returns.

        An attempt whose results are on their way to its future is marked as ``harvested``.
        """
        asked = [place for place, attempt in enumerate(attempts) if attempt.detects is not None]
        if asked:
            self._collect_languages(batch, [rows[place] for place in asked], [attempts[i] for i in asked])
        ended = _Ended.read(batch, rows, attempts, seen, self._weights.text_tokens - 1)
        decoded = np.array([place for place in range(len(rows)) if attempts[place].detects is None], np.int64)
        if not decoded.size:
            return
        for group in groups(ended.steps[decoded], results.most_rows):
            self._collect_group(results, ended.pick(decoded[group]))

    def _collect_languages(self, batch: StaticBatch, rows: list[int], attempts: list[Attempt]) -> None:
        tokenizer = attempts[0].tokenizer
        tokens = tokenizer.all_language_tokens
        if self._languages[0] != tokens:
            self._languages = tokens, self._weights.embedding[list(tokens)]
        hidden = batch.first_hidden[upload(rows, torch.long, batch.done.device)]
        copy = HostCopy.start((hidden @ self._languages[1].T).float().softmax(dim=-1))

        def finish() -> None:
            (probabilities,) = copy.wait()
            for attempt, row in zip(attempts, probabilities.tolist(), strict=True):
                future = attempt.detects
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(dict(zip(tokenizer.all_language_codes, row, strict=True)))

        self.start(attempts, finish)

    def _collect_group(self, results: RowResults, ended: _Ended) -> None:
        count, lead = len(ended.attempts), ended.attempts[0].lead
        found = results(ended.rows, ended.first, ended.steps, ended.frames, lead)
        copy = HostCopy.start(*(tensor[:count] for tensor in found))

        def finish() -> None:
            maps, logprobs, no_speech = copy.wait()
            for place, attempt in enumerate(ended.attempts):
                steps = int(ended.steps[place]) - attempt.lead
                FinishedRow(
                    attempt,
                    ended.tokens[place],
                    logprobs[place, : ended.scored[place]],
                    float(no_speech[place]),
                    maps[place, :steps, : ended.frames[place]],
                ).finish()

        self.start(ended.attempts, finish)

    def start(self, attempts: list[Attempt], finish: Callable[[], None]) -> None:
        """Run the host part in another thread; every future gets a result or an error."""

        def guarded() -> None:
            try:
                finish()
            except Exception as error:  # noqa: BLE001 - handed to the callers
                for attempt in attempts:
                    attempt.fail(error)

        for attempt in attempts:
            attempt.harvested = True
        self._submit(guarded)
