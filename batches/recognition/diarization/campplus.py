"""CAM++: speaker embedding network with filter banks as input.

Source: H. Wang, S. Zheng, Y. Chen, L. Cheng and Q. Chen, "CAM++: A fast and efficient network for speaker
verification using context-aware masking" (Interspeech 2023). Modules carry the names of the published
weights (3D-Speaker, ``campplus_cn_en_common.pt``), so that these load as they are.

Shapes: B utterances, C channels, F mel bands, T frames.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from batches.recognition.errors import ModelUnavailable

MEL_BANDS = 80
EMBEDDING_SIZE = 192

_FRONT_CHANNELS = 32
_FRONT_BATCH = 32  # utterances whose two-dimensional outputs, 4 MB for 4 s, are in memory at once
_FIRST_CHANNELS = 128
_GROWTH = 32  # channels that each dense layer adds
_BOTTLENECK = 128  # channels inside a dense layer
_CONTEXT = 100  # frames that share one local context
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of the three dense blocks


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; ``stride`` halves the frequency axis, never the time."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        channels = _FRONT_CHANNELS
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _FrontEnd(nn.Module):
    """Two-dimensional convolutions over time and frequency: (B, F, T) -> (B, 32 * F / 8, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _FRONT_CHANNELS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_FRONT_CHANNELS)
        self.layer1 = nn.Sequential(_ResidualBlock(2), _ResidualBlock(1))
        self.layer2 = nn.Sequential(_ResidualBlock(2), _ResidualBlock(1))
        self.conv2 = nn.Conv2d(_FRONT_CHANNELS, _FRONT_CHANNELS, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_FRONT_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x.unsqueeze(1))))
        x = self.layer2(self.layer1(x))
        return torch.relu(self.bn2(self.conv2(x))).flatten(1, 2)


def _norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU()))


class _TimeDelay(nn.Module):
    """A strided convolution over time: (B, C, T) -> (B, 128, T / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, _FIRST_CHANNELS, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _norm_relu(_FIRST_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.nonlinear(self.linear(x)))


class _ContextAwareMask(nn.Module):
    """Convolution whose output is masked by the context: means over the utterance and over 100 frames."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            _BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        # The mask is the same for all frames of a context of 100, so it is computed once for each.
        local = nn.functional.avg_pool1d(x, _CONTEXT, _CONTEXT, ceil_mode=True)
        context = x.mean(-1, keepdim=True) + local
        mask = torch.sigmoid(self.linear2(torch.relu(self.linear1(context))))
        mask = mask.repeat_interleave(_CONTEXT, dim=-1).narrow(-1, 0, x.shape[-1])
        return cast("Tensor", self.linear_local(x)) * mask


class _DenseLayer(nn.Module):
    """Bottleneck and masked convolution: (B, C, T) -> (B, 32, T)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm_relu(channels)
        self.linear1 = nn.Conv1d(channels, _BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _norm_relu(_BOTTLENECK)
        self.cam_layer = _ContextAwareMask(dilation)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x)))))


class _DenseBlock(nn.Module):
    """Dense block: layers that each add 32 channels to their input."""

    def __init__(self, channels: int, layers: int, dilation: int) -> None:
        super().__init__()
        for index in range(layers):
            self.add_module(f"tdnnd{index + 1}", _DenseLayer(channels + index * _GROWTH, dilation))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _Transition(nn.Module):
    """Halves the channels between two dense blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = _norm_relu(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.linear(self.nonlinear(x)))


class _Statistics(nn.Module):
    """Mean and standard deviation over time: (B, C, T) -> (B, 2 C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=-1), x.std(dim=-1, unbiased=True)], dim=-1)


class _Projection(nn.Module):
    """The last linear layer, normalised: (B, 2 C) -> (B, 192)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, EMBEDDING_SIZE, 1, bias=False)
        self.nonlinear = nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(EMBEDDING_SIZE, affine=False)))

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.nonlinear(self.linear(x.unsqueeze(-1)).squeeze(-1)))


class CAMPlusPlus(nn.Module):
    """(B, T, F) filter banks, with the mean over time taken off -> (B, 192) embeddings, of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _FrontEnd()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["tdnn"] = _TimeDelay(_FRONT_CHANNELS * MEL_BANDS // 8)
        channels = _FIRST_CHANNELS
        for number, (count, dilation) in enumerate(_BLOCKS, start=1):
            layers[f"block{number}"] = _DenseBlock(channels, count, dilation)
            channels += count * _GROWTH
            layers[f"transit{number}"] = _Transition(channels)
            channels //= 2
        layers["out_nonlinear"] = _norm_relu(channels)
        layers["stats"] = _Statistics()
        layers["dense"] = _Projection(2 * channels)
        self.xvector = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        parts: tuple[Tensor, ...] = x.transpose(1, 2).split(_FRONT_BATCH)  # type: ignore[no-untyped-call]
        return cast("Tensor", self.xvector(torch.cat([self.head(part) for part in parts])))

    def fuse(self) -> None:
        """Fold each batch normalisation that follows a convolution into it: same output, less work."""
        for module in self.modules():
            if isinstance(module, _FrontEnd | _ResidualBlock):
                _fold(module, "conv1", module, "bn1")
                _fold(module, "conv2", module, "bn2")
            if isinstance(module, _ResidualBlock) and len(module.shortcut):
                _fold(module.shortcut, "0", module.shortcut, "1")
            if isinstance(module, _TimeDelay):
                _fold(module, "linear", module.nonlinear, "batchnorm")
            if isinstance(module, _DenseLayer):
                _fold(module, "linear1", module.nonlinear2, "batchnorm")


def _fold(owner: nn.Module, convolution: str, norm_owner: nn.Module, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(norm_owner, norm))
    setattr(owner, convolution, fused)
    setattr(norm_owner, norm, nn.Identity())


def load_campplus(checkpoint: Path) -> CAMPlusPlus:
    """Load the network with its weights, ready for inference. Raises ModelUnavailable if they do not fit."""
    network = CAMPlusPlus()
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except (OSError, RuntimeError, ValueError, EOFError, TypeError, pickle.PickleError) as error:
        raise ModelUnavailable(_reason(checkpoint, error)) from error
    network.eval()
    network.fuse()
    return network


def _reason(checkpoint: Path, error: Exception) -> str:
    from batches.recognition.diarization.checkpoints import (
        architecture_of,
    )  # imports pyannote: five CPU seconds

    if architecture := architecture_of(checkpoint):
        return (
            f"The speaker model {checkpoint.name} is pyannote's {architecture}, not CAM++. "
            "Give its folder the config.yaml of a pyannote pipeline."
        )
    return f"The speaker model {checkpoint.name} cannot be read: {error}"
