"""Loads a Whisper model into a continuous decoder, with batches that fit the GPU's memory."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from whisper import _ALIGNMENT_HEADS  # there is no public name for them
from whisper.model import ModelDimensions
from whisper.tokenizer import Tokenizer

from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.sizing import BatchPlan, plan_batches
from batches.recognition.asr.continuous.weights import load_weights
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.runtime.device import (
    DEFAULT_GPU_MEMORY,
    choose_precision,
    is_gpu,
    limit_memory,
)

_CPU_ROWS = 8


def read_checkpoint(
    checkpoint: WhisperCheckpoint,
) -> tuple[ModelDimensions, Mapping[str, Tensor], list[tuple[int, int]]]:
    """Dimensions, memory-mapped state dict and alignment heads. Raises ModelUnavailable."""
    try:
        document = torch.load(checkpoint.path, map_location="cpu", weights_only=True, mmap=True)
        dims = ModelDimensions(**document["dims"])
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"The Whisper model '{checkpoint.name}' cannot be read: {error}") from error
    layers, heads = int(dims.n_text_layer), int(dims.n_text_head)
    chosen = np.zeros((layers, heads), dtype=bool)
    chosen[layers // 2 :] = True  # openai-whisper's choice for models that it does not know
    if checkpoint.official in _ALIGNMENT_HEADS:
        packed = gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[checkpoint.official]))
        chosen = np.frombuffer(packed, dtype=bool).reshape(layers, heads)
    pairs = [(int(layer), int(head)) for layer, head in np.argwhere(chosen)]
    return dims, document["model_state_dict"], pairs


def load_decoder(
    dims: ModelDimensions,
    state_dict: Mapping[str, Tensor],
    alignment_heads: Sequence[tuple[int, int]],
    tokenizer: Callable[[str | None], Tokenizer],
    *,
    device: torch.device,
    precision: str = "auto",
    memory: int = DEFAULT_GPU_MEMORY,
    rows: int = 0,
) -> tuple[ContinuousDecoder, BatchPlan]:
    """A decoder that is ready, and the sizes of its batches.

    ``memory`` is what this process may take of the GPU, in bytes, for all models together. ``rows`` sets the
    chunks decoded at once; 0 takes what fits into the memory. Raises ModelUnavailable.
    """
    allowed = limit_memory(device, memory)
    dtype = choose_precision(precision, device).products
    if not rows and not is_gpu(device):
        rows = _CPU_ROWS
    plan = plan_batches(dims, len(alignment_heads), memory=allowed, itemsize=dtype.itemsize, rows=rows)
    weights = load_weights(
        dims,
        state_dict,
        alignment_heads=alignment_heads,
        end_of_text=tokenizer("en").eot,
        device=device,
        dtype=dtype,
    )
    decoder = ContinuousDecoder(
        weights,
        tokenizer,
        rows=plan.rows,
        full_rows=plan.full_rows,
        encoder_batch=plan.encoder_batch,
    )
    decoder.wait_until_ready()
    return decoder, plan
