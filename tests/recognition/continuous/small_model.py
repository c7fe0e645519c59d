"""Whisper with two small layers and random weights, for tests of the decoding loop."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.weights import DeviceWeights, load_weights
from batches.recognition.asr.decoding import Decoded
from batches.recognition.media.decoding import Samples

DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=150, n_audio_state=128, n_audio_head=2, n_audio_layer=2,
    n_vocab=51865, n_text_ctx=448, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip
ALIGNMENT_HEADS = [(0, 1), (1, 0)]
CPU = torch.device("cpu")


def tokenizer(language: str | None = "en") -> Tokenizer:
    return get_tokenizer(multilingual=True, num_languages=99, language=language, task="transcribe")


def state_dict() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = Whisper(DIMS)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.05)
    weights: dict[str, Tensor] = model.state_dict()
    return weights


def small_weights(dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> DeviceWeights:
    return load_weights(
        DIMS,
        state_dict(),
        alignment_heads=ALIGNMENT_HEADS,
        end_of_text=tokenizer().eot,
        device=device,
        dtype=dtype,
    )


def fake_weights(device: str, dtype: torch.dtype) -> DeviceWeights:
    """Weights without values, on a device that need not exist."""
    shapes = {name: tensor.shape for name, tensor in Whisper(DIMS).state_dict().items()}
    return load_weights(
        DIMS,
        {name: torch.empty(shape, device=device, dtype=dtype) for name, shape in shapes.items()},
        alignment_heads=ALIGNMENT_HEADS,
        end_of_text=tokenizer().eot,
        device=torch.device(device),
        dtype=dtype,
    )


def small_decoder(
    rows: int = 4, full_rows: int = 4, weights: DeviceWeights | None = None
) -> ContinuousDecoder:
    return ContinuousDecoder(
        weights or small_weights(), tokenizer, rows=rows, full_rows=full_rows, limit=short_limit
    )


def each_alone(requests: Sequence[DecodeRequest]) -> list[Decoded]:
    """Results of requests that are decoded one after another."""
    decoder = small_decoder(rows=4)
    results = [decoder.decode([request])[0].result() for request in requests]
    decoder.close()
    return results


def short_limit(seconds: float) -> int:
    """Low token limit, so that tests take seconds and texts differ in length."""
    return 8 + round(20 * seconds)


def noises(count: int) -> list[Samples]:
    """Chunks of noise of 0.2 to 2.6 s."""
    random = np.random.default_rng(5)
    seconds = random.uniform(0.2, 2.6, count)
    return [random.normal(0, 0.1, round(16_000 * length)).astype(np.float32) for length in seconds]
