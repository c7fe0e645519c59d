"""Whisper in faster-whisper's runtime, CTranslate2: encoder and decoder of a :class:`QueuedChunkDecoder`.

Language detection, retries, tails and word times are done by :class:`WhisperRecogniser`; only encoding and
decoding use CTranslate2, with int8 weights on a CPU. Unlike in faster-whisper, only frames with speech are
encoded. Keywords work only through the prompt, since CTranslate2 does not support a bias.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from whisper.model import ModelDimensions

from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.decoding import (
    Decoded,
    digit_tokens,
    initial_tokens,
    sampling_seed,
    token_limit,
)
from batches.recognition.asr.quality import compression_ratio, loop_start
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND, AudioModel
from batches.recognition.media.decoding import SAMPLE_RATE
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.runtime.device import is_gpu


class FasterModel(AudioModel):
    """Checkpoint in CTranslate2's format, with float32 tensors as inputs and outputs."""

    def __init__(
        self, checkpoint: WhisperCheckpoint, cache: Path, *, threads: int, device: torch.device
    ) -> None:
        """``cache`` is the folder for converted weights. Raises ModelUnavailable."""
        import ctranslate2

        from batches.recognition.models.faster_whisper_weights import faster_folder

        torch.set_num_threads(threads)
        folder = faster_folder(checkpoint, cache)
        self.model: Any = ctranslate2.models.Whisper(
            str(folder),
            device=device.type,
            device_index=device.index or 0,
            compute_type="float16" if is_gpu(device) else "int8",
            intra_threads=threads,
        )
        self._view: Any = ctranslate2.StorageView.from_array
        super().__init__(checkpoint.name, ModelDimensions(**asdict(read_dimensions(checkpoint.path))))

    def encode(self, mels: Tensor) -> Tensor:
        """Encode (rows, mels, 2 * frames) to (rows, frames, state)."""
        encoded = self.model.encode(self.view(mels), to_cpu=True)
        return torch.from_numpy(np.array(encoded))

    def view(self, values: Tensor) -> Any:
        return self._view(np.ascontiguousarray(values.numpy(), dtype=np.float32))

    def ask_languages(self, features: Tensor) -> list[dict[str, float]]:
        """Language probabilities by code for each row."""
        if not self.multilingual:
            return [{"en": 1.0} for _ in features]
        return [
            {token.strip("<|>"): probability for token, probability in row}
            for row in self.model.detect_language(self.view(features))
        ]


class FasterDecoder:
    """Decoder of batches of encoded chunks, with the interface of :class:`decoding.BatchDecoder`."""

    def __init__(self, model: FasterModel) -> None:
        self._model = model
        tokenizer = model.tokenizer("en")
        special = {tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm, tokenizer.no_speech}
        self._suppressed = sorted({*tokenizer.non_speech_tokens, *special})
        self._digits = digit_tokens(tokenizer).tolist()

    def group(self, request: DecodeRequest) -> Hashable:
        """Batch key. CTranslate2 supports one temperature per batch; chunks with one are sampled singly."""
        seed = sampling_seed(request) if request.temperature else 0
        return len(request.prompt), seed, request.beam_width, request.digits

    def run(self, features: Tensor, requests: Sequence[DecodeRequest]) -> list[Decoded]:
        """Decode a batch. ``features`` are the encoder's (rows, frames, state), one row per request."""
        import ctranslate2

        model = self._model
        encoded = model.view(features)
        tokenizers = [model.tokenizer(request.language) for request in requests]
        prompts = [
            initial_tokens(request, tokenizer)
            for request, tokenizer in zip(requests, tokenizers, strict=True)
        ]
        lengths = [len(request.samples) / SAMPLE_RATE for request in requests]
        temperature = requests[0].temperature
        if temperature:
            ctranslate2.set_random_seed(sampling_seed(requests[0]))
        results = model.model.generate(
            encoded,
            prompts,
            beam_size=requests[0].beam_width,
            max_length=len(prompts[0]) + token_limit(max(lengths)),
            sampling_temperature=temperature,
            sampling_topk=0 if temperature else 1,
            suppress_tokens=[*self._suppressed, *([] if requests[0].digits else self._digits)],
            return_scores=True,
            return_no_speech_prob=True,
        )
        texts = [
            _cut_loop(result.sequences_ids[0], tokenizer.eot, token_limit(length))
            for result, tokenizer, length in zip(results, tokenizers, lengths, strict=True)
        ]
        aligned = self._align(features, requests, [tokens for tokens, _ in texts], lengths)
        return [
            _decoded(tokens, looped, tokenizer.decode(tokens).strip(), result, alignment, temperature)
            for (tokens, looped), tokenizer, result, alignment in zip(
                texts, tokenizers, results, aligned, strict=True
            )
        ]

    def _align(
        self,
        features: Tensor,
        requests: Sequence[DecodeRequest],
        texts: Sequence[list[int]],
        lengths: Sequence[float],
    ) -> list[Any]:
        """Align each row's tokens with CTranslate2, in one call per language."""
        model = self._model
        found: dict[int, Any] = {}
        for language in dict.fromkeys(request.language for request in requests):
            rows = [row for row, request in enumerate(requests) if request.language == language]
            frames = [
                2 * max(1, min(features.shape[1], round(lengths[row] * FRAMES_PER_SECOND))) for row in rows
            ]
            aligned = model.model.align(
                model.view(features[rows]),
                list(model.tokenizer(language).sot_sequence),
                [texts[row] for row in rows],
                frames,
            )
            found |= zip(rows, aligned, strict=True)
        return [found[row] for row in range(len(requests))]


def _decoded(
    tokens: list[int], looped: bool, text: str, result: Any, alignment: Any, temperature: float
) -> Decoded:
    probabilities = np.maximum(np.array(alignment.text_token_probs, dtype=np.float64), 1e-10)
    return Decoded(
        tokens=tokens,
        logprobs=np.log(probabilities).tolist(),
        mean_logprob=float(result.scores[0]),
        no_speech_probability=float(result.no_speech_prob),
        text=text,
        compression_ratio=compression_ratio(text),
        looped=looped,
        entered=_entered(alignment.alignments, len(tokens)),
        temperature=temperature,
    )


def _cut_loop(tokens: list[int], end: int, most: int) -> tuple[list[int], bool]:
    """Truncate to ``most`` text tokens and cut off a final loop; returns also whether there was one."""
    text = [token for token in tokens if token < end][:most]
    start = loop_start(text)
    return (text, False) if start is None else (text[:start], True)


def _entered(path: Sequence[tuple[int, int]], tokens: int) -> list[float]:
    """Frame at which the path enters each token, and then the end of the text."""
    entered: dict[int, int] = {}
    for token, frame in path:
        entered.setdefault(token, frame)
    last = float(path[-1][1]) if path else 0.0
    return [float(entered.get(token, last)) for token in range(tokens + 1)]
