"""openai-whisper's model with a forward pass optimised for batches of short chunks.

The weights, the layers' arithmetic and the tokens are openai-whisper's. Differences: the encoder processes
only the frames in use, the KV cache is updated in place, the projections of self-attention are one product,
and the output layer covers only the tokens that may be generated (on a CPU as int8 with the most likely
tokens exact, unless a precision is set). If the processor is faster with 16-bit numbers, matrix products are
in bfloat16 (float16 on a GPU), while the residual stream stays in 32 bits on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor, nn
from whisper.audio import HOP_LENGTH, log_mel_spectrogram
from whisper.model import ModelDimensions
from whisper.tokenizer import Tokenizer, get_tokenizer

from batches.recognition.asr.output_layer import Int8OutputLayer, OutputLayer
from batches.recognition.asr.whisper_blocks import DecoderBlock, EncoderBlock
from batches.recognition.media.decoding import Samples
from batches.recognition.models.weights import AlignmentHeads, WhisperWeights
from batches.recognition.runtime import memory
from batches.recognition.runtime.device import choose_precision, is_gpu

BlockT = TypeVar("BlockT", EncoderBlock, DecoderBlock)

FRAMES_PER_SECOND = 50  # encoder frames
SAMPLES_PER_FRAME = 2 * HOP_LENGTH  # one encoder frame is two mel frames
_LOGIT_ROWS = 64  # whose logits are in memory at once when texts are scored


@dataclass(slots=True)
class KVCache:
    """KV cache of a batch: one tensor per layer of (rows, heads, positions, head size)."""

    cross_keys: list[Tensor]
    cross_values: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0  # positions filled so far

    def select(self, rows: Tensor) -> None:
        """Keep only these rows."""
        for tensors in (self.cross_keys, self.cross_values, self.keys, self.values):
            tensors[:] = [tensor[rows] for tensor in tensors]

    def spread(self, width: int) -> None:
        """Expand each row to ``width`` hypotheses, which share its positions so far."""
        for tensors in (self.keys, self.values):
            tensors[:] = [tensor.repeat_interleave(width, dim=0) for tensor in tensors]

    def select_beams(self, rows: Sequence[int], origins: Sequence[Sequence[int]], width: int) -> None:
        """Keep only these rows, and continue each hypothesis from its parent in ``origins``."""
        if len(rows) < self.cross_keys[0].shape[0]:
            chosen = torch.tensor(rows)
            for tensors in (self.cross_keys, self.cross_values):
                tensors[:] = [tensor[chosen] for tensor in tensors]
        texts = torch.tensor(
            [row * width + beam for row, beams in zip(rows, origins, strict=True) for beam in beams]
        )
        for tensors in (self.keys, self.values):
            for index, tensor in enumerate(tensors):
                moved = tensor[:, :, : self.length][texts]
                tensors[index] = tensor[: len(texts)]
                tensors[index][:, :, : self.length] = moved


class AudioModel:
    """Base class of Whisper runtimes, without the network: tokenizers and log-mel spectrograms."""

    def __init__(self, name: str, dims: ModelDimensions) -> None:
        self.name, self.dims = name, dims
        # As in whisper.model.Whisper: multilingual vocabularies are larger, and grow with the languages.
        self.multilingual = dims.n_vocab >= 51865
        self.languages = dims.n_vocab - 51765 - int(self.multilingual)

        self._tokenizers: dict[str | None, Tokenizer] = {}

    def tokenizer(self, language: str | None) -> Tokenizer:
        """Cached tokenizer of a language."""
        if language not in self._tokenizers:
            self._tokenizers[language] = get_tokenizer(
                self.multilingual, num_languages=self.languages, language=language, task="transcribe"
            )
        return self._tokenizers[language]

    def mel(self, samples: Samples, frames: int) -> Tensor:
        """Log-mel spectrogram, (mels, 2 * frames), of at most ``frames`` encoder frames of sound."""
        padded = np.zeros(frames * SAMPLES_PER_FRAME, dtype=np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        spectrogram: Tensor = log_mel_spectrogram(torch.from_numpy(padded), self.dims.n_mels)
        return spectrogram


class WhisperModel(AudioModel):
    """Loaded checkpoint. Not thread-safe."""

    def __init__(
        self,
        weights: WhisperWeights,
        *,
        threads: int = 1,
        device: str = "cpu",
        precision: str = "auto",
    ) -> None:
        """``precision`` is that of the products: "float32", "bfloat16", "float16" or "auto".

        Each tensor goes from its file directly into the type it runs in, one block at a time.
        """
        torch.set_num_threads(threads)
        super().__init__(weights.name, weights.dims)
        self.device = torch.device(device)
        types = choose_precision(precision, self.device)
        self.dtype, self.product_dtype = types.sums, types.products
        self.alignment_heads = _heads_by_layer(weights.alignment_heads)
        encoder, decoder = weights.modules()
        encoder_blocks, decoder_blocks = encoder.blocks, decoder.blocks
        encoder.blocks = decoder.blocks = nn.ModuleList()  # the blocks' tensors are not needed twice
        decoder.mask = None  # only needed for training
        self._convolutions = [
            (*self._moved(conv.weight, conv.bias), conv.stride, conv.padding)
            for conv in (encoder.conv1, encoder.conv2)
        ]
        del encoder.conv1, encoder.conv2
        self._encoder: Any = encoder.to(self.device, self.dtype)
        self._decoder: Any = decoder.to(self.device, self.dtype)
        self._output = self._make_output(exact=precision != "auto")
        self._encoder_blocks = [self._block(EncoderBlock, block, weights) for block in encoder_blocks]
        self._blocks = [self._block(DecoderBlock, block, weights) for block in decoder_blocks]

    def _moved(self, *tensors: Tensor) -> list[Tensor]:
        return [tensor.detach().to(self.device, self.product_dtype) for tensor in tensors]

    def _block(self, kind: type[BlockT], block: Any, weights: WhisperWeights) -> BlockT:
        """Convert one block, and release the memory of the file and of intermediate results."""
        for norm in (block.attn_ln, block.cross_attn_ln, block.mlp_ln):
            if norm is not None:
                norm.to(self.device, self.dtype)
        made = kind(block, self.product_dtype, self.device)
        weights.release()
        memory.release()
        return made

    def _make_output(self, *, exact: bool) -> OutputLayer:
        """The output layer over the text tokens and the end of text, which come first in the vocabulary."""
        weight = self._decoder.token_embedding.weight[: self.tokenizer("en").eot + 1].detach()
        return OutputLayer(weight) if exact or is_gpu(self.device) else Int8OutputLayer(weight)

    @torch.inference_mode()
    def encode(self, mels: Tensor) -> Tensor:
        """(rows, mels, 2 * frames) to (rows, frames, state); only as many frames as there are."""
        encoder = self._encoder
        x = mels.to(self.device, self.product_dtype)
        for weight, bias, stride, padding in self._convolutions:
            x = F.gelu(F.conv1d(x, weight, bias, stride, padding))
        x = (x.permute(0, 2, 1) + encoder.positional_embedding[: x.shape[2]]).to(self.dtype)
        for block in self._encoder_blocks:
            x = block(x)
        result: Tensor = encoder.ln_post(x)
        return result

    @torch.inference_mode()
    def new_cache(self, features: Tensor, positions: int) -> KVCache:
        """New KV cache of a batch: cross-attention keys and values, and space for ``positions`` tokens."""
        rows, heads = features.shape[0], self.dims.n_text_head
        size = self.dims.n_text_state // heads
        cross = [block.cross(features) for block in self._blocks]
        room = [
            torch.empty(rows, heads, positions, size, dtype=self.product_dtype, device=self.device)
            for _ in range(2 * len(self._blocks))
        ]
        return KVCache(
            [keys for keys, _ in cross],
            [values for _, values in cross],
            room[: len(self._blocks)],
            room[len(self._blocks) :],
        )

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: KVCache) -> tuple[Tensor, Tensor]:
        """Feed (rows, n) tokens. Returns the last layer, (rows, n, state), and the alignment heads' scores.

        The scores are (rows, alignment heads, n, audio frames), before the softmax.
        """
        start, count = cache.length, tokens.shape[1]
        decoder = self._decoder
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[start : start + count]
        scores = []
        for index, block in enumerate(self._blocks):
            x = block.attend(x, cache.keys[index], cache.values[index], start)
            x, heard = block.cross_attend(x, cache.cross_keys[index], cache.cross_values[index])
            if index in self.alignment_heads:
                scores.append(heard[:, self.alignment_heads[index]])
            x = block.feed_forward(x)
        cache.length += count
        last: Tensor = decoder.ln(x)
        return last, torch.cat(scores, dim=1)

    @torch.inference_mode()
    def step_beams(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Feed (rows, width) tokens, one to each text. Returns the last layer, (rows, width, state).

        The hypotheses of a row attend to the audio as if they were several tokens of one text.
        """
        rows, width = tokens.shape
        decoder = self._decoder
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[cache.length]
        for index, block in enumerate(self._blocks):
            apart = x.reshape(rows * width, 1, -1)
            x = block.attend(apart, cache.keys[index], cache.values[index], cache.length).view(x.shape)
            x, _ = block.cross_attend(x, cache.cross_keys[index], cache.cross_values[index])
            x = block.feed_forward(x)
        cache.length += 1
        last: Tensor = decoder.ln(x)
        return last

    @torch.inference_mode()
    def step_texts(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Feed (texts, n) tokens, whole texts of one row of audio. Returns the last layer, (texts, n, state).

        The cache must be new, and spread to the texts, which attend to the audio as if they were one.
        """
        texts, count = tokens.shape
        decoder = self._decoder
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[:count]
        for index, block in enumerate(self._blocks):
            x = block.attend(x, cache.keys[index], cache.values[index], 0)
            together = x.view(1, texts * count, -1)
            x, _ = block.cross_attend(together, cache.cross_keys[index], cache.cross_values[index])
            x = block.feed_forward(x).view(texts, count, -1)
        cache.length = count
        last: Tensor = decoder.ln(x)
        return last

    def ask_languages(self, features: Tensor) -> list[dict[str, float]]:
        """Probabilities by language code for each row of (rows, frames, state)."""
        if not self.multilingual:
            return [{"en": 1.0} for _ in range(features.shape[0])]
        tokenizer = self.tokenizer(None)
        start = torch.tensor([[tokenizer.sot]] * features.shape[0], device=self.device)
        hidden, _ = self.step(start, self.new_cache(features, 1))
        logits = self.all_logits(hidden[:, 0])[:, list(tokenizer.all_language_tokens)]
        codes = tokenizer.all_language_codes
        return [dict(zip(codes, row, strict=True)) for row in logits.softmax(dim=-1).tolist()]

    @torch.inference_mode()
    def text_logits(self, hidden: Tensor) -> Tensor:
        """(rows, state) to (rows, text tokens and the end of text), float32."""
        return self._output(hidden)

    @torch.inference_mode()
    def refine_logits(self, hidden: Tensor, plain: Tensor, logits: Tensor) -> None:
        """As :meth:`OutputLayer.refine`, for logits that were made of :meth:`text_logits`."""
        self._output.refine(hidden, plain, logits)

    @torch.inference_mode()
    def text_logprobs(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """(rows,) log-probability of one text token of each row of (rows, state)."""
        exact = (self._decoder.token_embedding.weight[tokens] * hidden).float().sum(dim=-1)
        sums = [self._logit_sums(piece) for piece in torch.split(hidden, _LOGIT_ROWS)]
        logprobs: Tensor = exact - torch.cat(sums)
        return logprobs

    def _logit_sums(self, hidden: Tensor) -> Tensor:
        """(rows,) logarithm of the sum of the exponential text logits.

        The most likely tokens are exact: a text of 32 tokens otherwise lost 3 of its log-probability.
        """
        plain = self._output(hidden)
        self._output.refine(hidden, plain, plain.clone())
        return plain.logsumexp(dim=-1)

    @torch.inference_mode()
    def all_logits(self, hidden: Tensor) -> Tensor:
        """(rows, state) to (rows, whole vocabulary), float32, unquantised: for the special tokens."""
        logits: Tensor = hidden @ self._decoder.token_embedding.weight.T
        return logits.float()


def _heads_by_layer(heads: AlignmentHeads) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for layer, head in heads:
        found.setdefault(layer, []).append(head)
    return found
