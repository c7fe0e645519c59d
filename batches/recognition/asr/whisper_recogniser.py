"""Whisper as a :class:`SpeechRecogniser`: what is done for one file, over a decoder that all files share.

Each chunk is decoded greedily, the longest first. A chunk whose text looks wrong is decoded again, with the
whole context of the encoder and then with some noise, and the best attempt is kept. Speech after the last
word of a chunk is decoded by itself.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from whisper.tokenizer import Tokenizer

from batches.recognition import chinese_script, languages
from batches.recognition.asr import language_detection
from batches.recognition.asr.chunk_decoder import ChunkDecoder, DecodeRequest
from batches.recognition.asr.decoded_chunk import DecodedChunk
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.keywords import KeywordTree, prompt_tokens
from batches.recognition.asr.language_detection import Detection
from batches.recognition.contracts import Progress, RecognisedFile, SpeechChunk
from batches.recognition.media.decoding import Samples
from batches.recognition.options import Options
from batches.recognition.runtime.batching import as_completed

_RETRY_TEMPERATURES = (0.0, 0.4, 0.8)  # of the attempts at full context
_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue", "km"}  # languages that put no spaces between words


class Vocabulary(Protocol):
    """The model's tokenizers."""

    def tokenizer(self, language: str | None) -> Tokenizer: ...


class WhisperRecogniser:
    """Recognises files with one loaded model. Thread-safe, as its decoder is.

    ``in_flight`` is the number of requests that one file may have in the decoder at once. A decoder with
    ``takes_bias`` boosts keywords by a bias on the logits; the others are given keywords as a prompt.
    ``retries_at_once`` makes all further attempts at a chunk in one go instead of one after another: less
    waiting where rows are cheap, more work where they are not. The result is the same.
    """

    def __init__(
        self,
        decoder: ChunkDecoder,
        vocabulary: Vocabulary,
        *,
        name: str,
        model: str,
        in_flight: int,
        takes_bias: bool = True,
        retries_at_once: bool = False,
    ) -> None:
        self._decoder, self._vocabulary = decoder, vocabulary
        self._retries_at_once = retries_at_once
        self._name, self._model = name, model
        self._in_flight, self._takes_bias = in_flight, takes_bias

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> str:
        return self._model

    def recognise(
        self, chunks: Sequence[SpeechChunk], options: Options, progress: Progress
    ) -> RecognisedFile:
        """As :meth:`SpeechRecogniser.recognise`."""
        if not chunks:
            raise ValueError("a file without chunks of speech has nothing to recognise")
        prompts = _Prompts(options, self._vocabulary, takes_bias=self._takes_bias)
        work = _FileRecognition(
            self._decoder,
            prompts,
            chunks,
            options,
            self._in_flight,
            retries_at_once=self._retries_at_once,
        )
        return work.run(progress)

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()


def spelt_keywords(keywords: Sequence[str], language: str) -> Sequence[str]:
    """The keywords as the model may write them: Chinese in either script."""
    return chinese_script.both_scripts(keywords) if language == "zh" else keywords


class _Prompts:
    """A file's keywords as what the decoder takes, by language."""

    def __init__(self, options: Options, vocabulary: Vocabulary, *, takes_bias: bool) -> None:
        self._options, self._vocabulary = options, vocabulary
        # A prompt of keywords beside the bias found one name more in eighty, cost a tenth of the time, and
        # raised the errors of everything else from 8 % to 10 %: it is for a runtime that takes no bias.
        self._biased = takes_bias and options.keyword_weight > 0
        self._trees: dict[str, KeywordTree] = {}
        self._prompts: dict[str, tuple[int, ...]] = {}

    def tokenizer(self, language: str) -> Tokenizer:
        return self._vocabulary.tokenizer(language)

    def tree(self, language: str) -> KeywordTree | None:
        if not self._options.keywords or not self._biased:
            return None
        if language not in self._trees:
            self._trees[language] = KeywordTree(
                spelt_keywords(self._options.keywords, language),
                self.tokenizer(language),
                weight=self._options.keyword_weight,
                spaced=language not in _UNSPACED,
            )
        return self._trees[language]

    def prompt(self, language: str) -> tuple[int, ...]:
        if not self._options.keywords or self._biased:
            return ()
        if language not in self._prompts:
            self._prompts[language] = tuple(prompt_tokens(self._options.keywords, self.tokenizer(language)))
        return self._prompts[language]


class _FileRecognition:
    """The requests of one file, from its first chunk to its last attempt."""

    def __init__(
        self,
        decoder: ChunkDecoder,
        prompts: _Prompts,
        sounds: Sequence[SpeechChunk],
        options: Options,
        in_flight: int,
        *,
        retries_at_once: bool,
    ) -> None:
        self._decoder, self._prompts, self._in_flight = decoder, prompts, in_flight
        self._retries_at_once = retries_at_once
        self._expected = languages.candidates(options.language)
        self._chunks = [DecodedChunk(sound) for sound in sounds]
        self._lengths = [chunk.seconds for chunk in self._chunks]
        self._asked = language_detection.spread(self._lengths)
        self._answers: dict[int, dict[str, float]] = {}  # of language detection, by index of the asked chunk
        # What to do with the result of each request that the decoder has.
        self._pending: dict[Future[Any], Callable[[Any], None]] = {}
        self._futures: set[Future[Any]] = set()
        self._held: dict[int, Samples] = {}  # samples of chunks whose features the decoder has
        self._finished = 0.0  # seconds of speech that need no further attempt

    def run(self, progress: Progress) -> RecognisedFile:
        total = sum(self._lengths)

        def tick() -> None:
            progress(min(1.0, self._finished / total))

        try:
            # The chunks whose language is asked come first: the decoder still has their features then.
            others = sorted(set(range(len(self._chunks))) - set(self._asked), key=self._longest_first)
            if len(self._expected) > 1:
                self._work_through([*self._asked, *others], self._ask_and_decode, tick)
            else:
                self._ask()
                if not self._expected:
                    self._work_through([], self._decode_held, tick)
                language = self._expected[0] if self._expected else self._detection().best()
                for index in [*self._asked, *others]:
                    self._chunks[index].language = language
                self._work_through([*self._asked, *others], self._decode_held, tick)
        finally:
            for future in self._futures:
                future.cancel()
        progress(1.0)
        return self._result()

    def _longest_first(self, index: int) -> float:
        return -self._lengths[index]

    def _work_through(
        self, order: Sequence[int], start: Callable[[int], None], tick: Callable[[], None]
    ) -> None:
        """Start the chunks in this order, few enough at once, and handle results until all are finished."""
        waiting = deque(order)

        def fill() -> None:
            while waiting and len(self._futures) < self._in_flight:
                start(waiting.popleft())

        fill()
        for future in as_completed(self._futures, tick):
            self._pending.pop(future)(future.result())
            fill()

    def _ask(self) -> None:
        """Have the language of some chunks detected."""
        self._held = {index: self._chunks[index].samples for index in self._asked}
        futures = self._decoder.detect_languages(list(self._held.values()))
        for index, future in zip(self._held, futures, strict=True):
            self._add(future, functools.partial(self._answers.__setitem__, index))

    def _ask_and_decode(self, index: int) -> None:
        """Have one chunk's language detected among those that are expected, and then decode it."""
        chunk = self._chunks[index]
        samples = chunk.samples

        def decode(answer: dict[str, float]) -> None:
            if index in self._asked:
                self._answers[index] = answer
            chunk.language = Detection(answer).best(self._expected)
            self._request(chunk, samples)

        (future,) = self._decoder.detect_languages([samples])
        self._add(future, decode)

    def _decode_held(self, index: int) -> None:
        chunk = self._chunks[index]
        held = self._held.pop(index, None)
        self._request(chunk, chunk.samples if held is None else held)

    def _request(
        self, chunk: DecodedChunk, samples: Samples, *, temperature: float = 0.0, full_context: bool = False
    ) -> None:
        request = self._attempt(chunk, samples, temperature=temperature, full_context=full_context)
        (future,) = self._decoder.decode([request])
        self._add(future, functools.partial(self._decoded, chunk, samples))

    def _attempt(
        self, chunk: DecodedChunk, samples: Samples, *, temperature: float, full_context: bool
    ) -> DecodeRequest:
        # What went wrong with keywords before it is tried without, and a tail too.
        prompted = not temperature and not chunk.is_tail
        return DecodeRequest(
            samples,
            chunk.language,
            self._prompts.prompt(chunk.language) if prompted else (),
            self._prompts.tree(chunk.language),
            temperature,
            full_context,
        )

    def _add(self, future: Future[Any], handle: Callable[[Any], None]) -> None:
        self._pending[future] = handle
        self._futures.add(future)

    def _drop(self, future: Future[Any]) -> None:
        """Do without a result that is no longer needed."""
        self._pending.pop(future, None)
        self._futures.discard(future)
        future.cancel()

    def _decoded(self, chunk: DecodedChunk, samples: Samples, attempt: Decoded) -> None:
        """Keep an attempt if it is the best; then try again, go on with the tail, or be done."""
        self._consider(chunk, attempt)
        if chunk.went_wrong and not chunk.is_tail and chunk.attempts < len(_RETRY_TEMPERATURES):
            if self._retries_at_once:
                self._retry_at_once(chunk, samples)
                return
            temperature = _RETRY_TEMPERATURES[chunk.attempts]
            chunk.attempts += 1
            self._request(chunk, samples, temperature=temperature, full_context=True)
            return
        self._finish(chunk)

    def _consider(self, chunk: DecodedChunk, attempt: Decoded) -> None:
        tree = self._prompts.tree(chunk.language)
        chunk.consider(attempt, tree.positions(attempt.tokens) if tree else ())

    def _retry_at_once(self, chunk: DecodedChunk, samples: Samples) -> None:
        """Make all further attempts together. They count in their order, as far as they are needed."""
        requests = [
            self._attempt(chunk, samples, temperature=temperature, full_context=True)
            for temperature in _RETRY_TEMPERATURES
        ]
        chunk.attempts = len(requests)
        waiting = deque(self._decoder.decode(requests))

        def count(_attempt: Decoded) -> None:
            while waiting and waiting[0].done() and chunk.went_wrong:
                made = waiting.popleft()
                self._drop(made)  # it may not have been handed out yet
                self._consider(chunk, made.result())
            if waiting and chunk.went_wrong:
                return
            while waiting:
                self._drop(waiting.popleft())
            self._finish(chunk)

        for future in waiting:
            self._add(future, count)

    def _finish(self, chunk: DecodedChunk) -> None:
        chunk.align(self._prompts.tokenizer(chunk.language))
        if tail := chunk.cut_tail():
            self._request(tail, tail.samples)
        if not chunk.is_tail:
            self._finished += chunk.seconds

    def _detection(self) -> Detection:
        answers = [self._answers[index] for index in self._asked]
        return language_detection.combine(answers, [self._lengths[index] for index in self._asked])

    def _result(self) -> RecognisedFile:
        detection = self._detection()
        recognised = [chunk.recognised() for chunk in self._chunks]
        if not self._expected:
            language = detection.best()
            return RecognisedFile(recognised, language, detection.probabilities[language])
        spoken = [chunk.language for chunk in self._chunks]
        language = max(self._expected, key=spoken.count)
        share = sum(detection.probabilities.get(code, 0.0) for code in self._expected)
        flags = ["language_mismatch"] if detection.contradicts(self._expected) else []
        return RecognisedFile(recognised, language, share, flags)
