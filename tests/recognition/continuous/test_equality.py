"""Continuous batching in float32 gives the tokens, frames and probabilities of the batch decoder."""

from collections.abc import Iterator

import pytest
import torch

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.weights import load_weights
from batches.recognition.asr.decoding import BatchDecoder, Decoded
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.asr.output_layer import OutputLayer
from batches.recognition.asr.whisper_model import WhisperModel
from batches.recognition.media.decoding import Samples
from batches.recognition.models.store import ModelStore
from batches.recognition.models.weights import open_weights
from tests.sample_speech import load_sample

CONTEXT = 800


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    """The base model in float32, its output layer too: as int8 it changes tokens by itself."""
    model = WhisperModel(open_weights(ModelStore(None).whisper("base")), precision="float32")
    embedding = model._decoder.token_embedding.weight
    model._output = OutputLayer(embedding[: model.tokenizer("en").eot + 1].detach())
    return model


@pytest.fixture(scope="module")
def decoder(model: WhisperModel) -> Iterator[ContinuousDecoder]:
    checkpoint = torch.load(
        ModelStore(None).whisper("base").path, map_location="cpu", weights_only=True, mmap=True
    )
    weights = load_weights(
        model.dims,
        checkpoint["model_state_dict"],
        alignment_heads=[(layer, head) for layer, heads in model.alignment_heads.items() for head in heads],
        end_of_text=model.tokenizer("en").eot,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    decoder = ContinuousDecoder(weights, model.tokenizer, rows=4, full_rows=4)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def chunks() -> list[Samples]:
    sound = load_sample()
    return [sound[16_000 * start : 16_000 * end] for start, end in ((6, 12), (20, 24), (12, 14))]


def assert_equal(found: Decoded, expected: Decoded) -> None:
    assert expected.tokens
    assert found.tokens == expected.tokens
    assert found.entered == expected.entered
    assert found.text == expected.text
    assert found.looped == expected.looped
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert found.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-3)
    assert found.no_speech_probability == pytest.approx(expected.no_speech_probability, abs=1e-4)
    assert found.compression_ratio == expected.compression_ratio


def run_batch(model: WhisperModel, requests: list[DecodeRequest]) -> list[Decoded]:
    features = model.encode(torch.stack([model.mel(request.samples, CONTEXT) for request in requests]))
    return BatchDecoder(model).run(features, requests)


def test_texts_frames_and_probabilities_are_equal(
    model: WhisperModel, decoder: ContinuousDecoder, chunks: list[Samples]
) -> None:
    requests = [DecodeRequest(chunk, "en") for chunk in chunks]
    for one, other in zip(decoder.decode(requests), run_batch(model, requests), strict=True):
        assert_equal(one.result(), other)


def test_rows_with_keywords_a_prompt_and_another_language_share_a_batch(
    model: WhisperModel, decoder: ContinuousDecoder, chunks: list[Samples]
) -> None:
    english = model.tokenizer("en")
    tree = KeywordTree(["Dyanne", "New Jersy"], english, weight=7.0, spaced=True)
    prompt = tuple(english.encode(" Diane, New Jersey."))
    requests = [
        DecodeRequest(chunks[2], "en", keywords=tree),
        DecodeRequest(chunks[2], "en", prompt=prompt),
        DecodeRequest(chunks[2], "ko"),
    ]
    for future, request in zip(decoder.decode(requests), requests, strict=True):
        assert_equal(future.result(), run_batch(model, [request])[0])


def test_languages_are_equal(model: WhisperModel, decoder: ContinuousDecoder, chunks: list[Samples]) -> None:
    expected = model.ask_languages(
        model.encode(torch.stack([model.mel(chunk, CONTEXT) for chunk in chunks[:2]]))
    )
    found = [future.result() for future in decoder.detect_languages(chunks[:2])]
    assert [max(row, key=row.__getitem__) for row in found] == ["en", "en"]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_scores_of_given_texts_are_equal(
    model: WhisperModel, decoder: ContinuousDecoder, chunks: list[Samples]
) -> None:
    texts = (
        " This is Diane in New Jersey.",
        " This is Dyanne in New Jersey.",
        "",
        " Jersey",
        " No, no, no." * 9,
    )
    requests = [
        ScoreRequest(chunk, code, tuple(tuple(model.tokenizer(code).encode(text)) for text in chosen))
        for chunk, code, chosen in zip(chunks, ("en", "en", "ko"), (texts, texts[:2], texts[1:]), strict=True)
    ]
    futures = [decoder.score(request) for request in requests]
    for future, request in zip(futures, requests, strict=True):
        features = model.encode(model.mel(request.samples, CONTEXT)[None])
        expected = BatchDecoder(model).score(features, request)
        assert future.result() == pytest.approx(expected, abs=1e-3, rel=1e-4)


def test_given_texts_are_read_equally(
    model: WhisperModel, decoder: ContinuousDecoder, chunks: list[Samples]
) -> None:
    english = model.tokenizer("en")
    written = [
        tuple(decoded.tokens) for decoded in run_batch(model, [DecodeRequest(c, "en") for c in chunks])
    ]
    other = tuple(english.encode(" This is Dyanne in New Jersy."))
    loop = tuple(english.encode(" This is" + " so very" * 20))
    too_long = tuple(english.encode("".join(f" {number}" for number in range(100, 160))))
    requests = [
        *(DecodeRequest(chunk, "en", text=text) for chunk, text in zip(chunks, written, strict=True)),
        DecodeRequest(chunks[2], "en", text=other),
        DecodeRequest(chunks[2], "en", text=loop),
        DecodeRequest(chunks[2], "en", text=too_long),
        DecodeRequest(chunks[2], "en", prompt=tuple(english.encode(" Diane.")), text=other),
    ]
    results = [future.result() for future in decoder.decode(requests)]
    assert [result.looped for result in results] == [False] * 4 + [True, False, False]
    assert tuple(results[1].tokens) == written[1]
    for found, request in zip(results, requests, strict=True):
        assert_equal(found, run_batch(model, [request])[0])
