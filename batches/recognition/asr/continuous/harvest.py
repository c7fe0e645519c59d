"""Harvest: copies the results of finished rows from the device to the host together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.attempts import Attempt, FinishedRow
from batches.recognition.asr.continuous.static_batch import Snapshot, StaticBatch
from batches.recognition.asr.continuous.token_alignment import attention_maps, attention_scores, groups
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND
from batches.recognition.runtime.device import is_gpu

_GROUP_ROWS = 64
GROUP_VALUES = 2**25  # of attention in one group: about 0.13 GB, of which some six copies are made


@dataclass(slots=True, eq=False)
class HostCopy:
    """Asynchronous copy of a device tensor to the host, through pinned memory."""

    tensor: Tensor
    event: torch.cuda.Event | None

    @staticmethod
    def start(tensor: Tensor) -> HostCopy:
        if not is_gpu(tensor.device):
            return HostCopy(tensor, None)
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return HostCopy(host, event)

    def wait(self) -> NDArray[np.float32]:
        if self.event is not None:
            self.event.synchronize()
        return self.tensor.numpy()


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    """Finished rows with their lengths; arrays are (rows,)."""

    attempts: list[Attempt]
    rows: NDArray[np.int64]  # in the static batch
    tokens: list[list[int]]
    scored: NDArray[np.int64]  # tokens, and the end of text where it was written
    steps: NDArray[np.int64]  # of the attention map, with the lead
    frames: NDArray[np.int64]

    @staticmethod
    def read(
        batch: StaticBatch, rows: Sequence[int], attempts: list[Attempt], seen: Snapshot, end: int
    ) -> _Ended:
        tokens, scored, steps, frames = [], [], [], []
        for row, attempt in zip(rows, attempts, strict=True):
            written = int(seen.positions[row]) - len(attempt.initial) + 1
            ended = attempt.loop is None and seen.tokens[row, written] == end
            text = written + (not ended) if attempt.loop is None else attempt.loop
            tokens.append(seen.tokens[row, :text].tolist())
            scored.append(text + ended)
            steps.append(attempt.lead + min(text, written) + 1)
            frames.append(max(1, min(batch.frames, round(attempt.seconds * FRAMES_PER_SECOND))))
        numbers = [np.array(values, dtype=np.int64) for values in (rows, scored, steps, frames)]
        return _Ended(attempts, numbers[0], tokens, numbers[1], numbers[2], numbers[3])

    def pick(self, index: NDArray[np.int64]) -> _Ended:
        return _Ended(
            [self.attempts[place] for place in index],
            self.rows[index],
            [self.tokens[place] for place in index],
            self.scored[index],
            self.steps[index],
            self.frames[index],
        )


class Harvester:
    """Harvester of finished rows of a static batch; ``submit`` runs the host part in another thread."""

    def __init__(
        self, weights: DeviceWeights, no_speech: int, submit: Callable[[Callable[[], None]], object]
    ) -> None:
        self._weights, self._no_speech, self._submit = weights, no_speech, submit

    @torch.inference_mode()
    def collect(
        self, batch: StaticBatch, rows: Sequence[int], attempts: list[Attempt], seen: Snapshot
    ) -> None:
        """Start the copies of these rows, which may be filled again as soon as this returns."""
        asked = [place for place, attempt in enumerate(attempts) if attempt.detects is not None]
        if asked:
            self._collect_languages(batch, [rows[place] for place in asked], [attempts[i] for i in asked])
        ended = _Ended.read(batch, rows, attempts, seen, self._weights.text_tokens - 1)
        decoded = np.array([place for place in range(len(rows)) if attempts[place].detects is None], np.int64)
        if not decoded.size:
            return
        longest = int(ended.steps[decoded].max()) * batch.frames * self._weights.alignment_head_count
        most = max(1, min(_GROUP_ROWS, GROUP_VALUES // longest))
        for group in groups(ended.steps[decoded], most):
            self._collect_group(batch, ended.pick(decoded[group]))

    def _collect_languages(self, batch: StaticBatch, rows: list[int], attempts: list[Attempt]) -> None:
        tokenizer = attempts[0].tokenizer
        embedding = self._weights.embedding[list(tokenizer.all_language_tokens)]
        logits = (batch.first_hidden[rows] @ embedding.T).float()
        copy = HostCopy.start(logits.softmax(dim=-1))

        def finish() -> None:
            for attempt, row in zip(attempts, copy.wait().tolist(), strict=True):
                future = attempt.detects
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(dict(zip(tokenizer.all_language_codes, row, strict=True)))

        self.start(attempts, finish)

    def _collect_group(self, batch: StaticBatch, ended: _Ended) -> None:
        rows = torch.from_numpy(ended.rows).to(batch.done.device)
        special = (batch.first_hidden[rows] @ self._weights.embedding.T).float().softmax(dim=-1)
        copies = [
            HostCopy.start(tensor)
            for tensor in (
                self._maps(batch, ended, rows),
                batch.logprobs[rows, : int(ended.scored.max())],
                special[:, self._no_speech],
            )
        ]

        def finish() -> None:
            maps, logprobs, no_speech = (copy.wait() for copy in copies)
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

        self._submit(guarded)

    def _maps(self, batch: StaticBatch, ended: _Ended, rows: Tensor) -> Tensor:
        """Attention maps, (rows, most tokens + 1, frames), of rows that all have the same lead."""
        device = batch.done.device
        lead = ended.attempts[0].lead
        starts = torch.tensor([attempt.start_of_transcript for attempt in ended.attempts]).to(device)
        places = starts[:, None] + torch.arange(int(ended.steps.max()), device=device)
        queries = batch.queries[rows[:, None], places.clamp(max=batch.positions - 1)]
        scores = attention_scores(self._weights, batch, rows, queries)
        frames, steps = (torch.from_numpy(sizes).to(device) for sizes in (ended.frames, ended.steps))
        return attention_maps(scores, frames, steps, lead)
