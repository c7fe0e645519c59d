"""`ContinuousDecoder`: :class:`batches.recognition.asr.chunk_decoder.ChunkDecoder` by continuous batching."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from whisper.tokenizer import Tokenizer

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.continuous.attempts import Attempt
from batches.recognition.asr.continuous.decoding_step import DecodingStep
from batches.recognition.asr.continuous.encoder import SAMPLES_PER_FRAME, Encoder
from batches.recognition.asr.continuous.harvest import Harvester
from batches.recognition.asr.continuous.keyword_tables import KeywordAutomaton
from batches.recognition.asr.continuous.lane import Lane, LaneParts
from batches.recognition.asr.continuous.static_batch import INITIAL_TOKENS
from batches.recognition.asr.continuous.text_pass import TextPass
from batches.recognition.asr.continuous.text_scoring import TextLane, cut_given
from batches.recognition.asr.continuous.token_alignment import warm_up_warp
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.asr.decoding import Decoded, initial_tokens, sampling_seed, token_limit
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.media.decoding import Samples
from batches.recognition.models.gpu_memory import SHORT_CONTEXT
from batches.recognition.runtime.cuda_graphs import Capture, capture_for
from batches.recognition.runtime.device import on_own_stream, shorten_thread_switches
from batches.recognition.runtime.load_errors import DecoderFailed

_MARGIN_FRAMES = 50
MULTILINGUAL_VOCABULARY = 51865  # tokens; English-only models have one less
_KEPT_AUTOMATA = 64
_GATHER = 0.002  # seconds after the first request in which others may join its batch
_HOST_THREADS = 4  # for times and texts of harvested rows
Value = TypeVar("Value")


class ContinuousDecoder:
    """Chunk decoder with one thread and shared static batches for the chunks of all callers.

    Chunks of up to 15 s use a batch of ``rows`` rows with the short context, longer ones and those that
    request it one of ``full_rows`` rows with the full context. ``limit`` returns the maximum number of tokens
    for a chunk's seconds; ``checks_loops`` is off only in benchmarks with random weights. ``new_capture``
    creates the graph capture of one batch.
    """

    def __init__(
        self,
        weights: DeviceWeights,
        tokenizer: Callable[[str | None], Tokenizer],
        *,
        rows: int,
        full_rows: int,
        encoder_batch: int = 64,
        limit: Callable[[float], int] = token_limit,
        checks_loops: bool = True,
        new_capture: Callable[[], Capture | None] | None = None,
    ) -> None:
        self._weights, self._tokenizer, self._limit = weights, tokenizer, limit
        self._rows, self._full_rows, self._encoder_batch = rows, full_rows, encoder_batch
        self._checks_loops = checks_loops
        self._new_capture: Callable[[], Capture | None] = new_capture or (lambda: capture_for(weights.device))
        self._automata: OrderedDict[str, KeywordAutomaton] = OrderedDict()
        self._changed = threading.Condition()
        self._arrived: list[Attempt] = []
        self._closing = False
        self._error: BaseException | None = None
        self._ready: Future[None] = Future()
        self._host = ThreadPoolExecutor(min(_HOST_THREADS, os.cpu_count() or 1), "harvest")
        # The decoding thread's; short context, full context.
        self._lanes: list[Lane] = []
        self._text_lanes: list[TextLane] = []
        shorten_thread_switches(weights.device)
        self._thread = threading.Thread(target=self._run, name="continuous-decoder", daemon=True)
        self._thread.start()

    def wait_until_ready(self) -> None:
        """Wait until memory is allocated and the usual steps are captured. Raises ModelUnavailable."""
        self._ready.result()

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the two batches, after any halving for lack of memory."""
        return tuple(lane.rows for lane in self._lanes)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        """One future per request, in their order. Requests of one call with the same ``samples`` object share
        its encoding. Cancelling a future frees its row at the next look."""
        attempts = [self._attempt(request) for request in requests]
        self._submit(attempts)
        return [attempt.decodes for attempt in attempts]

    def detect_languages(
        self, chunks: Sequence[Samples], *, decoded_next: bool = True
    ) -> list[Future[dict[str, float]]]:
        """As :meth:`ChunkDecoder.detect_languages`; no features are kept."""
        tokenizer = self._tokenizer(None)
        if not tokenizer.all_language_tokens or self._weights.dims.n_vocab < MULTILINGUAL_VOCABULARY:
            return [_resolved({"en": 1.0}) for _ in chunks]
        futures: list[Future[dict[str, float]]] = [Future() for _ in chunks]
        self._submit(
            [
                Attempt(samples, tokenizer, (tokenizer.sot,), 0, 1, detects=future)
                for samples, future in zip(chunks, futures, strict=True)
            ]
        )
        return futures

    def score(self, request: ScoreRequest) -> Future[list[float]]:
        """As :meth:`TextScorer.score`. Raises ValueError for texts that do not fit, or with other tokens."""
        if not request.texts:
            return _resolved([])
        tokenizer = self._tokenizer(request.language)
        initial = tokenizer.sot_sequence_including_notimestamps
        self._check_given(request.texts, len(initial))
        future: Future[list[float]] = Future()
        attempt = Attempt(request.samples, tokenizer, initial, 0, 1, texts=request.texts, scores=future)
        attempt.full_context = not _fits_short_context(request.samples)
        self._submit([attempt])
        return future

    def close(self) -> None:
        """End the decoder's threads. Pending futures are cancelled."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._host.shutdown()
        self._lanes, self._text_lanes = [], []  # and with them the GPU's memory

    def _attempt(self, request: DecodeRequest) -> Attempt:
        tokenizer = self._tokenizer(request.language)
        initial = initial_tokens(request, tokenizer)
        if len(initial) > INITIAL_TOKENS:
            most = INITIAL_TOKENS - len(initial) + len(request.prompt)
            raise ValueError(f"A prompt of {len(request.prompt)} tokens is too long; at most {most} fit.")
        start = initial.index(tokenizer.sot)
        attempt = Attempt(request.samples, tokenizer, initial, start, 1)
        attempt.limit = self._limit(attempt.seconds)
        attempt.full_context = request.full_context or not _fits_short_context(request.samples)
        if request.temperature > 0:
            attempt.temperature = request.temperature
            attempt.seed = sampling_seed(request)
        if request.text:
            text, attempt.loop = cut_given(request.text, attempt.limit)
            self._check_given([text], len(initial))
            attempt.texts = [text]
        elif request.keywords is not None:
            attempt.automaton = self._automaton(request.keywords)
        return attempt

    def _check_given(self, texts: Sequence[Sequence[int]], initial: int) -> None:
        """Check what on a GPU would be an error of the whole process."""
        most, end = int(self._weights.dims.n_text_ctx) - initial, self._weights.text_tokens - 1
        for text in texts:
            if len(text) > most:
                raise ValueError(f"A text of {len(text)} tokens is too long; at most {most} fit.")
            if any(not 0 <= token < end for token in text):
                raise ValueError("A given text may have text tokens only.")

    def _automaton(self, tree: KeywordTree) -> KeywordAutomaton:
        """Cached automaton of a tree, compiled in the thread of the first file with it."""
        with self._changed:
            known = self._automata.get(tree.digest)
        if known is None:
            known = KeywordAutomaton.compile(tree)
        with self._changed:
            self._automata[tree.digest] = known
            self._automata.move_to_end(tree.digest)
            while len(self._automata) > _KEPT_AUTOMATA:
                self._automata.popitem(last=False)
        return known

    def _submit(self, attempts: list[Attempt]) -> None:
        with self._changed:
            if self._error is not None:
                raise _failed(self._error)
            if self._closing:
                raise RuntimeError("The decoder is closed.")
            # The longest first: a long text that starts last would be decoded alone.
            self._arrived.extend(sorted(attempts, key=lambda attempt: -len(attempt.samples)))
            self._changed.notify()

    def _run(self) -> None:
        """Main loop of the decoding thread: all work of the device, on its own stream."""
        try:
            with on_own_stream(self._weights.device):
                self._open_lanes()
                self._ready.set_result(None)
                while self._receive():
                    for lane in self._all_lanes:
                        if not lane.is_idle:
                            lane.turn()
        except BaseException as error:  # noqa: BLE001 - handed to all callers
            self._fail(error)
        else:
            for attempt in self._unfinished():
                attempt.future.cancel()

    @property
    def _all_lanes(self) -> list[Lane | TextLane]:
        return [*self._lanes, *self._text_lanes]

    def _open_lanes(self) -> None:
        weights = self._weights
        tokenizer = self._tokenizer(None if weights.dims.n_vocab >= MULTILINGUAL_VOCABULARY else "en")
        parts = LaneParts(
            DecodingStep(weights, tokenizer),
            Encoder(weights, self._new_capture),
            Harvester(weights, self._host.submit),
            tokenizer,
            self._new_capture,
            checks_loops=self._checks_loops,
        )
        full = int(weights.dims.n_audio_ctx)
        batch = self._encoder_batch
        self._lanes = [
            Lane(parts, rows=self._rows, frames=min(SHORT_CONTEXT, full), encoder_batch=batch),
            Lane(parts, rows=self._full_rows, frames=full, encoder_batch=max(1, batch // 2)),
        ]
        texts = TextPass(weights)
        self._text_lanes = [
            TextLane(lane, texts, parts.harvester, tokenizer.no_speech) for lane in self._lanes
        ]
        warm_up_warp()
        for lane in self._lanes:
            parts.encoder.reserve(lane.encoder_batch, lane.frames)
        for lane in self._lanes:
            lane.warm_up()

    def _receive(self) -> bool:
        """Receive submitted attempts, blocking if there is no other work. False after close."""
        with self._changed:
            idle = all(lane.is_idle for lane in self._all_lanes)
            while idle and not self._arrived and not self._closing:
                self._changed.wait()
        if idle:
            time.sleep(_GATHER)
        with self._changed:
            arrived, self._arrived = self._arrived, []
        for attempt in arrived:
            lanes = self._text_lanes if attempt.texts else self._lanes
            lanes[attempt.full_context].queue.append(attempt)
        return not self._closing

    def _unfinished(self) -> list[Attempt]:
        with self._changed:
            arrived, self._arrived = self._arrived, []
        held = [attempt for lane in self._lanes for attempt in lane.attempts]
        queued = [attempt for lane in self._all_lanes for attempt in lane.queue]
        return [*arrived, *held, *queued]

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
        if not self._ready.done():
            self._ready.set_exception(error)
        for attempt in self._unfinished():
            attempt.fail(_failed(error))


def _failed(error: BaseException) -> DecoderFailed:
    failed = DecoderFailed(f"The decoder has ended by {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed


def _fits_short_context(samples: Samples) -> bool:
    return bool(len(samples) <= (SHORT_CONTEXT - _MARGIN_FRAMES) * SAMPLES_PER_FRAME)


def _resolved(value: Value) -> Future[Value]:
    future: Future[Value] = Future()
    future.set_result(value)
    return future
