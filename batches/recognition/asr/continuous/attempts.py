"""Attempts: requests in the continuous batch, from the queue to their results."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import Tokenizer

from batches.recognition.asr.continuous.keyword_tables import KeywordAutomaton
from batches.recognition.asr.continuous.token_alignment import warp
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.quality import compression_ratio
from batches.recognition.media.decoding import SAMPLE_RATE, Samples


@dataclass(slots=True, eq=False)
class Attempt:
    """Attempt: one chunk to decode or, if ``detects`` is set, to detect the language of.

    ``initial`` are the initial tokens, with the start of the transcript at ``start_of_transcript``;
    ``limit`` is the maximum number of generated tokens. If there are ``texts``, of text tokens, nothing is
    generated: the one text is taken as decoded or, if ``scores`` is set, each of them is scored.
    """

    samples: Samples  # (n,) float32, mono, 16 kHz
    tokenizer: Tokenizer
    initial: Sequence[int]
    start_of_transcript: int
    limit: int
    full_context: bool = False
    automaton: KeywordAutomaton | None = None
    temperature: float = 0.0
    seed: int = 0
    texts: Sequence[Sequence[int]] = ()
    detects: Future[dict[str, float]] | None = None
    scores: Future[list[float]] | None = None
    decodes: Future[Decoded] = field(default_factory=Future)
    # While it has a row: tokens checked for loops, where its loop starts, and its position at the last look.
    checked: int = 0
    loop: int | None = None
    position: int = 0
    harvested: bool = False  # whether its results are on their way to its future

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def future(self) -> Future[dict[str, float]] | Future[list[float]] | Future[Decoded]:
        return self.detects or self.scores or self.decodes

    @property
    def lead(self) -> int:
        """Special tokens from the start of the transcript on, without the last, which chooses a token."""
        return len(self.initial) - self.start_of_transcript - 1

    def restart(self) -> None:
        """Reset the attempt's row, since it returns to the queue."""
        self.checked, self.loop, self.position = 0, None, 0

    def fail(self, error: BaseException) -> None:
        """Set the error as the result, unless there is a result already or the caller has cancelled."""
        if not self.future.done() and (self.future.running() or self.future.set_running_or_notify_cancel()):
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class FinishedRow:
    """Finished row: host copies of its results."""

    attempt: Attempt
    tokens: list[int]  # text tokens only
    logprobs: NDArray[np.float32]  # of the tokens and, if the text has ended by it, the end of text
    no_speech: float
    attention: NDArray[np.float32]  # (tokens + 1, frames); one row less if the limit was reached

    def finish(self) -> None:
        """Compute times and text, and set the attempt's result. Runs outside the decoding thread."""
        future = self.attempt.decodes
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._decoded())
        except Exception as error:  # noqa: BLE001 - handed to the caller
            future.set_exception(error)

    def _decoded(self) -> Decoded:
        attempt = self.attempt
        text = attempt.tokenizer.decode(self.tokens).strip()
        logprobs = self.logprobs.tolist()
        return Decoded(
            tokens=self.tokens,
            logprobs=logprobs[: len(self.tokens)],
            mean_logprob=sum(logprobs) / max(1, len(logprobs)),
            no_speech_probability=self.no_speech,
            text=text,
            compression_ratio=compression_ratio(text),
            looped=attempt.loop is not None,
            entered=self._entered(),
            temperature=attempt.temperature,
        )

    def _entered(self) -> list[float]:
        if not self.tokens:
            return [0.0]
        entered = [float(frame) for frame in warp(-self.attention)]
        # A text that ends by its limit has no step for the end: it lasts until the chunk ends.
        missing = len(self.tokens) + 1 - len(entered)
        return entered + [float(self.attention.shape[1])] * missing
