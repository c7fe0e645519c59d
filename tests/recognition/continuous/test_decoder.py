"""Decoding loop: rows join and leave the batch, and no chunk's result depends on the other rows."""

from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
import torch

from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.continuous import lane as lanes
from batches.recognition.asr.continuous import row_results
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.encoder import Encoder
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.errors import ModelUnavailable
from batches.recognition.runtime.load_errors import DecoderFailed, is_hopeless
from tests.recognition.continuous.graphs import TapeRecorder
from tests.recognition.continuous.small_model import (
    each_alone,
    noises,
    short_limit,
    small_decoder,
    small_weights,
    tokenizer,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def requests() -> list[DecodeRequest]:
    """Requests of all sorts, mixed."""
    keywords = [
        KeywordTree(["Speech Portal", "portals"], tokenizer(), weight=9.0, spaced=True),
        KeywordTree(["네이버"], tokenizer("ko"), weight=9.0, spaced=True),
    ]
    return [
        DecodeRequest(
            samples,
            ("en", "ko", "de")[number % 3],
            prompt=(400, 500, 600) if number % 4 == 1 else (),
            keywords=keywords[number % 2] if number % 3 != 2 else None,
            temperature=0.7 if number % 5 == 3 else 0.0,
            full_context=number % 6 == 4,
        )
        for number, samples in enumerate(noises(14))
    ]


def compare(found: Decoded, expected: Decoded) -> None:
    assert found.tokens
    assert found.tokens == expected.tokens
    assert found.entered == expected.entered
    assert len(found.entered) == len(found.tokens) + 1
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert found.temperature == expected.temperature


@pytest.fixture(scope="module")
def alone() -> list[Decoded]:
    """Results of each request decoded by itself."""
    return each_alone(requests())


def test_few_rows_give_what_each_chunk_gives_alone(alone: list[Decoded]) -> None:
    decoder = small_decoder(rows=4)
    futures = decoder.decode(requests())
    for future, expected in zip(futures, alone, strict=True):
        compare(future.result(), expected)
    decoder.close()
    assert len({len(result.tokens) for result in alone}) > 5
    assert any(result.looped for result in alone)


def test_two_runs_in_other_company_sample_the_same_text(alone: list[Decoded]) -> None:
    warm = [number for number, request in enumerate(requests()) if request.temperature > 0]
    assert warm
    decoder = small_decoder(rows=8)
    futures = decoder.decode([requests()[number] for number in reversed(warm)])
    for future, number in zip(futures, reversed(warm), strict=True):
        compare(future.result(), alone[number])
    decoder.close()


def test_captured_steps_give_the_same(alone: list[Decoded], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_results, "GROUP_ROWS", (1, 4))  # fewer graphs
    recorder = TapeRecorder()
    decoder = ContinuousDecoder(
        small_weights(), tokenizer, rows=8, full_rows=4, limit=short_limit, new_capture=lambda: recorder
    )
    decoder.wait_until_ready()
    warm = recorder.captured
    assert warm >= 8
    futures = decoder.decode(requests())
    for future, expected in zip(futures, alone, strict=True):
        compare(future.result(), expected)
    decoder.close()
    assert recorder.captured > warm  # those with keywords, which no file before had


def test_a_text_that_ends_by_its_limit_has_a_frame_for_its_end(alone: list[Decoded]) -> None:
    limits = [short_limit(len(request.samples) / 16_000) for request in requests()]
    full = [
        (request, result)
        for request, result, limit in zip(requests(), alone, limits, strict=True)
        if len(result.tokens) == limit
    ]
    assert full
    for request, result in full:
        frames = max(1, round(len(request.samples) / 320))
        assert len(result.entered) == len(result.tokens) + 1
        assert result.entered[-1] == min(150, frames)
        assert len(result.logprobs) == len(result.tokens)


def test_running_out_of_memory_halves_the_rows_and_loses_nothing(
    alone: list[Decoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Encoder.__call__
    sizes: list[int] = []

    def scarce(self: Encoder, chunks: list[np.ndarray], frames: int) -> torch.Tensor:
        sizes.append(len(chunks))
        if len(chunks) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, chunks, frames)

    monkeypatch.setattr(Encoder, "__call__", scarce)
    decoder = small_decoder(rows=16)
    futures = decoder.decode(requests())
    for future, expected in zip(futures, alone, strict=True):
        compare(future.result(), expected)
    assert decoder.rows == (4, 4)
    assert max(sizes) > 3
    decoder.close()


def test_a_card_that_is_too_small_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lanes, "StaticBatch", full)
    decoder = small_decoder(rows=16)
    with pytest.raises(ModelUnavailable, match="memory"):
        decoder.wait_until_ready()
    decoder.close()


def test_a_cancelled_request_leaves_its_row_and_the_others_alone(alone: list[Decoded]) -> None:
    decoder = small_decoder(rows=4)
    futures = decoder.decode(requests())
    cancelled = [number for number in (0, 7, 13) if futures[number].cancel()]
    assert cancelled
    for number, future in enumerate(futures):
        if number in cancelled:
            with pytest.raises(CancelledError):
                future.result()
        else:
            compare(future.result(), alone[number])
    decoder.close()


def test_closing_cancels_what_is_pending_and_refuses_more() -> None:
    decoder = small_decoder(rows=4)
    futures = decoder.decode(requests() * 20)
    decoder.close()
    assert all(future.done() for future in futures)
    assert any(future.cancelled() for future in futures)
    with pytest.raises(RuntimeError, match="closed"):
        decoder.decode(requests())


def test_an_error_in_the_loop_reaches_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = small_decoder(rows=4)
    decoder.wait_until_ready()

    def broken(*_arguments: object) -> None:
        raise RuntimeError("illegal memory access")

    monkeypatch.setattr(Encoder, "__call__", broken)
    for future in decoder.decode(requests()):
        with pytest.raises(DecoderFailed, match="illegal memory access") as raised:
            future.result()
        assert is_hopeless(raised.value)  # so that the engine process ends, and another one starts
    with pytest.raises(DecoderFailed, match="illegal memory access"):
        decoder.decode(requests())
    decoder.close()


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    decoder = small_decoder()
    with pytest.raises(ValueError, match="at most 115"):
        decoder.decode([DecodeRequest(noises(1)[0], "en", prompt=tuple(range(116)))])
    decoder.close()


def test_the_same_sound_is_encoded_once_for_all_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Encoder.__call__
    sizes: list[int] = []

    def counted(self: Encoder, chunks: list[np.ndarray], frames: int) -> torch.Tensor:
        sizes.append(len(chunks))
        return encode(self, chunks, frames)

    monkeypatch.setattr(Encoder, "__call__", counted)
    decoder = small_decoder(rows=4)
    (sound,) = noises(1)
    futures = decoder.decode([DecodeRequest(sound, "en", temperature=heat) for heat in (0.0, 0.4, 0.8)])
    texts = [future.result().tokens for future in futures]
    decoder.close()
    assert sizes == [1]
    assert len({tuple(text) for text in texts}) == 3


def test_the_package_names_all_of_its_modules() -> None:
    package = Path(lanes.__file__).parent
    names = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert len(names) > 8
    assert {name for name in names if f"``{name}``" not in (package / "__init__.py").read_text()} == set()
