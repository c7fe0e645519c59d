"""Random Whisper checkpoints of any size, for benchmarks of every engine.

The weights are random except for what decides the length of a text: position embeddings favour one token at
each place, and the end of text after :data:`TOKENS` of them. Every engine therefore decodes the same text of
distinct words in each window, ends it by itself, and finds neither a loop nor a doubtful score: the end of
text is held back and the loop check has nothing to do, without any switch. Word times are meaningless.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from whisper.model import ModelDimensions
from whisper.tokenizer import Tokenizer, get_tokenizer

from batches.recognition.bench.shapes import SHAPES, RandomStateDict
from batches.recognition.models.store import WhisperCheckpoint

TOKENS = 105  # text tokens of each window; real speech has 100 to 110 in 30 s
_TEXT_STARTS = 4  # positions of start of transcript, language, task and "no timestamps"
_EMBEDDING = 0.1  # standard deviation
_PULL = 4.0  # size of a position embedding, relative to the embedding of the token that it favours


def make_checkpoint(shape: str, folder: Path) -> WhisperCheckpoint:
    """Write ``SHAPE.pt`` in half precision into ``folder``, unless it is there. The same bytes every time.

    Raises KeyError for a shape that is not in :data:`SHAPES`.
    """
    path = folder / f"{shape}.pt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        dims = SHAPES[shape]
        arriving = path.with_suffix(".new")
        torch.save({"dims": dims.__dict__, "model_state_dict": _weights(dims)}, arriving)
        arriving.rename(path)
    return WhisperCheckpoint(path, shape, official=shape)


def _weights(dims: ModelDimensions) -> dict[str, Tensor]:
    weights = dict(RandomStateDict(dims, torch.device("cpu"), torch.float16))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(dims.n_vocab, dims.n_text_state, generator=generator).mul_(_EMBEDDING)
    tokenizer = get_tokenizer(True, num_languages=dims.n_vocab - 51_766)
    weights["decoder.token_embedding.weight"] = tokens.half()
    weights["decoder.positional_embedding"] = _positions(dims, tokens, tokenizer).half()
    return weights


def _positions(dims: ModelDimensions, tokens: Tensor, tokenizer: Tokenizer) -> Tensor:
    """(positions, width): each favours the token that follows it."""
    favoured = torch.full((dims.n_text_ctx,), tokenizer.eot)
    text = _distinct_words(tokenizer)
    first = _TEXT_STARTS - 1
    favoured[first : first + len(text)] = torch.tensor(text)
    positions = _PULL * tokens[favoured]
    positions[:first] = 0.0  # the start tokens are given, and detecting the language is not measured
    return positions


def _distinct_words(tokenizer: Tokenizer) -> list[int]:
    """Different tokens that are English words with a space before them."""
    suppressed = set(tokenizer.non_speech_tokens)
    words: list[int] = []
    for token in range(1000, tokenizer.eot, 7):
        text = tokenizer.decode([token])
        if token not in suppressed and text[:1] == " " and text[1:].isascii() and text[1:].isalpha():
            words.append(token)
        if len(words) == TOKENS:
            break
    return words
