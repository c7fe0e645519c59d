"""Downmix to mono without phase cancellation.

Stereo whose channels are in opposite phase cancels when it is summed. So each tenth of a second is summed
with the sign that the channels' correlation has, and the sign changes gradually. Of surround sound the centre
channel, which carries the dialogue, counts most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batches.recognition.media.ffmpeg_log import AudioStream

Samples = NDArray[np.float32]

BLOCK = 1_600  # samples at 16 kHz that share a sign
_OPPOSITE = -0.5  # correlation of the channels below which they are in opposite phase
_AT_ONCE = 600  # blocks
_CENTRE = 2  # index of the centre channel in ffmpeg's order (front left, front right, centre, bass, ...)
_BASS = 3
_OTHER_WEIGHT = 0.4  # of channels beside the centre
_WITHOUT_CENTRE = {"2.1", "quad", "cube", "downmix", "stereo", "mono", ""}


def filter_of(stream: AudioStream) -> str:
    """ffmpeg filter that mixes more than two channels to one; empty if not needed."""
    if stream.channels <= 2:
        return ""
    if stream.layout in _WITHOUT_CENTRE:
        weights = [1.0] * stream.channels
    else:
        weights = [_OTHER_WEIGHT] * stream.channels
        weights[_CENTRE] = 1.0
        if stream.layout.endswith(".1") and stream.channels > _BASS:
            weights[_BASS] = 0.0
    terms = "+".join(f"{weight}*c{channel}" for channel, weight in enumerate(weights) if weight)
    return f"pan=mono|c0<{terms}"


def mix_in_place(pairs: Samples) -> int:
    """Mix (n, 2) stereo into the first n values of the same memory; returns n."""
    count = len(pairs)
    target = pairs.reshape(-1)
    sign = 1.0
    for start in range(0, count, _AT_ONCE * BLOCK):
        part = np.array(pairs[start : start + _AT_ONCE * BLOCK], dtype=np.float32)
        signs = _signs(part)
        course = _course(sign, signs, len(part))
        target[start : start + len(part)] = 0.5 * (part[:, 0] + course * part[:, 1])
        sign = float(signs[-1])
    return count


def _signs(part: Samples) -> NDArray[np.float32]:
    """(blocks,) 1, or -1 where the channels are in opposite phase."""
    blocks = -(-len(part) // BLOCK)
    padded = np.zeros((blocks * BLOCK, 2), dtype=np.float32)
    padded[: len(part)] = np.nan_to_num(part)
    left, right = padded.reshape(blocks, BLOCK, 2).transpose(2, 0, 1)
    products = (left * right).sum(axis=1)
    energies = np.sqrt(np.square(left).sum(axis=1) * np.square(right).sum(axis=1))
    return np.where(products < _OPPOSITE * energies, -1.0, 1.0).astype(np.float32)


def _course(before: float, signs: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(count,) sign of each sample: constant in a block, with a ramp at changes."""
    course = np.repeat(signs, BLOCK)[:count]
    ramp = BLOCK // 10
    edges = np.concatenate([[before], signs])
    for block in np.flatnonzero(edges[1:] != edges[:-1]).tolist():
        part = course[block * BLOCK : block * BLOCK + ramp]
        part[:] = np.linspace(edges[block], edges[block + 1], len(part), dtype=np.float32)
    return course
