"""Continuous batching on a real GPU, in half precision with captured graphs. Skipped where there is none."""

import pytest
import torch

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.runtime import device as devices
from batches.recognition.runtime.device import choose_device
from tests.recognition.continuous.small_model import noises, small_decoder, small_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here"),
]


def test_half_precision_with_graphs_writes_what_the_cpu_writes_in_float32() -> None:
    requests = [DecodeRequest(samples, "en", temperature=0.0) for samples in noises(14)]
    results = []
    for device, dtype in ((torch.device("cpu"), torch.float32), (choose_device("cuda"), torch.float16)):
        decoder = small_decoder(rows=8, weights=small_weights(dtype, device))
        results.append([future.result() for future in decoder.decode(requests)])
        decoder.close()
    # Random weights hardly prefer one token to another, and one that differs changes all after it.
    firsts = [(one.tokens[:2], other.tokens[:2]) for one, other in zip(*results, strict=True)]
    assert len(firsts) == 14
    assert sum(one == other for one, other in firsts) >= 10


def test_given_texts_are_scored_and_read_as_on_the_cpu() -> None:
    texts = tuple(tuple(range(1000, 1000 + 7 * count)) for count in range(6))
    results = []
    for device, dtype in ((torch.device("cpu"), torch.float32), (choose_device("cuda"), torch.float16)):
        decoder = small_decoder(rows=8, weights=small_weights(dtype, device))
        scored = [decoder.score(ScoreRequest(samples, "en", texts)) for samples in noises(14)]
        read = decoder.decode([DecodeRequest(samples, "en", text=texts[1]) for samples in noises(14)])
        scores = [score for future in scored for score in future.result()]
        results.append((scores, [future.result().mean_logprob for future in read]))
        decoder.close()
    (exact, exact_means), (scores, means) = results
    assert len(scores) == 84
    assert scores == pytest.approx(exact, rel=0.01)
    assert means == pytest.approx(exact_means, rel=0.01)


def test_memory_is_capped_and_given_back() -> None:
    device = choose_device("cuda")
    assert 0 < devices.limit_memory(device, 2**30) <= 2**30
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2 * 2**30, dtype=torch.uint8, device=device)
    devices.limit_memory(device)
    devices.release_memory(device)
