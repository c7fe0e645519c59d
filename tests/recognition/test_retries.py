"""Further attempts at a failed chunk: one by one or batched, with the same result."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.whisper_recogniser import WhisperRecogniser
from batches.recognition.contracts import RecognisedFile, SpeechChunk
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.options import Options
from tests.recognition.continuous.small_model import tokenizer

WORDS = {
    -0.01: " sure",
    -0.3: " fine",
    -1.5: " unsure",
    -1.2: " better",
    -1.9: " worse",
    -1.95: " worst",
    -0.35: " one or two",
    -0.12: " one, or two",
    -0.34: " 1 or 2",
    -0.15: " 1, or 2",
}  # text of an attempt by its score


class ScriptedDecoder:
    """Answers attempts by their number, and notes which requests came in one call."""

    def __init__(self, scores: Sequence[float], order: Sequence[int]) -> None:
        self.scores, self.order = scores, order  # order: in which answers of one call are given
        self.calls: list[list[float]] = []
        self.beams: list[int] = []
        self.digits: list[bool] = []  # whether each request allows them
        self.cancelled = 0
        self._made = 0

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        self.calls.append([request.temperature for request in requests])
        self.beams += [request.beam_width for request in requests]
        self.digits += [request.digits for request in requests]
        futures: list[Future[Decoded]] = [Future() for _ in requests]
        answers = [self._answer(number) for number in range(self._made, self._made + len(requests))]
        self._made += len(requests)
        for place in self.order if len(requests) > 1 else (0,):
            futures[place].set_result(answers[place])
        for future in futures:
            future.add_done_callback(self._count)
        return futures

    def _count(self, future: Future[Decoded]) -> None:
        self.cancelled += future.cancelled()

    def _answer(self, number: int) -> Decoded:
        score = self.scores[number]
        tokens = tokenizer("en").encode(WORDS[score])
        frames = [float(frame) for frame in range(len(tokens) + 1)]
        return Decoded(
            tokens, [score] * len(tokens), score, 0.1, WORDS[score].strip(), 1.0, looped=False, entered=frames
        )

    def detect_languages(
        self, chunks: Sequence[Samples], *, decoded_next: bool = True
    ) -> list[Future[dict[str, float]]]:
        futures: list[Future[dict[str, float]]] = [Future() for _ in chunks]
        for future in futures:
            future.set_result({"en": 0.9, "de": 0.1})
        return futures

    def close(self) -> None:
        return


class Tokenizers:
    def tokenizer(self, language: str | None) -> Any:
        return tokenizer(language)


def recognise(decoder: ScriptedDecoder, *, at_once: bool, searches: bool = True) -> RecognisedFile:
    recogniser = WhisperRecogniser(
        decoder,
        Tokenizers(),
        name="test",
        model="test",
        in_flight=8,
        speculates=at_once,
        searches=searches,
    )
    sound = SpeechChunk(np.ones(SAMPLE_RATE, dtype=np.float32))
    return recogniser.recognise([sound], Options(language="en-US"), lambda _share: None)


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ((-1.5, -1.95, -0.3, -1.2, -1.9), "fine"),
        ((-1.5, -1.95, -1.9, -0.3, -1.2), "fine"),
        ((-1.5, -1.95, -1.9, -1.2, -1.9), "better"),
        ((-1.2, -1.95, -1.9, -1.5, -1.9), "better"),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_attempts_in_one_go_give_what_they_give_one_after_another(
    scores: tuple[float, ...], text: str, order: tuple[int, ...]
) -> None:
    plain, together = ScriptedDecoder(scores, order), ScriptedDecoder(scores, order)
    expected, found = recognise(plain, at_once=False), recognise(together, at_once=True)
    assert found == expected
    assert [word.text.strip() for word in found.chunks[0].words] == [text]
    assert together.calls == [[0.0], [0.0, 0.0, 0.4, 0.8]]
    assert together.beams == [1, 5, 1, 1, 1]
    assert [len(call) for call in plain.calls] == [1] * len(plain.calls)


def test_attempts_that_are_no_longer_needed_are_cancelled() -> None:
    decoder = ScriptedDecoder((-1.5, -1.95, -0.3, -1.2, -1.9), order=(0, 1))
    assert [word.text.strip() for word in recognise(decoder, at_once=True).chunks[0].words] == ["fine"]
    assert decoder.cancelled == 2


def test_a_search_that_finds_a_sure_text_cancels_the_retries() -> None:
    decoder = ScriptedDecoder((-1.5, -0.01, -0.3, -1.2, -1.9), order=(0,))
    assert [word.text.strip() for word in recognise(decoder, at_once=True).chunks[0].words] == ["sure"]
    assert decoder.cancelled == 3


class LateDetection(ScriptedDecoder):
    """Detects languages only after the chunk has been decoded."""

    def __init__(self) -> None:
        super().__init__((-0.01,), order=(0,))
        self.detections: list[Future[dict[str, float]]] = []

    def detect_languages(
        self, chunks: Sequence[Samples], *, decoded_next: bool = True
    ) -> list[Future[dict[str, float]]]:
        self.detections = [Future() for _ in chunks]
        return self.detections

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        for detection in self.detections:
            detection.set_result({"en": 0.2, "de": 0.8})
        return super().decode(requests)


def test_decoding_in_a_known_language_does_not_wait_for_its_detection() -> None:
    found = recognise(LateDetection(), at_once=True)
    assert [word.text.strip() for word in found.chunks[0].words] == ["sure"]
    assert found.language == "en"
    assert found.language_probability == 0.2


def test_an_unsure_text_is_searched_for_by_a_beam_and_a_sure_one_is_not() -> None:
    unsure = ScriptedDecoder((-0.3, -0.01), order=(0,))
    assert [word.text.strip() for word in recognise(unsure, at_once=False).chunks[0].words] == ["sure"]
    assert unsure.beams == [1, 5]
    sure = ScriptedDecoder((-0.01,), order=(0,))
    recognise(sure, at_once=False)
    assert sure.beams == [1]


def test_a_decoder_without_beams_is_asked_for_attempts_with_a_little_noise() -> None:
    decoder = ScriptedDecoder((-0.3, -1.5, -0.01), order=(0, 1))
    found = recognise(decoder, at_once=True, searches=False)
    assert [word.text.strip() for word in found.chunks[0].words] == ["sure"]
    assert decoder.calls == [[0.0], [0.2, 0.3]]
    assert decoder.beams == [1, 1, 1]


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ((-0.35, -0.15, -0.15), "one or two"),  # a likelier text in digits heard nothing else
        ((-0.35, -0.12, -0.12), "one, or two"),
        ((-0.34, -0.15, -0.15), "1, or 2"),
        ((-0.34, -0.12, -0.12), "one, or two"),
    ],
)
@pytest.mark.parametrize("searches", [True, False])
def test_a_search_writes_no_digits_for_number_words(
    scores: tuple[float, ...], text: str, *, searches: bool
) -> None:
    decoder = ScriptedDecoder(scores, order=(0, 1))
    found = recognise(decoder, at_once=False, searches=searches)
    assert "".join(word.text for word in found.chunks[0].words).strip() == text
    allowed = scores[0] == -0.34
    assert decoder.digits[1:] == [allowed] * (len(decoder.digits) - 1)
    assert decoder.digits[0]
