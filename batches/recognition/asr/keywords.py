"""Keyword boosting: contextual biasing of the next token towards an account's keywords.

The keywords' tokens form a prefix tree. At each decoding step, the tokens that may start a keyword get a
small bonus and those that continue a started one get the full bonus, in the manner of shallow fusion (e.g.
Zhao et al., "Shallow-Fusion End-to-End Contextual Biasing", 2019). The bonus is added to the logits, so a
keyword wins only if it is acoustically nearly as likely as the model's own text.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

START_SHARE = 0.5  # share of the weight for a keyword's first token
FULL_STARTS = 50  # number of first tokens up to which each gets the whole share
PROMPT_TOKENS = 96  # maximum number of keyword tokens in the prompt


class Encoder(Protocol):
    def encode(self, text: str) -> list[int]: ...


@dataclass(slots=True)
class Node:
    """Node of the prefix tree: tokens that continue a keyword."""

    children: dict[int, Node] = field(default_factory=dict)
    ends: bool = False  # whether a keyword ends here


def spellings(keyword: str, *, spaced: bool) -> list[tuple[str, bool]]:
    """Forms of a keyword: (text, whether only at the start of the text).

    In languages with spaces between words, the form without a space would match inside other words.
    """
    word = " ".join(keyword.split())
    forms = dict.fromkeys([word, word[:1].upper() + word[1:]])
    with_space = [(" " + form, False) for form in forms]
    return with_space + [(form, spaced) for form in forms]


class KeywordTree:
    """Prefix trees of a list of keywords, for one tokenizer.

    ``at_start`` is the root at the start of a text, ``anywhere`` the root later in it, whose keywords are a
    subset of the former's. Trees with the same ``digest`` are equal.
    """

    def __init__(self, keywords: Iterable[str], encoder: Encoder, *, weight: float, spaced: bool) -> None:
        self.weight = weight
        self.anywhere, self.at_start = Node(), Node()
        digest = hashlib.sha256(repr(weight).encode())
        for keyword in keywords:
            if keyword.strip():
                for text, only_at_start in spellings(keyword, spaced=spaced):
                    tokens = encoder.encode(text)
                    self._add(tokens, only_at_start=only_at_start)
                    digest.update(repr((tokens, only_at_start)).encode())
        self.digest = digest.hexdigest()

    def _add(self, tokens: list[int], *, only_at_start: bool) -> None:
        roots = [self.at_start] if only_at_start else [self.at_start, self.anywhere]
        for root in roots:
            node = root
            for token in tokens:
                node = node.children.setdefault(token, Node())
            node.ends = True

    def start_bias(self, size: int, *, at_start: bool) -> Tensor:
        """(size,) bonus for tokens that start a keyword, at the start of the text or anywhere in it.

        With many start tokens the bonus of each is reduced by the logarithm of their number, so that a long
        list does not make it more likely that any keyword starts.
        """
        bias = torch.zeros(size)
        root = self.at_start if at_start else self.anywhere
        starts = [token for token in root.children if token < size]
        less = math.log(max(1.0, len(starts) / FULL_STARTS))
        bias[starts] = max(0.0, self.weight * START_SHARE - less)
        return bias

    def positions(self, tokens: Sequence[int]) -> set[int]:
        """Indices of the tokens that are part of a complete keyword."""
        found: set[int] = set()
        for start in range(len(tokens)):
            node: Node | None = self.anywhere if start else self.at_start
            for index in range(start, len(tokens)):
                node = node.children.get(tokens[index]) if node else None
                if node is None:
                    break
                if node.ends:
                    found.update(range(start, index + 1))
        return found

    def walker(self) -> KeywordWalker:
        return KeywordWalker(self.at_start, self.anywhere, self.weight)


class KeywordWalker:
    """State of one text in the tree: the keywords that its last tokens have started."""

    def __init__(self, at_start: Node, anywhere: Node, weight: float) -> None:
        self._active: list[Node] = []
        self._root, self._anywhere, self._weight = at_start, anywhere, weight

    def advance(self, token: int) -> None:
        reached = [node.children[token] for node in [*self._active, self._root] if token in node.children]
        self._active = [node for node in reached if node.children]
        self._root = self._anywhere

    def bonus(self) -> dict[int, float]:
        """Bonus by token, for the tokens that continue a started keyword."""
        return {token: self._weight for node in self._active for token in node.children}


def prompt_tokens(keywords: Sequence[str], encoder: Encoder) -> list[int]:
    """Prompt with as many keywords as fit, as preceding text, since Whisper keeps its spelling."""
    tokens: list[int] = []
    for keyword in keywords:
        more = encoder.encode((", " if tokens else " ") + " ".join(keyword.split()))
        if len(tokens) + len(more) > PROMPT_TOKENS:
            break
        tokens += more
    return [*tokens, *encoder.encode(".")] if tokens else []
