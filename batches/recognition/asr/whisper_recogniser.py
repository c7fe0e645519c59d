"""`WhisperRecogniser`: Whisper as a :class:`SpeechRecogniser`; per-file logic over a shared decoder.

Each chunk is decoded greedily, the longest first, and by beam search if the confidence is low. A chunk that
fails the quality checks is retried, with the full encoder context and then with a temperature; the best
attempt is kept. Speech without words is decoded separately: after the last word, or between two cuts. If
several languages are expected, chunks are split where the language changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from batches.recognition import languages
from batches.recognition.alignment import coverage
from batches.recognition.asr import language_detection, language_spans, quality
from batches.recognition.asr.chunk_decoder import ChunkDecoder, DecodeRequest, TextScorer, Work
from batches.recognition.asr.decoded_chunk import DecodedChunk
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.keyword_prompts import KeywordPrompts, Vocabulary
from batches.recognition.asr.keyword_spelling import KeywordSpelling
from batches.recognition.asr.language_detection import Detection
from batches.recognition.asr.work_loop import WorkLoop
from batches.recognition.contracts import OnChunk, Progress, RecognisedFile, SpeechChunk
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.options import Options

# Mean log-probability below which a text is unsure, and decoded again by beam search. Of 6.6 minutes in nine
# languages that was a sixth; it took as many errors as a beam everywhere: 138 of 1,150 units became 130.
_UNSURE_LOGPROB = -0.2
_BEAM_WIDTH = 5
_SEARCH_TEMPERATURES = (0.2, 0.3)  # of the attempts in place of a beam, where the decoder has none
_RETRY_TEMPERATURES = (0.0, 0.4, 0.8)  # of the attempts at full context


class WhisperRecogniser:
    """Recogniser of files with one loaded model. Thread-safe, like its decoder.

    ``in_flight`` is the maximum number of concurrent requests of one file. With ``takes_bias``, the decoder
    boosts keywords by a bias on the logits; otherwise keywords are passed as a prompt. With ``speculates``,
    attempts are submitted before it is known whether they are needed: fewer rounds one after another where
    rows are cheap, more work otherwise; the result is the same. With ``searches``, the decoder supports beam
    search; otherwise attempts at a low temperature are used instead. With ``scorer``, usually the decoder,
    keywords are tried by scoring the text with them, after a first pass without.
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
        speculates: bool = False,
        searches: bool = False,
        scorer: TextScorer | None = None,
    ) -> None:
        self._decoder, self._vocabulary, self._scorer = decoder, vocabulary, scorer
        self._speculates, self._searches = speculates, searches
        self._name, self._model = name, model
        self._in_flight, self._takes_bias = in_flight, takes_bias

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> str:
        return self._model

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        """As :meth:`SpeechRecogniser.recognise`."""
        if not chunks:
            raise ValueError("a file without chunks of speech has nothing to recognise")
        prompts = KeywordPrompts(
            options, self._vocabulary, takes_bias=self._takes_bias, scores=self._scorer is not None
        )
        work = _FileRecognition(
            self._decoder,
            prompts,
            chunks,
            options,
            self._in_flight,
            speculates=self._speculates,
            searches=self._searches,
            scorer=self._scorer,
            on_chunk=on_chunk,
        )
        return work.run(progress)

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()


class _FileRecognition:
    """Recognition of one file, from its first chunk to its last attempt.

    The work on each chunk is a generator that yields the future it waits for, and is resumed with its result.
    """

    def __init__(
        self,
        decoder: ChunkDecoder,
        prompts: KeywordPrompts,
        sounds: Sequence[SpeechChunk],
        options: Options,
        in_flight: int,
        *,
        speculates: bool,
        searches: bool,
        scorer: TextScorer | None,
        on_chunk: OnChunk | None,
    ) -> None:
        self._decoder, self._prompts, self._works = decoder, prompts, WorkLoop(in_flight)
        self._speculates, self._searches = speculates, searches
        self._on_chunk = on_chunk
        self._expected = languages.candidates(options.language)
        self._chunks = [DecodedChunk(sound) for sound in sounds]
        self._lengths = [chunk.seconds for chunk in self._chunks]
        self._asked = language_detection.spread(self._lengths)
        self._answers: list[tuple[dict[str, float], float]] = []  # of language detection, with seconds
        self._held: dict[int, Samples] = {}  # samples of chunks whose features are in the decoder's cache
        self._keywords = KeywordSpelling(decoder, scorer, prompts)
        self._finished = 0.0  # seconds of speech that need no further attempt

    def run(self, progress: Progress) -> RecognisedFile:
        total = sum(self._lengths)

        def tick() -> None:
            progress(min(1.0, self._finished / total))

        try:
            asking: list[Work] = []
            if len(self._expected) > 1:
                self._find_languages(tick)
            if len(self._expected) <= 1:
                self._held = {index: self._chunks[index].samples for index in self._asked}
                asking = [self._ask(index) for index in self._asked]
                if not (self._expected and self._speculates):
                    self._works.run(asking, tick)
                    asking = []
                language = self._expected[0] if self._expected else self._detection().best()
                for chunk in self._chunks:
                    chunk.language = language
            self._works.run([*asking, *(self._recognise(index) for index in self._order())], tick)
        finally:
            self._works.cancel()
        progress(1.0)
        return self._result()

    def _order(self) -> list[int]:
        """Decoding order of the chunks.

        In order of time for live segments. Otherwise those used for language detection come first, since
        their features are cached, and then the longest.
        """
        if self._on_chunk is not None:
            return list(range(len(self._chunks)))
        others = set(range(len(self._chunks))) - set(self._asked)
        return [*self._asked, *sorted(others, key=lambda index: -self._lengths[index])]

    def _ask(self, index: int) -> Work:
        """Detect the language of a chunk."""
        answer = yield self._detect(self._held[index])
        self._answers.append((answer, self._lengths[index]))

    def _detect(self, samples: Samples, *, decoded_next: bool = True) -> Future[dict[str, float]]:
        (future,) = self._decoder.detect_languages([samples], decoded_next=decoded_next)
        self._works.own(future)
        return future

    def _find_languages(self, tick: Callable[[], None]) -> None:
        """Split the chunks where the language changes."""
        found = [language_spans.windows(chunk.sound) for chunk in self._chunks]
        answers: list[list[dict[str, float]]] = [[] for _ in self._chunks]

        def ask(index: int) -> Work:
            samples = self._chunks[index].samples
            cuts = [(round(each.start * SAMPLE_RATE), round(each.end * SAMPLE_RATE)) for each in found[index]]
            futures = [self._detect(samples[start:end], decoded_next=False) for start, end in cuts]
            for future in futures:
                answers[index].append((yield future))

        self._works.run([ask(index) for index in range(len(self._chunks))], tick)
        speech = [window.speech for each in found for window in each]
        every = [answer for each in answers for answer in each]
        self._answers = list(zip(every, speech, strict=True))
        codes = language_spans.choose(every, speech, self._expected)
        for chunk, cut in zip(self._chunks, found, strict=True):
            own, codes = codes[: len(cut)], codes[len(cut) :]
            spans = language_spans.spans(cut, own)
            chunk.language = max(spans, key=lambda span: span[0][1] - span[0][0])[1]
            if len(spans) > 1:
                chunk.parts = [chunk.part(start, end, code) for (start, end), code in spans]

    def _recognise(self, index: int) -> Work:
        """Decode a chunk, or its parts in several languages."""
        chunk = self._chunks[index]
        held = self._held.pop(index, None)
        if chunk.parts:
            yield from self._works.together([self._decode(part, part.samples) for part in chunk.parts])
        else:
            yield from self._decode(chunk, chunk.samples if held is None else held)
        self._finished += chunk.seconds
        if self._on_chunk is not None:
            self._on_chunk(index, chunk.recognised())

    def _decode(self, chunk: DecodedChunk, samples: Samples) -> Work:
        """Decode a chunk, retry if it fails the quality checks, and decode speech without words."""
        yield from self._attempt(chunk, samples)
        if not chunk.words or not chunk.lost:
            return
        works = []
        if tail := chunk.cut_tail():
            works.append(self._attempt_in_own_language(tail))
        if chunk.lost_seconds - (tail.sound.speech_seconds if tail else 0.0) >= coverage.LEAST_SECONDS:
            works.append(self._decode_parts(chunk))
        yield from self._works.together(works)

    def _decode_parts(self, chunk: DecodedChunk) -> Work:
        """Decode a chunk again in parts, split at speech without words; keep what covers more speech."""
        parts = chunk.cut_at_lost()
        yield from self._works.together([self._decode_part(part) for part in parts])
        if parts:
            chunk.take_parts(parts)

    def _decode_part(self, part: DecodedChunk) -> Work:
        yield from self._attempt_in_own_language(part)
        if tail := part.cut_tail():
            yield from self._attempt_in_own_language(tail)

    def _attempt_in_own_language(self, part: DecodedChunk) -> Work:
        """Decode a part of a chunk, in another expected language if that is clearly detected."""
        samples = part.samples
        if len(self._expected) != 1:
            answer = yield self._detect(samples)
            found = Detection(answer)
            best = found.best(self._expected)
            share = sum(answer.get(code, 0.0) for code in self._expected) if self._expected else 1.0
            if answer.get(best, 0.0) >= language_detection.SURE * share:
                part.language = best
        yield from self._attempt(part, samples)

    def _attempt(self, chunk: DecodedChunk, samples: Samples) -> Work:
        """Decode greedily; then beam search at low confidence, and retries after a failed quality check."""
        (first,) = self._submit(self._request(chunk, samples))
        self._consider(chunk, (yield first))
        if chunk.is_doubtful or chunk.is_silence:
            return
        searches = self._searches_for(chunk, samples)
        retries = [self._request(chunk, samples, each, full=True) for each in _RETRY_TEMPERATURES]
        ahead: list[Future[Decoded]] = []
        if self._speculates and chunk.went_wrong:
            submitted = self._submit(*searches, *retries)
            found, ahead = submitted[: len(searches)], submitted[len(searches) :]
        else:
            found = self._submit(*searches)
        for future in found:
            chunk.consider_search((yield future), self._prompts.tokenizer(chunk.language))
        yield from self._keywords.spell(chunk, self._request(chunk, samples))
        if chunk.went_wrong:
            yield from self._retry(chunk, retries, ahead)
        else:
            self._works.abandon(ahead)

    def _retry(
        self, chunk: DecodedChunk, retries: Sequence[DecodeRequest], ahead: Sequence[Future[Decoded]]
    ) -> Work:
        """Consider retries in their order, until an attempt passes the quality checks.

        ``ahead`` are their futures, if they have been submitted.
        """
        if self._speculates and not ahead:
            ahead = self._submit(*retries)
        for number, request in enumerate(retries):
            future = ahead[number] if ahead else self._submit(request)[0]
            self._consider(chunk, (yield future))
            if not chunk.went_wrong:
                break
        self._works.abandon(ahead)

    def _searches_for(self, chunk: DecodedChunk, samples: Samples) -> list[DecodeRequest]:
        """Requests for a more likely text than the greedy one; none with keywords, which a search ignores.

        Numbers that the greedy text writes as words stay words.
        """
        if chunk.logprob >= _UNSURE_LOGPROB or self._prompts.tree(chunk.language) is not None:
            return []
        digits = chunk.decoded is not None and quality.has_digits(chunk.decoded.text)
        request = dataclasses.replace(self._request(chunk, samples), digits=digits)
        if self._searches:
            return [dataclasses.replace(request, beam_width=_BEAM_WIDTH)]
        return [dataclasses.replace(request, temperature=each) for each in _SEARCH_TEMPERATURES]

    def _request(
        self, chunk: DecodedChunk, samples: Samples, temperature: float = 0.0, *, full: bool = False
    ) -> DecodeRequest:
        # What went wrong with keywords before is tried without, and doubtful speech too.
        prompted = not temperature and not chunk.is_doubtful
        return DecodeRequest(
            samples,
            chunk.language,
            self._prompts.prompt(chunk.language) if prompted else (),
            self._prompts.tree(chunk.language),
            temperature,
            full,
        )

    def _submit(self, *requests: DecodeRequest) -> list[Future[Decoded]]:
        futures = self._decoder.decode(requests) if requests else []
        self._works.own(*futures)
        return futures

    def _consider(self, chunk: DecodedChunk, attempt: Decoded) -> None:
        tree = self._prompts.tree(chunk.language)
        boosted = tree.positions(attempt.tokens) if tree else ()
        chunk.consider(attempt, self._prompts.tokenizer(chunk.language), boosted)

    def _detection(self) -> Detection:
        answers, lengths = zip(*self._answers, strict=True)
        return language_detection.combine(answers, lengths)

    def _result(self) -> RecognisedFile:
        detection = self._detection()
        recognised = [chunk.recognised() for chunk in self._chunks]
        if not self._expected:
            language = detection.best()
            share = detection.probabilities[language]
            return RecognisedFile(recognised, language, share, keywords=[*self._keywords.outcomes.values()])
        spoken = dict.fromkeys(self._expected, 0.0)
        for chunk in self._chunks:
            for part in chunk.parts or [chunk]:
                spoken[part.language] = spoken.get(part.language, 0.0) + part.seconds
        language = max(self._expected, key=spoken.__getitem__)
        share = sum(detection.probabilities.get(code, 0.0) for code in self._expected)
        flags = ["language_mismatch"] if detection.contradicts(self._expected) else []
        return RecognisedFile(recognised, language, share, flags, [*self._keywords.outcomes.values()])
