"""`GumbelNoise`: noise for sampling that does not depend on a row's company, nor on the device.

A token is drawn by taking the highest of scores over temperature plus Gumbel noise. A generator of the
device gives a row other numbers in another batch. Here each row reads one stretch of a table, chosen by a
hash of its seed and position: one pass over the vocabulary, where computing the noise by a hash takes ten.

Source: C. Maddison, D. Tarlow and T. Minka, "A* Sampling" (2014); SplitMix64's finaliser, by S. Vigna.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STARTS = 2**22  # stretches; with 4 bytes a number the table takes 17 MB
_LEAST = 2.0**-25  # below any other number that torch.rand draws


class GumbelNoise:
    """Table of Gumbel noise, of which a row reads ``width`` numbers."""

    def __init__(self, width: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        uniform = torch.rand(_STARTS + width, generator=generator).clamp_(min=_LEAST)
        table = uniform.log_().neg_().log_().neg_().to(device)
        self._stretches = table.as_strided((_STARTS, width), (1, 1))

    def __call__(self, seed: Tensor, count: Tensor) -> Tensor:
        """(rows, width) for (rows,) seeds and numbers of tokens written, int64."""
        value = seed * -7046029254386353131 + (count + 1) * -4658895280553007687
        value = (value ^ _shift(value, 30)) * -4658895280553007687
        value = (value ^ _shift(value, 27)) * -7723592293110705685
        value = value ^ _shift(value, 31)
        return self._stretches[_shift(value, 40) & (_STARTS - 1)]


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
