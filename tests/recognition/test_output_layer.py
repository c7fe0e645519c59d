"""The int8 output layer chooses the same tokens as float32, whatever else is in the batch."""

import pytest
import torch
from torch import Tensor

from batches.recognition.asr.output_layer import Int8OutputLayer, OutputLayer

TOKENS, STATE = 5_000, 256


@pytest.fixture(scope="module")
def weight() -> Tensor:
    return torch.randn(TOKENS, STATE, generator=torch.Generator().manual_seed(7))


def hidden(rows: int) -> Tensor:
    return torch.randn(rows, STATE, generator=torch.Generator().manual_seed(8))


def refined(layer: OutputLayer, state: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    plain = layer(state)
    logits = plain + bias
    layer.refine(state, plain, logits)
    return plain, logits


def test_the_chosen_tokens_are_those_of_float32(weight: Tensor) -> None:
    state, bias = hidden(200), torch.zeros(TOKENS)
    exact = OutputLayer(weight)(state)
    _, logits = refined(Int8OutputLayer(weight), state, bias)
    assert torch.equal(logits.argmax(dim=1), exact.argmax(dim=1))
    # ... which int8 alone would not choose.
    assert not torch.equal(Int8OutputLayer(weight)(state).argmax(dim=1), exact.argmax(dim=1))


def test_the_log_probability_of_a_boosted_token_is_exact_too(weight: Tensor) -> None:
    state, bias = hidden(20), torch.zeros(TOKENS)
    bias[17] = 200.0
    exact = OutputLayer(weight)(state)
    plain, logits = refined(Int8OutputLayer(weight), state, bias)
    assert (logits.argmax(dim=1) == 17).all()
    torch.testing.assert_close(plain[:, 17], exact[:, 17], atol=1e-4, rtol=1e-4)


def test_a_row_does_not_depend_on_a_much_larger_one_beside_it(weight: Tensor) -> None:
    layer, state = Int8OutputLayer(weight), hidden(2)
    loud = torch.cat([state[:1], 100 * state[1:]])
    alone, company = layer(state[:1])[0], layer(loud)[0]
    error = (alone - state[0] @ weight.T).abs().mean()
    assert (company - state[0] @ weight.T).abs().mean() < 1.5 * error
