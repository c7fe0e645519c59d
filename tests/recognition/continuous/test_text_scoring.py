"""Given texts: their scores and times are those of decoding, whatever else is in the pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from whisper.model import Whisper

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.continuous import text_scoring
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.encoder import Encoder
from batches.recognition.asr.continuous.text_pass import TextPass
from batches.recognition.asr.continuous.text_scoring import cut_given
from batches.recognition.asr.decoding import Decoded
from batches.recognition.media.decoding import Samples
from batches.recognition.runtime.load_errors import DecoderFailed
from tests.recognition.continuous.small_model import (
    ALIGNMENT_HEADS,
    DIMS,
    fake_weights,
    noises,
    short_limit,
    small_decoder,
    small_weights,
    state_dict,
    tokenizer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TYPES = [torch.float32, torch.float16, torch.bfloat16]
LONG = tuple(range(1000, 1100))  # text tokens


@pytest.fixture(scope="module")
def decoder() -> Iterator[ContinuousDecoder]:
    decoder = small_decoder(rows=4)
    yield decoder
    decoder.close()


def score_requests() -> list[ScoreRequest]:
    """Requests of one to seven texts of very different lengths, in several languages."""
    texts = (LONG[:5], LONG[20:23], (), LONG, LONG[50:90], LONG[:1], LONG[10:31])
    return [
        ScoreRequest(samples, ("en", "ko", "de")[number % 3], texts[number % 4 : number % 4 + 1 + number % 6])
        for number, samples in enumerate(noises(14))
    ]


def plain_scores(request: ScoreRequest) -> list[float]:
    """The definition, by openai-whisper's forward pass: the sum over a text and its end, without padding."""
    model = Whisper(DIMS)
    model.load_state_dict(state_dict())
    end = tokenizer().eot
    initial = tokenizer(request.language).sot_sequence_including_notimestamps
    encoded = Encoder(small_weights())([request.samples], 150)
    scores = []
    for text in request.texts:
        with torch.no_grad():
            logits = model.decoder(torch.tensor([[*initial, *text]]), encoded)[
                0, len(initial) - 1 :, : end + 1
            ]
        logprobs = logits.log_softmax(dim=-1)
        scores.append(float(sum(row[token] for row, token in zip(logprobs, [*text, end], strict=True))))
    return scores


@pytest.fixture(scope="module")
def alone() -> list[list[float]]:
    return [plain_scores(request) for request in score_requests()]


def test_texts_of_several_chunks_give_what_each_gives_alone(
    decoder: ContinuousDecoder, alone: list[list[float]]
) -> None:
    together = [decoder.score(request) for request in score_requests()]
    assert {len(scores) for scores in alone} >= {1, 2, 4}
    assert any(not all(request.texts) for request in score_requests())
    for future, scores in zip(together, alone, strict=True):
        assert future.result() == pytest.approx(scores, abs=1e-3)
    for request, scores in zip(score_requests(), alone, strict=True):
        assert decoder.score(request).result() == pytest.approx(scores, abs=1e-3)


def test_more_texts_than_fit_into_a_pass_are_scored_in_several(decoder: ContinuousDecoder) -> None:
    (sound,) = noises(1)
    texts = [LONG[start : start + 1 + start % 7] for start in range(90)]
    scores = decoder.score(ScoreRequest(sound, "en", tuple(texts))).result()
    assert len(scores) == 90
    some = (0, 1, 50, 89)
    expected = plain_scores(ScoreRequest(sound, "en", tuple(texts[number] for number in some)))
    assert [scores[number] for number in some] == pytest.approx(expected, abs=1e-3)


def written(samples: list[Samples]) -> tuple[list[DecodeRequest], list[Decoded]]:
    """What the static batch writes: requests with and without a prompt, at both contexts."""
    requests = [
        DecodeRequest(
            sound,
            ("en", "ko", "de")[number % 3],
            prompt=(400, 500, 600) if number % 4 == 1 else (),
            full_context=number % 6 == 4,
        )
        for number, sound in enumerate(samples)
    ]
    decoder = small_decoder(rows=8)
    results = [future.result() for future in decoder.decode(requests)]
    decoder.close()
    return requests, results


def given(request: DecodeRequest, text: tuple[int, ...]) -> DecodeRequest:
    return DecodeRequest(
        request.samples, request.language, request.prompt, full_context=request.full_context, text=text
    )


def compare(found: Decoded, expected: Decoded) -> None:
    assert found.tokens == expected.tokens
    assert found.text == expected.text
    assert found.looped == expected.looped
    assert found.entered == expected.entered
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert found.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-3)
    assert found.no_speech_probability == pytest.approx(expected.no_speech_probability, abs=1e-5)
    assert found.compression_ratio == expected.compression_ratio
    assert found.temperature == 0.0


def test_a_given_text_is_taken_as_if_it_had_been_written(decoder: ContinuousDecoder) -> None:
    requests, results = written(noises(14))
    plain = [place for place, result in enumerate(results) if not result.looped]
    assert len(plain) > 5
    limits = [short_limit(len(requests[place].samples) / 16_000) for place in plain]
    full = [len(results[place].tokens) == limit for place, limit in zip(plain, limits, strict=True)]
    assert any(full)
    again = decoder.decode([given(requests[place], tuple(results[place].tokens)) for place in plain])
    for future, place in zip(again, plain, strict=True):
        compare(future.result(), results[place])


def test_a_given_text_is_cut_where_decoding_would_have_ended(decoder: ContinuousDecoder) -> None:
    requests, results = written(noises(6))
    longer = [
        given(request, (*result.tokens, *LONG)) for request, result in zip(requests, results, strict=True)
    ]
    limits = [short_limit(len(request.samples) / 16_000) for request in requests]
    for future, limit in zip(decoder.decode(longer), limits, strict=True):
        found = future.result()
        assert len(found.tokens) == len(found.logprobs) == limit
        assert len(found.entered) == limit + 1


def test_a_given_loop_is_found(decoder: ContinuousDecoder) -> None:
    sound = noises(14)[-1]
    assert short_limit(len(sound) / 16_000) > 32
    text = (*LONG[:3], *[7, 8, 9] * 10)
    (future,) = decoder.decode([DecodeRequest(sound, "en", text=text)])
    found = future.result()
    assert found.looped
    assert found.tokens == [*LONG[:3], 7, 8, 9]
    assert len(found.entered) == 7
    assert len(found.logprobs) == 6


def test_a_text_without_a_loop_is_kept_to_its_limit() -> None:
    assert cut_given(LONG, 30) == (LONG[:30], None)
    assert cut_given(LONG[:8], 30) == (LONG[:8], None)
    assert cut_given((), 30) == ((), None)


def test_texts_are_scored_while_others_are_decoded(
    decoder: ContinuousDecoder, alone: list[list[float]]
) -> None:
    requests, results = written(noises(14))
    futures = decoder.decode(requests)
    scores = [decoder.score(request) for request in score_requests()]
    for score, expected_scores in zip(scores, alone, strict=True):
        assert score.result() == pytest.approx(expected_scores, abs=1e-3)
    for future, expected in zip(futures, results, strict=True):
        compare(future.result(), expected)


def test_texts_that_do_not_fit_are_refused(decoder: ContinuousDecoder) -> None:
    (sound,) = noises(1)
    with pytest.raises(ValueError, match="at most 444 fit"):
        decoder.score(ScoreRequest(sound, "en", ((1,) * 445,)))
    (most,) = decoder.score(ScoreRequest(sound, "en", ((1,) * 444,))).result()
    assert most < 0
    for token in (-1, tokenizer().eot, tokenizer().sot):
        with pytest.raises(ValueError, match="text tokens only"):
            decoder.score(ScoreRequest(sound, "en", ((5, token),)))
        with pytest.raises(ValueError, match="text tokens only"):
            decoder.decode([DecodeRequest(sound, "en", text=(5, token))])


def test_no_texts_have_no_scores_and_an_empty_text_the_score_of_its_end(decoder: ContinuousDecoder) -> None:
    (sound,) = noises(1)
    assert decoder.score(ScoreRequest(sound, "en", ())).result() == []
    empty = ScoreRequest(sound, "en", ((),))
    assert decoder.score(empty).result() == pytest.approx(plain_scores(empty), abs=1e-3)


class Gate:
    """Holds the decoding thread at its first pass, so that requests wait together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.shapes: list[tuple[int, ...]] = []
        run = TextPass.__call__

        def held(texts: TextPass, encoded: Tensor, tokens: Tensor, *, aligned: bool = False) -> object:
            self.shapes.append(tuple(tokens.shape))
            self.entered.set()
            assert self.opened.wait(20)
            return run(texts, encoded, tokens, aligned=aligned)

        monkeypatch.setattr(TextPass, "__call__", held)

    def hold(self, decoder: ContinuousDecoder) -> Future[list[float]]:
        first = decoder.score(score_requests()[0])
        assert self.entered.wait(20)
        return first


def test_requests_that_wait_together_share_passes_of_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    decoder = small_decoder(rows=16)
    gate.hold(decoder)
    futures = [decoder.score(request) for request in score_requests() * 3]
    gate.opened.set()
    for future in futures:
        future.result()
    decoder.close()
    passes = gate.shapes[1:]
    assert len(passes) < len(futures) / 3
    assert {length for _, _, length in passes} <= {32, 64, 128}
    assert {chunks for chunks, _, _ in passes} <= {1, 2, 4, 8, 16}
    assert max(chunks for chunks, _, _ in passes) == 16


def test_a_cancelled_request_is_skipped(monkeypatch: pytest.MonkeyPatch, alone: list[list[float]]) -> None:
    gate = Gate(monkeypatch)
    decoder = small_decoder()
    first = gate.hold(decoder)
    others = [decoder.score(request) for request in score_requests()[1:4]]
    assert others[0].cancel()
    assert others[2].cancel()
    gate.opened.set()
    assert first.result() == pytest.approx(alone[0], abs=1e-3)
    assert others[1].result() == pytest.approx(alone[2], abs=1e-3)
    for future in (others[0], others[2]):
        with pytest.raises(CancelledError):
            future.result()
    decoder.close()
    assert len(gate.shapes) == 2


def test_closing_cancels_texts_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    decoder = small_decoder()
    gate.hold(decoder)
    waiting: list[Future[list[float]] | Future[Decoded]] = [
        decoder.score(request) for request in score_requests()
    ]
    waiting += decoder.decode([DecodeRequest(noises(1)[0], "en", text=LONG[:5])])
    closing = threading.Thread(target=decoder.close)
    closing.start()
    while not decoder._closing:
        pass
    gate.opened.set()
    closing.join()
    assert all(future.done() for future in waiting)
    assert any(future.cancelled() for future in waiting)
    with pytest.raises(RuntimeError, match="closed"):
        decoder.score(score_requests()[0])


def test_an_error_in_a_pass_reaches_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("illegal memory access")

    monkeypatch.setattr(TextPass, "__call__", broken)
    decoder = small_decoder()
    with pytest.raises(DecoderFailed, match="illegal memory access"):
        decoder.score(score_requests()[0]).result()
    with pytest.raises(DecoderFailed, match="illegal memory access"):
        decoder.score(score_requests()[0])
    decoder.close()


def test_an_error_on_the_host_reaches_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = small_decoder()
    decoder.wait_until_ready()
    with monkeypatch.context() as patch:
        patch.setattr(text_scoring, "_offsets", lambda _counts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoder.score(score_requests()[0]).result()
    assert decoder.score(score_requests()[1]).result()
    decoder.close()


def scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Passes over more than ``most`` blocks run out of memory; returns the blocks of all tries."""
    run = TextPass.__call__
    tried: list[int] = []

    def limited(texts: TextPass, encoded: Tensor, tokens: Tensor, *, aligned: bool = False) -> object:
        tried.append(len(tokens))
        if len(tokens) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(texts, encoded, tokens, aligned=aligned)

    monkeypatch.setattr(TextPass, "__call__", limited)
    return tried


def test_running_out_of_memory_halves_the_pass_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, alone: list[list[float]]
) -> None:
    tried = scarce(monkeypatch, 2)
    released: list[Encoder] = []
    monkeypatch.setattr(Encoder, "release", lambda self: released.append(self))
    decoder = small_decoder(rows=16)
    texts = tuple(LONG[start : start + 4] for start in range(90))
    score = decoder.score(ScoreRequest(noises(1)[0], "en", texts))
    others = [decoder.score(request) for request in score_requests()]
    assert score.result()[89] == pytest.approx(
        plain_scores(ScoreRequest(noises(1)[0], "en", texts[89:]))[0], abs=1e-3
    )
    for future, expected in zip(others, alone, strict=True):
        assert future.result() == pytest.approx(expected, abs=1e-3)
    assert max(tried) == 16
    assert decoder.rows == (16, 4)
    assert released  # memory may have run out in a capture of its, which damages the others
    decoder.close()


def test_a_single_text_without_memory_takes_it_from_the_static_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scarce(monkeypatch, 0)
    decoder = small_decoder(rows=16)
    with pytest.raises(DecoderFailed, match="memory"):
        decoder.score(score_requests()[0]).result()
    assert decoder.rows == (4, 4)
    decoder.close()


@pytest.mark.parametrize("dtype", TYPES[1:], ids=str)
def test_half_precision_scores_nearly_what_float32_scores(dtype: torch.dtype) -> None:
    results = []
    for each in (torch.float32, dtype):
        decoder = small_decoder(weights=small_weights(each))
        scores = [score for request in score_requests()[:4] for score in decoder.score(request).result()]
        (read,) = decoder.decode([DecodeRequest(noises(1)[0], "en", text=LONG[:5])])
        results.append((scores, read.result()))
        decoder.close()
    (exact, full_read), (half, half_read) = results
    assert half == pytest.approx(exact, rel=0.01)
    assert half_read.tokens == full_read.tokens
    assert half_read.mean_logprob == pytest.approx(full_read.mean_logprob, rel=0.01)


def pass_without_values(device: str, dtype: torch.dtype) -> TextPass:
    """A pass with alignment, and all that is read of it."""
    weights = fake_weights(device, dtype)
    texts = TextPass(weights)
    encoded = torch.empty(2, 60, DIMS.n_audio_state, device=device, dtype=dtype)
    tokens = torch.zeros(2, 4, 32, device=device, dtype=torch.long)
    hidden, scores = texts(encoded, tokens, aligned=True)
    assert scores is not None
    assert scores.shape == (2, len(ALIGNMENT_HEADS), 4 * 32, 60)
    places = torch.zeros(600, device=device, dtype=torch.long)
    logprobs = texts.logprobs(hidden.flatten(0, 2), places, places)
    assert logprobs.dtype == torch.float32
    assert logprobs.shape == (600,)
    assert texts.no_speech(hidden[:, 0, 0], 5).shape == (2,)
    assert {tensor.device.type for tensor in (hidden, scores, logprobs)} == {device}
    return texts


def test_a_pass_never_looks_at_the_host() -> None:
    """Fake tensors have no values: reading one raises an error."""
    with FakeTensorMode(), torch.no_grad():
        pass_without_values("cpu", torch.float32)


def test_a_pass_keeps_to_its_device() -> None:
    """On a device other than the CPU, in half precision: mixing devices or types raises an error."""
    with torch.no_grad():
        texts = pass_without_values("meta", torch.float16)
        with pytest.raises(RuntimeError):
            texts(torch.empty(2, 60, DIMS.n_audio_state), torch.zeros(2, 4, 32, dtype=torch.long))
