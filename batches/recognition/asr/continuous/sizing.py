"""Sizing: how many rows of a model's static batches fit into a GPU's memory, computed from its dimensions."""

from __future__ import annotations

from dataclasses import dataclass

from whisper.model import ModelDimensions

from batches.recognition.asr.continuous.static_batch import bytes_per_row

SHORT_CONTEXT = 800  # encoder frames, 16 s: Whisper repeats itself when it is given less
MOST_ROWS = 256
LEAST_ROWS = 4
_FULL_SHARE = 4  # one row at the full context, for retries and long chunks, for so many at the short one
_ENCODER_BATCH = 64  # chunks; more are not faster
_HARVEST_BYTES = 2**30  # attention maps of one group of rows
_OTHER_BYTES = 3 * 2**30  # CUDA itself, segmentation and speaker embeddings


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Sizes of one decoder's batches, and the memory that they need with everything else, in bytes."""

    rows: int
    full_rows: int
    encoder_batch: int
    memory: int


def plan_batches(
    dims: ModelDimensions, alignment_heads: int, *, memory: int, itemsize: int = 2, rows: int = 0
) -> BatchPlan:
    """The largest batches that fit into ``memory`` bytes, or the smallest ones if none do.

    ``itemsize`` is that of the number type in bytes. ``rows`` sets the rows at the short context.
    """
    sizes = [rows] if rows else [MOST_ROWS >> halvings for halvings in range(7)]
    plans = [_plan(dims, alignment_heads, itemsize, max(LEAST_ROWS, size)) for size in sizes]
    return next((plan for plan in plans if plan.memory <= memory), plans[-1])


def _plan(dims: ModelDimensions, alignment_heads: int, itemsize: int, rows: int) -> BatchPlan:
    full_rows = max(LEAST_ROWS, rows // _FULL_SHARE)
    encoder_batch = min(_ENCODER_BATCH, rows)
    full = int(dims.n_audio_ctx)
    short = min(SHORT_CONTEXT, full)
    memory = (
        itemsize * parameter_count(dims)
        + rows * bytes_per_row(dims, short, alignment_heads, itemsize)
        + full_rows * bytes_per_row(dims, full, alignment_heads, itemsize)
        + encoder_batch * _encoder_bytes(dims, short, itemsize)
        + rows * 20 * int(dims.n_vocab)  # logits, probabilities and scores of a step
        + _HARVEST_BYTES
        + _OTHER_BYTES
    )
    return BatchPlan(rows, full_rows, encoder_batch, memory)


def parameter_count(dims: ModelDimensions) -> int:
    """Numbers in a Whisper checkpoint, with the position encodings; biases and norms are left out."""
    audio, text = int(dims.n_audio_state), int(dims.n_text_state)
    encoder = 3 * int(dims.n_mels) * audio + (3 + 12 * int(dims.n_audio_layer)) * audio**2
    decoder = 16 * int(dims.n_text_layer) * text**2 + 2 * int(dims.n_vocab) * text  # embedding and output
    return encoder + decoder + int(dims.n_audio_ctx) * audio + int(dims.n_text_ctx) * text


def _encoder_bytes(dims: ModelDimensions, frames: int, itemsize: int) -> int:
    """Peak of a chunk's activations: a layer's feed-forward or, for small models, the spectrum."""
    layer = 14 * itemsize * frames * int(dims.n_audio_state)
    spectrum = 2 * frames * (201 * 12 + 3 * 4 * int(dims.n_mels))
    return layer + spectrum
