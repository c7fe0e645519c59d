"""Beam search finds more probable texts than greedy decoding, and equals it with one beam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from batches.recognition.asr import beam_search
from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.decoding import BatchDecoder
from batches.recognition.asr.quality import has_digits
from batches.recognition.asr.whisper_model import KVCache, WhisperModel
from batches.recognition.models.store import ModelStore
from batches.recognition.models.weights import WhisperWeights, open_weights
from tests.recognition.continuous import small_model
from tests.sample_speech import load_sample

END = 4
# The likelihoods of the next token, by the text so far: the likeliest first token leads to unlikely texts.
NEXT = {
    (): [0.5, 0.4, 0.05, 0.04, 0.01],
    (0,): [0.2, 0.2, 0.2, 0.2, 0.2],
    (1,): [0.01, 0.01, 0.95, 0.02, 0.01],
    (1, 2): [0.01, 0.01, 0.01, 0.01, 0.96],
}


class Table:
    """Network whose hidden states are the texts themselves, with probabilities from a table."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self._texts: dict[int, tuple[int, ...]] = {0: ()}

    def new_cache(self, features: Tensor, positions: int) -> KVCache:
        rows = features.shape[0]
        return KVCache(
            [torch.zeros(rows, 1, 1, 1)],
            [torch.zeros(rows, 1, 1, 1)],
            [torch.zeros(rows, 1, positions, 1)],
            [torch.zeros(rows, 1, positions, 1)],
        )

    def step(self, tokens: Tensor, cache: KVCache) -> tuple[Tensor, Tensor]:
        cache.length = tokens.shape[1]
        return torch.zeros(*tokens.shape, 1), torch.zeros(1)

    def step_beams(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Fails if the caches do not move with their texts, since the keys contain the texts."""
        rows, width = tokens.shape
        cache.keys[0][:, 0, cache.length, 0] = tokens.reshape(-1).float() + 1
        cache.length += 1
        hidden = torch.zeros(rows, width, 1)
        for row in range(rows * width):
            text = tuple(int(value) - 1 for value in cache.keys[0][row, 0, 1 : cache.length, 0])
            number = len(self._texts)
            self._texts[number] = text
            hidden[row // width, row % width, 0] = number
        return hidden

    def text_logits(self, hidden: Tensor) -> Tensor:
        even = [0.2] * 5
        return torch.tensor([NEXT.get(self._texts[int(each)], even) for each in hidden[:, 0]]).log()

    def refine_logits(self, hidden: Tensor, plain: Tensor, logits: Tensor) -> None:
        return


@pytest.mark.parametrize(("width", "text"), [(1, [0]), (2, [1, 2]), (3, [1, 2])])
def test_a_wider_beam_finds_the_likelier_text(width: int, text: list[int]) -> None:
    found = beam_search.search(
        Table(),
        torch.zeros(2, 1, 1),
        torch.zeros(2, 1, dtype=torch.long),
        limits=[4, 4],
        masks=(torch.zeros(5), torch.zeros(5)),
        end=END,
        width=width,
    )
    assert len(found) == 2
    assert all(each[: len(text)] == text for each in found)


def test_speech_is_at_least_as_likely_as_greedily_and_its_words_have_times() -> None:
    model = WhisperModel(open_weights(ModelStore().whisper("base")), precision="float32")
    decoder = BatchDecoder(model)
    sounds = [load_sample()[6 * 16_000 : 11 * 16_000], load_sample()[12 * 16_000 : 20 * 16_000]]
    features = torch.stack([model.encode(model.mel(sound, 800)[None])[0] for sound in sounds])
    greedy = decoder.run(features, [DecodeRequest(sound, "en") for sound in sounds])
    beams = decoder.run(features, [DecodeRequest(sound, "en", beam_width=5) for sound in sounds])
    assert all(b.mean_logprob >= a.mean_logprob - 0.02 for a, b in zip(greedy, beams, strict=True))
    assert "Jersey" in beams[1].text
    for each in beams:
        assert len(each.entered) == len(each.tokens) + 1 == len(each.logprobs) + 1
        assert each.entered == sorted(each.entered)
        assert np.exp(each.logprobs).mean() > 0.5


def test_without_digits_no_text_has_any() -> None:
    state = small_model.state_dict()
    for digit in ("7", " 25"):  # far likelier than all other tokens, whatever the sound
        state["decoder.token_embedding.weight"][small_model.tokenizer().encode(digit)[0]] = 1.0
    state["decoder.ln.bias"] += 1.0
    heads = tuple(small_model.ALIGNMENT_HEADS)
    weights = WhisperWeights("small", small_model.DIMS, state, heads, mapped=False)
    model = WhisperModel(weights, precision="float32")
    decoder = BatchDecoder(model)
    (sound,) = small_model.noises(1)
    features = model.encode(model.mel(sound, 150)[None])
    usual, spelt = (
        decoder.run(features, [DecodeRequest(sound, "ko", beam_width=3, digits=digits)])[0]
        for digits in (True, False)
    )
    assert has_digits(usual.text)
    assert spelt.tokens
    assert not has_digits(spelt.text)
    requests = [DecodeRequest(sound, "ko", beam_width=3, digits=digits) for digits in (True, False)]
    assert decoder.group(requests[0]) != decoder.group(requests[1])
