"""faster-whisper's runtime, CTranslate2, behind the interface of the openai-whisper engine.

Chunks, language, retries, tails, word times and signals are :class:`WhisperEngine`'s own; only encoding and
decoding are CTranslate2's, with int8 weights on a CPU. Unlike faster-whisper itself it is given only the
frames that hold speech. Keywords work through the prompt alone: CTranslate2 takes no bias. Needs the extra
``[faster]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from whisper.model import ModelDimensions

from batches.recognition.asr.decoding import MAX_TOKENS, Decoded, DecodingOptions
from batches.recognition.asr.quality import compression_ratio, loop_start
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND, AudioModel
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.runtime.device import is_gpu

_TOKENS_PER_SECOND = 14  # more than anybody speaks, in any script


class FasterModel(AudioModel):
    """One checkpoint in CTranslate2's format; features go in and out as float32 tensors."""

    def __init__(
        self, checkpoint: WhisperCheckpoint, cache: Path, *, threads: int = 1, device: str = "cpu"
    ) -> None:
        """``cache`` keeps the converted weights. Raises ModelUnavailable."""
        try:
            import ctranslate2

            from batches.recognition.models.faster_whisper_weights import faster_folder
        except ImportError as error:
            raise ModelUnavailable(
                'faster-whisper is not installed. Run: pip install "speechportal[faster]"'
            ) from error
        torch.set_num_threads(threads)
        folder = faster_folder(checkpoint, cache)
        self.model: Any = ctranslate2.models.Whisper(
            str(folder),
            device=device,
            compute_type="float16" if is_gpu(torch.device(device)) else "int8",
            intra_threads=threads,
        )
        self._view: Any = ctranslate2.StorageView.from_array
        dims = torch.load(checkpoint.path, map_location="cpu", weights_only=True, mmap=True)["dims"]
        super().__init__(checkpoint.name, ModelDimensions(**dims))

    def encode(self, mels: Tensor) -> Tensor:
        """(rows, mels, 2 * frames) to (rows, frames, state)."""
        encoded = self.model.encode(self.view(mels), to_cpu=True)
        return torch.from_numpy(np.array(encoded))

    def view(self, values: Tensor) -> Any:
        return self._view(np.ascontiguousarray(values.numpy(), dtype=np.float32))

    def ask_languages(self, features: Tensor) -> list[dict[str, float]]:
        """Probabilities by language code for each row."""
        if not self.multilingual:
            return [{"en": 1.0} for _ in features]
        return [
            {token.strip("<|>"): probability for token, probability in row}
            for row in self.model.detect_language(self.view(features))
        ]

    def decoder(self, rules: DecodingOptions) -> FasterDecoder:
        return FasterDecoder(self, rules)


class FasterDecoder:
    """Decodes batches of encoded chunks by one set of rules, as :class:`decoding.BatchDecoder` does."""

    def __init__(self, model: FasterModel, rules: DecodingOptions) -> None:
        self._model, self._rules = model, rules
        tokenizer = rules.tokenizer
        special = {tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm, tokenizer.no_speech}
        self._suppressed = sorted({*tokenizer.non_speech_tokens, *special})

    def run(self, features: Tensor, seconds: Sequence[float]) -> list[Decoded]:
        """``features`` are the encoder's (rows, frames, state); ``seconds`` of sound in each row."""
        rules, model = self._rules, self._model.model
        encoded = self._model.view(features)
        prompt = rules.initial_tokens()
        results = model.generate(
            encoded,
            [prompt] * len(seconds),
            beam_size=1,
            max_length=len(prompt) + min(MAX_TOKENS, 16 + int(_TOKENS_PER_SECOND * max(seconds))),
            sampling_temperature=rules.temperature,
            sampling_topk=0 if rules.temperature else 1,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )
        texts = [_cut_loop(result.sequences_ids[0], rules.tokenizer.eot) for result in results]
        frames = [2 * max(1, min(features.shape[1], round(length * FRAMES_PER_SECOND))) for length in seconds]
        aligned = model.align(
            encoded, list(rules.tokenizer.sot_sequence), [tokens for tokens, _ in texts], frames
        )
        return [
            self._result(tokens, looped, result, alignment)
            for (tokens, looped), result, alignment in zip(texts, results, aligned, strict=True)
        ]

    def _result(self, tokens: list[int], looped: bool, result: Any, alignment: Any) -> Decoded:
        rules = self._rules
        text = rules.tokenizer.decode(tokens).strip()
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
            temperature=rules.temperature,
        )


def _cut_loop(tokens: list[int], end: int) -> tuple[list[int], bool]:
    """The text's tokens, without the turns of a loop that they end in, and whether there was one."""
    text = [token for token in tokens if token < end]
    start = loop_start(text)
    return (text, False) if start is None else (text[:start], True)


def _entered(path: Sequence[tuple[int, int]], tokens: int) -> list[float]:
    """The frame at which the path enters each token, and then the end of the text."""
    entered: dict[int, int] = {}
    for token, frame in path:
        entered.setdefault(token, frame)
    last = float(path[-1][1]) if path else 0.0
    return [float(entered.get(token, last)) for token in range(tokens + 1)]
