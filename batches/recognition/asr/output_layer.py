"""Whisper's output layer on a CPU: int8 for the whole vocabulary, float32 for the most likely tokens.

torch's dynamic int8 quantisation has one scale for all rows of a batch, and 7 bits on processors without
VNNI: 2 % of the tokens differed from float32. Here the logits of the eight most likely tokens are recomputed
in float32: then none of 264 differed (13 recordings, base weights). A scale for each row, used here as well,
was not enough by itself. In one run, on a busy machine, it took a sixth of float32's time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_EXACT = 8  # tokens of each row that are computed in float32


class OutputLayer:
    """Output layer: (rows, state) to (rows, tokens) logits by a (tokens, state) weight, in its type."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits, float32."""
        return (hidden @ self._weight.T).float()

    def refine(self, hidden: Tensor, plain: Tensor, logits: Tensor) -> None:
        """Correct the most likely tokens in place. Does nothing if the layer is exact.

        ``plain`` are the layer's own logits, ``logits`` those made from them, which select the tokens.
        """


class Int8OutputLayer(OutputLayer):
    """Output layer with int8 products."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            layer.weight.copy_(weight)
        quantization: Any = torch.ao.quantization  # its functions have no type annotations
        config = {nn.Linear: quantization.per_channel_dynamic_qconfig}
        self._quantised: Any = quantization.quantize_dynamic(nn.Sequential(layer), config, torch.qint8)

    def __call__(self, hidden: Tensor) -> Tensor:
        largest = hidden.float().abs().amax(dim=1, keepdim=True).clamp_(min=1e-6)
        logits: Tensor = self._quantised(hidden.float() / largest)
        return logits.mul_(largest)

    def refine(self, hidden: Tensor, plain: Tensor, logits: Tensor) -> None:
        best = logits.topk(min(_EXACT, logits.shape[1]), dim=1).indices
        exact = (self._weight[best].float() @ hidden.float()[:, :, None])[:, :, 0]
        difference = exact - plain.gather(1, best)
        plain.scatter_add_(1, best, difference)
        logits.scatter_add_(1, best, difference)
