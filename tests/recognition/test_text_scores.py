"""Given texts are scored as if they had been decoded, whatever other texts are scored with them."""

from __future__ import annotations

import numpy as np
import pytest

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.decoding import BatchDecoder
from batches.recognition.asr.output_layer import Int8OutputLayer
from batches.recognition.asr.whisper_model import WhisperModel
from batches.recognition.models.store import ModelStore
from batches.recognition.models.weights import open_weights
from tests.sample_speech import load_sample

SOUND = load_sample()[12 * 16_000 : 20 * 16_000]


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel(open_weights(ModelStore().whisper("base")), precision="float32")


def test_the_scores_are_those_of_decoding(model: WhisperModel) -> None:
    decoder = BatchDecoder(model)
    features = model.encode(model.mel(SOUND, 800)[None])
    (greedy,) = decoder.run(features, [DecodeRequest(SOUND, "en")])
    said = tuple(greedy.tokens)
    other = tuple(model.tokenizer("en").encode(" Something else that nobody has said in this recording."))
    together = decoder.score(features, ScoreRequest(SOUND, "en", (said, other, said[:3])))
    alone = [
        decoder.score(features, ScoreRequest(SOUND, "en", (text,)))[0] for text in (said, other, said[:3])
    ]
    assert together == pytest.approx(alone, abs=1e-2)
    many = decoder.score(features, ScoreRequest(SOUND, "en", (said, other) * 20))  # in several passes
    assert many == pytest.approx(alone[:2] * 20, abs=1e-2)
    assert together[0] == pytest.approx(greedy.mean_logprob * (len(said) + 1), abs=1e-2)
    assert together[0] > together[1] + 20


def test_a_given_text_is_taken_as_decoded_with_its_times(model: WhisperModel) -> None:
    decoder = BatchDecoder(model)
    features = model.encode(model.mel(SOUND, 800)[None])
    (greedy,) = decoder.run(features, [DecodeRequest(SOUND, "en")])
    given = DecodeRequest(SOUND, "en", text=tuple(greedy.tokens))
    (read,) = decoder.run(features, [given])
    assert (read.text, read.tokens) == (greedy.text, greedy.tokens)
    assert np.allclose(read.entered, greedy.entered, atol=2)
    assert read.mean_logprob == pytest.approx(greedy.mean_logprob, abs=1e-3)
    assert decoder.group(given) != decoder.group(DecodeRequest(SOUND, "en"))
    spelt = model.tokenizer("en").encode(greedy.text.replace("Diane", "Dyanne"))
    (other,) = decoder.run(features, [DecodeRequest(SOUND, "en", text=tuple(spelt))])
    assert "Dyanne" in other.text
    assert other.mean_logprob < greedy.mean_logprob


def test_scores_by_the_int8_output_layer_are_nearly_exact() -> None:
    """The likeliest tokens must be exact in the sum over all tokens too, not only the text's own ones."""
    model = WhisperModel(open_weights(ModelStore().whisper("base")), precision="float32")
    texts = (
        " This is Diane in New Jersey. And I'm Sheila in Texas.",
        " This is Dyanne in New Jersey.",
    )
    request = ScoreRequest(SOUND, "en", tuple(tuple(model.tokenizer("en").encode(text)) for text in texts))
    features = model.encode(model.mel(SOUND, 800)[None])
    exact = BatchDecoder(model).score(features, request)
    model._output = Int8OutputLayer(model._decoder.token_embedding.weight[: model.tokenizer("en").eot + 1])
    assert BatchDecoder(model).score(features, request) == pytest.approx(exact, abs=0.2)
