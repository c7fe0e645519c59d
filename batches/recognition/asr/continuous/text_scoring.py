"""`TextLane`: the queue of given texts of one context, which are scored or taken as decoded.

Texts of several chunks share a teacher-forced pass. The passes run between the turns of the lane whose
context and encodings they use; they do not touch its static batch. Running out of GPU memory halves the
chunks of a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.attempts import Attempt, FinishedRow
from batches.recognition.asr.continuous.harvest import Harvester, HostCopy
from batches.recognition.asr.continuous.lane import Lane
from batches.recognition.asr.continuous.row_results import GROUP_VALUES
from batches.recognition.asr.continuous.static_batch import upload
from batches.recognition.asr.continuous.text_pass import TextPass
from batches.recognition.asr.continuous.token_alignment import attention_maps
from batches.recognition.asr.decoding import LOOP_CHECK
from batches.recognition.asr.quality import loop_start
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND
from batches.recognition.runtime.device import memory_suffices, release_memory

_WIDTH = 4  # scored texts of a chunk beside each other; a chunk with more of them takes several blocks
_LENGTHS = (32, 64, 128, 256)  # places of a text with its initial tokens; longer ones take the whole context
# At most that many blocks, and places of their texts, in a pass: 0.4 GiB for large-v3 in half precision, as
# computed. The memory plan has 1 GiB for that and the graphs of the attention maps, 0.3 GiB for each batch.
_MOST_BLOCKS, _MOST_PLACES = 16, 8192
_LOGIT_MULTIPLE = 64  # places whose logits are computed are padded to a multiple of it


@dataclass(frozen=True, slots=True)
class _Shape:
    """Shape of a pass: attempts with the same one can share it."""

    scores: bool
    initial: int  # initial tokens
    start: int  # the start of the transcript among them
    length: int  # places of each text

    @property
    def width(self) -> int:
        """Texts of a block."""
        return _WIDTH if self.scores else 1

    def blocks(self, attempt: Attempt) -> int:
        """Blocks that the attempt takes."""
        return -(-len(attempt.texts) // self.width)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Texts of one chunk that are beside each other in a pass."""

    number: int  # of the chunk in ``encoded``
    attempt: Attempt
    texts: Sequence[Sequence[int]]


class TextLane:
    """Queue of attempts with given texts, beside a lane. Not thread-safe."""

    def __init__(self, lane: Lane, texts: TextPass, harvester: Harvester, no_speech: int) -> None:
        self.queue: list[Attempt] = []  # in the order of arrival; an attempt leaves it with its results
        self._lane, self._texts, self._harvester, self._no_speech = lane, texts, harvester, no_speech
        self._most_blocks = _MOST_BLOCKS

    @property
    def is_idle(self) -> bool:
        return not self.queue

    def turn(self) -> None:
        """Score or read the texts of the oldest attempt, and of others that can share its pass."""
        if memory_suffices(self._turn):
            return
        if self._most_blocks > 1:
            self._most_blocks //= 2
            self._lane.release_encoder()
            release_memory(self._texts.weights.device)
        else:
            self._lane.shrink_for_memory()

    @torch.inference_mode()
    def _turn(self) -> None:
        self.queue = [attempt for attempt in self.queue if not attempt.future.cancelled()]
        if not self.queue:
            return
        shape = self._shape(self.queue[0])
        attempts = self._next(shape)
        encoded = self._lane.encode(attempts)
        blocks = [
            _Block(number, attempt, attempt.texts[start : start + shape.width])
            for number, attempt in enumerate(attempts)
            for start in range(0, len(attempt.texts), shape.width)
        ]
        if shape.scores:
            self._score(attempts, encoded, blocks, shape)
        else:
            self._read(attempts, encoded, blocks, shape)
        taken = set(map(id, attempts))
        self.queue = [attempt for attempt in self.queue if id(attempt) not in taken]

    def _shape(self, attempt: Attempt) -> _Shape:
        initial, start = len(attempt.initial), attempt.start_of_transcript
        needed = initial + max(map(len, attempt.texts))
        most = int(self._texts.weights.dims.n_text_ctx)
        length = next((length for length in _LENGTHS if needed <= length <= most), most)
        return _Shape(attempt.scores is not None, initial, start, length)

    def _most(self, shape: _Shape) -> int:
        """Most blocks of a pass."""
        most = min(self._most_blocks, _MOST_PLACES // (shape.width * shape.length))
        if not shape.scores:
            values = shape.length * self._lane.frames * self._texts.weights.alignment_head_count
            most = min(most, GROUP_VALUES // values)
        return max(1, most)

    def _next(self, shape: _Shape) -> list[Attempt]:
        """Attempts of the shape whose blocks fit into a pass; the first one even if it takes several."""
        taken: list[Attempt] = []
        free = self._most(shape)
        for attempt in self.queue:
            if self._shape(attempt) == shape and (not taken or shape.blocks(attempt) <= free):
                taken.append(attempt)
                free -= shape.blocks(attempt)
            if free <= 0 or len(taken) == self._lane.encoder_batch:
                break
        return taken

    def _score(self, attempts: list[Attempt], encoded: Tensor, blocks: list[_Block], shape: _Shape) -> None:
        """Start the copy of each text's score, in as many passes as the blocks need."""
        most = self._most(shape)
        logprobs = []
        for start in range(0, len(blocks), most):
            part = blocks[start : start + most]
            hidden, _ = self._run(encoded, part, shape)
            targets = [[*text, self._end] for block in part for text in block.texts]
            logprobs.append(self._logprobs(hidden, part, targets, shape))
        copy = HostCopy.start(torch.cat(logprobs))
        counts = [len(text) + 1 for attempt in attempts for text in attempt.texts]

        def finish() -> None:
            (found,) = copy.wait()
            sums = np.add.reduceat(found, _offsets(counts), dtype=np.float64).tolist()
            scores = iter(sums)
            for attempt in attempts:
                own, future = list(islice(scores, len(attempt.texts))), attempt.scores
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(own)

        self._harvester.start(attempts, finish)

    def _read(self, attempts: list[Attempt], encoded: Tensor, blocks: list[_Block], shape: _Shape) -> None:
        """Start the copies of what a row of the static batch gives when it has written the text."""
        hidden, scores = self._run(encoded, blocks, shape)
        if scores is None:
            raise RuntimeError("the pass was made without alignment")
        device = hidden.device
        texts = [list(attempt.texts[0]) for attempt in attempts]
        ends = [_ends(attempt) for attempt in attempts]
        targets = [[*text, *[self._end] * end] for text, end in zip(texts, ends, strict=True)]
        lead = attempts[0].lead
        # As when the text is written: a loop is known some tokens later, the limit before the end is chosen.
        steps = [
            lead + len(text) + (end or attempt.loop is not None)
            for attempt, text, end in zip(attempts, texts, ends, strict=True)
        ]
        frames = [
            max(1, min(self._lane.frames, round(attempt.seconds * FRAMES_PER_SECOND))) for attempt in attempts
        ]
        maps = attention_maps(
            scores[: len(attempts), :, shape.start : shape.start + max(steps)],
            upload(frames, torch.long, device),
            upload(steps, torch.long, device),
            lead,
        )
        first = hidden[: len(attempts), 0, shape.start]
        copy = HostCopy.start(
            maps,
            self._logprobs(hidden, blocks, targets, shape),
            self._texts.no_speech(first, self._no_speech),
        )
        offsets = [*_offsets([len(target) for target in targets]), sum(map(len, targets))]

        def finish() -> None:
            maps, logprobs, no_speech = copy.wait()
            for place, attempt in enumerate(attempts):
                FinishedRow(
                    attempt,
                    texts[place],
                    logprobs[offsets[place] : offsets[place + 1]],
                    float(no_speech[place]),
                    maps[place, : steps[place] - lead, : frames[place]],
                ).finish()

        self._harvester.start(attempts, finish)

    @property
    def _end(self) -> int:
        return self._texts.weights.text_tokens - 1

    def _run(self, encoded: Tensor, blocks: list[_Block], shape: _Shape) -> tuple[Tensor, Tensor | None]:
        """The pass over these blocks, padded to a power of two."""
        rows = 1 << (len(blocks) - 1).bit_length()
        tokens = np.full((rows, shape.width, shape.length), self._end, dtype=np.int64)
        for row, block in zip(tokens, blocks, strict=False):
            for place, text in zip(row, block.texts, strict=False):
                place[: shape.initial] = block.attempt.initial
                place[shape.initial : shape.initial + len(text)] = text
        numbers = [block.number for block in blocks] + [0] * (rows - len(blocks))
        device = encoded.device
        chunks = encoded[upload(numbers, torch.long, device)]
        return self._texts(chunks, upload(tokens, torch.long, device), aligned=not shape.scores)

    def _logprobs(
        self, hidden: Tensor, blocks: list[_Block], targets: list[list[int]], shape: _Shape
    ) -> Tensor:
        """Log-probabilities of each block's targets, the tokens from the end of the initial ones on, (n,)."""
        texts = [
            row * shape.width + text for row, block in enumerate(blocks) for text in range(len(block.texts))
        ]
        places = [
            text * shape.length + shape.initial - 1 + place
            for text, target in zip(texts, targets, strict=True)
            for place in range(len(target))
        ]
        count = len(places)
        padded = [0] * (-count % _LOGIT_MULTIPLE)
        flat = [token for target in targets for token in target]
        at, tokens = (upload(values + padded, torch.long, hidden.device) for values in (places, flat))
        return self._texts.logprobs(hidden.flatten(0, 2), at, tokens)[:count]


def cut_given(text: Sequence[int], limit: int) -> tuple[Sequence[int], int | None]:
    """A given text as decoding would have kept it, and where its loop starts: up to a loop or the limit."""
    for count in range(LOOP_CHECK, min(len(text), limit) + 1, LOOP_CHECK):
        start = loop_start(text[:count])
        if start is not None:
            return text[:start], start
    return text[:limit], None


def _ends(attempt: Attempt) -> bool:
    """Whether the end of text belongs to the given text."""
    return attempt.loop is None and len(attempt.texts[0]) < attempt.limit


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    """Where each of several stretches beside each other starts."""
    return np.cumsum([0, *counts[:-1]])
