"""Speed of a Whisper model by its shape: random weights through the whole recogniser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Self

import torch

from batches.recognition.alignment.word_times import align
from batches.recognition.asr.chunk_decoder import ChunkDecoder, DecodeRequest
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.weights import load_weights
from batches.recognition.asr.whisper_model import AudioModel
from batches.recognition.bench.shapes import SHAPES, RandomStateDict, alignment_heads
from batches.recognition.contracts import OnChunk, Progress, RecognisedChunk, RecognisedFile, SpeechChunk
from batches.recognition.models.dimensions import WhisperDimensions
from batches.recognition.models.gpu_memory import plan_batches
from batches.recognition.options import Options
from batches.recognition.runtime.device import choose_precision, limit_memory

_TOKENS, _SPREAD = 100, 11  # 100 to 110 tokens for each chunk, as dense speech has


class ShapeRecogniser:
    """Random weights, 100 to 110 tokens a chunk, end of text forbidden, loop check and retries off."""

    name = "openai-whisper"

    def __init__(self, decoder: ChunkDecoder, vocabulary: AudioModel) -> None:
        self._decoder, self._vocabulary = decoder, vocabulary
        self.model = vocabulary.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """As :meth:`SpeechRecogniser.close`."""
        self._decoder.close()

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        """As :meth:`SpeechRecogniser.recognise`, in English."""
        tokenizer = self._vocabulary.tokenizer("en")
        futures = self._decoder.decode([DecodeRequest(chunk.samples, "en") for chunk in chunks])
        found = []
        for index, (chunk, future) in enumerate(zip(chunks, futures, strict=True)):
            decoded = future.result()
            found.append(RecognisedChunk(align(decoded, tokenizer, chunk.seconds), "en"))
            if on_chunk is not None:
                on_chunk(index, found[-1])
        return RecognisedFile(found, "en", 1.0)


def token_count(seconds: float) -> int:
    """Tokens of a chunk: the same for the same chunk, and not the same for all."""
    return _TOKENS + round(1000 * seconds) % _SPREAD


def load_shape(name: str, device: torch.device, memory: int) -> ShapeRecogniser:
    """A recogniser with random weights of a model's shape. Raises KeyError for unknown shapes."""
    dims = SHAPES[name]
    vocabulary = AudioModel(name, dims)
    dtype = choose_precision("auto", device).products
    end = vocabulary.tokenizer("en").eot
    heads = alignment_heads(dims)
    weights = load_weights(
        dims,
        RandomStateDict(dims, device, dtype),
        alignment_heads=heads,
        end_of_text=end,
        device=device,
        dtype=dtype,
    )
    weights.output_bias[end] = -torch.inf
    plan = plan_batches(
        WhisperDimensions(**asdict(dims)),
        memory=limit_memory(device, memory),
        alignment_heads=len(heads),
        itemsize=dtype.itemsize,
    )
    decoder = ContinuousDecoder(
        weights,
        vocabulary.tokenizer,
        rows=plan.rows,
        full_rows=plan.full_rows,
        encoder_batch=plan.encoder_batch,
        limit=token_count,
        checks_loops=False,
    )
    decoder.wait_until_ready()
    return ShapeRecogniser(decoder, vocabulary)
