"""Noise for sampling: distributed as it should be, and the same in any company."""

import pytest
import torch

from batches.recognition.asr.continuous.gumbel_noise import GumbelNoise

CPU = torch.device("cpu")


def test_the_highest_of_scores_and_noise_is_drawn_with_the_scores_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = 20_000
    noise = GumbelNoise(4, CPU)(torch.arange(rows) * 37, torch.arange(rows) % 50)
    drawn = (probabilities.log() + noise).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=4) / rows
    assert shares.tolist() == pytest.approx(probabilities.tolist(), abs=0.015)
    assert torch.isfinite(noise).all()


def test_a_row_has_its_noise_in_any_company() -> None:
    noise = GumbelNoise(1000, CPU)
    seeds, counts = torch.tensor([5, 7, 5, 7]), torch.tensor([0, 0, 1, 3])
    together = noise(seeds, counts)
    for row in range(4):
        assert torch.equal(noise(seeds[row : row + 1], counts[row : row + 1])[0], together[row])
    assert not torch.equal(together[0], together[2])
    assert torch.equal(GumbelNoise(1000, CPU)(seeds, counts), together)
