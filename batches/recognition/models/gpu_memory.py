"""GPU memory planning: rows of a Whisper model's static batches that fit a GPU, from its dimensions.

The plan with the fewest rows gives a model's minimum need, which is shown to operators and compared with the
free memory before a model is loaded. Does not import torch, so that pages and commands can show it.
"""

from __future__ import annotations

from dataclasses import dataclass

from batches.recognition.models.dimensions import WhisperDimensions
from batches.recognition.models.memory import GIB, MemoryNeed

DEFAULT_GPU_MEMORY = 16 * GIB  # of a card that one engine process takes, if nothing else is set
GPU_MEMORY = "the graphics card's memory that may be used (SPEECHPORTAL_GPU_MEMORY_MB)"  # in sentences
MAX_POSITIONS = 344  # prompt and tokens of one text; a multiple of 8, as fast attention wants
SHORT_CONTEXT = 800  # encoder frames, 16 s: Whisper repeats itself when it is given less
MOST_ROWS = 256
LEAST_ROWS = 4
_FULL_SHARE = 4  # one row at the full context, for retries and long chunks, for so many at the short one
_ENCODER_BATCH = 64  # chunks; more are not faster
_HARVEST_BYTES = GIB  # graphs for the attention maps of both batches, and a pass over given texts
_OTHER_BYTES = 4 * GIB  # CUDA itself, segmentation and speaker embeddings, with their graphs
CTRANSLATE2_RECOGNISER = "faster-whisper"
_CTRANSLATE2_ROWS = 128  # as many as on a GPU by default
_CTRANSLATE2_BYTES = 2  # of a float16
_ALIGNED_TOKENS = 128  # of a long text in one chunk


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Batch sizes of one decoder, and the GPU memory that they need, including everything else."""

    rows: int
    full_rows: int
    encoder_batch: int
    need: MemoryNeed


def plan_batches(
    dims: WhisperDimensions,
    *,
    memory: int,
    alignment_heads: int = 0,
    itemsize: int = 2,
    rows: int = 0,
    most_rows: int = MOST_ROWS,
) -> BatchPlan:
    """Plan the largest batches that fit into ``memory`` bytes, or the smallest ones if none do.

    ``itemsize`` is that of the number type in bytes. ``rows`` sets the rows at the short context. Where
    ``alignment_heads`` is 0, the most that a model of these dimensions has is taken.
    """
    heads = alignment_heads or -(-dims.n_text_layer // 2) * dims.n_text_head
    sizes = (
        [rows] if rows else [size for halvings in range(7) if (size := MOST_ROWS >> halvings) <= most_rows]
    )
    plans = [_plan(dims, heads, itemsize, max(LEAST_ROWS, size)) for size in sizes]
    return next((plan for plan in plans if plan.need.total <= memory), plans[-1])


def plan_ctranslate2(dims: WhisperDimensions, *, memory: int, rows: int = 0) -> BatchPlan:
    """Plan the largest batches of CTranslate2 that fit into ``memory`` bytes, or one row if none do.

    ``rows`` sets the rows. It allocates as it needs, at the context of each batch, and keeps no static
    batches: a row is computed at the full context, which is the most.
    """
    sizes = [rows] if rows else [_CTRANSLATE2_ROWS >> halvings for halvings in range(8)]
    plans = [_plan_ctranslate2(dims, size) for size in sizes]
    return next((plan for plan in plans if plan.need.total <= memory), plans[-1])


def _plan_ctranslate2(dims: WhisperDimensions, rows: int) -> BatchPlan:
    frames, size = dims.n_audio_ctx, _CTRANSLATE2_BYTES
    cache = rows * bytes_per_row(dims, frames, 0, size)
    # The layers of the encoder, with one map of attention for each head.
    encoder = size * frames * (14 * dims.n_audio_state + dims.n_audio_head * frames)
    alignment = _ALIGNED_TOKENS * dims.n_vocab * (size + 4)  # of the text that was found
    need = MemoryNeed(size * dims.parameters, cache, rows * max(encoder, alignment), _OTHER_BYTES)
    return BatchPlan(rows, rows, rows, need)


def plan_for(recogniser: str, dims: WhisperDimensions, *, memory: int, rows: int = 0) -> BatchPlan:
    """Plan of the recogniser of that name: :func:`plan_ctranslate2` or :func:`plan_batches`."""
    if recogniser == CTRANSLATE2_RECOGNISER:
        return plan_ctranslate2(dims, memory=memory, rows=rows)
    return plan_batches(dims, memory=memory, rows=rows)


def least_need(dims: WhisperDimensions, recogniser: str = "") -> MemoryNeed:
    """Minimum GPU memory of the model, with the smallest batches in half precision."""
    return plan_for(recogniser, dims, memory=0).need


def _plan(dims: WhisperDimensions, alignment_heads: int, itemsize: int, rows: int) -> BatchPlan:
    full_rows = max(LEAST_ROWS, rows // _FULL_SHARE)
    encoder_batch = min(_ENCODER_BATCH, rows)
    full = dims.n_audio_ctx
    short = min(SHORT_CONTEXT, full)
    # The token embedding is there twice: as a table, and padded as the output layer.
    weights = itemsize * (dims.parameters + dims.n_vocab * dims.n_text_state)
    cache = rows * bytes_per_row(dims, short, alignment_heads, itemsize)
    cache += full_rows * bytes_per_row(dims, full, alignment_heads, itemsize)
    activations = encoder_batch * _encoder_bytes(dims, short, itemsize)
    activations += rows * 20 * dims.n_vocab  # logits, probabilities and scores of a step
    need = MemoryNeed(weights, cache, activations + _HARVEST_BYTES, _OTHER_BYTES)
    return BatchPlan(rows, full_rows, encoder_batch, need)


def bytes_per_row(dims: WhisperDimensions, frames: int, alignment_heads: int, itemsize: int) -> int:
    """Memory of one row of a static batch in bytes, ignoring parts below 1 %."""
    positions = min(MAX_POSITIONS, dims.n_text_ctx)
    attended = 2 * dims.n_text_layer * dims.n_text_state * (frames + positions)
    head_size = dims.n_text_state // dims.n_text_head
    return itemsize * (attended + positions * alignment_heads * head_size)


def _encoder_bytes(dims: WhisperDimensions, frames: int, itemsize: int) -> int:
    """Peak of a chunk's activations: a layer's feed-forward or, for small models, the spectrum."""
    layer = 14 * itemsize * frames * dims.n_audio_state
    spectrum = 2 * frames * (201 * 12 + 3 * 4 * dims.n_mels)
    return layer + spectrum
