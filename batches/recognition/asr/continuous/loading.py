"""Loader of a Whisper model into a continuous decoder, with batches that fit the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor
from whisper.model import ModelDimensions
from whisper.tokenizer import Tokenizer

from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.weights import load_weights
from batches.recognition.models import memory as memories
from batches.recognition.models.dimensions import WhisperDimensions
from batches.recognition.models.gpu_memory import (
    DEFAULT_GPU_MEMORY,
    GPU_MEMORY,
    MOST_ROWS,
    BatchPlan,
    plan_batches,
)
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.models.weights import open_weights
from batches.recognition.runtime.device import choose_precision, is_gpu, limit_memory

_CPU_ROWS = 8


def read_checkpoint(
    checkpoint: WhisperCheckpoint,
) -> tuple[ModelDimensions, Mapping[str, Tensor], list[tuple[int, int]]]:
    """Dimensions, memory-mapped state dict and alignment heads. Raises ModelUnavailable."""
    weights = open_weights(checkpoint)
    return weights.dims, weights.state, list(weights.alignment_heads)


def load_decoder(
    dims: ModelDimensions,
    state_dict: Mapping[str, Tensor],
    alignment_heads: Sequence[tuple[int, int]],
    tokenizer: Callable[[str | None], Tokenizer],
    *,
    name: str = "The model",
    device: torch.device,
    precision: str = "auto",
    memory: int = DEFAULT_GPU_MEMORY,
    rows: int = 0,
) -> tuple[ContinuousDecoder, BatchPlan]:
    """A decoder that is ready, and the sizes of its batches.

    ``memory`` is what this process may take of the GPU, in bytes, for all models together. ``rows`` sets the
    chunks decoded at once; 0 takes what fits into the memory. Raises ModelTooLarge where nothing does.
    """
    allowed = limit_memory(device, memory)
    dtype = choose_precision(precision, device).products
    plan = plan_batches(
        WhisperDimensions(**asdict(dims)),
        memory=allowed,
        alignment_heads=len(alignment_heads),
        itemsize=dtype.itemsize,
        rows=rows,
        most_rows=MOST_ROWS if is_gpu(device) else _CPU_ROWS,
    )
    memories.require(name, plan.need, allowed, of=GPU_MEMORY)
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
