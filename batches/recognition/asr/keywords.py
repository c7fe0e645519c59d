"""Keyword boosting: a bias on the next token for words that the account wants to see.

The keywords' tokens form a prefix tree. At each step of decoding, the tokens that may start a keyword get
a small bonus and those that go on with one that has begun get the full one, in the manner of shallow
fusion with a contextual bias (e.g. Zhao et al., "Shallow-Fusion End-to-End Contextual Biasing", 2019).
The bonus is added to the logits, so a keyword wins only where the sound already makes it nearly as likely
as what the model would have written.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

START_SHARE = 0.5  # of the weight goes to a keyword's first token
FULL_STARTS = 50  # first tokens that get all of that share; more of them get less each
PROMPT_TOKENS = 96  # at most that many tokens of keywords go into the prompt


class Encoder(Protocol):
    def encode(self, text: str) -> list[int]: ...


@dataclass(slots=True)
class Node:
    """A node of the prefix tree: tokens that go on with a keyword."""

    children: dict[int, Node] = field(default_factory=dict)
    ends: bool = False  # whether a keyword ends here


def spellings(keyword: str, *, spaced: bool) -> list[tuple[str, bool]]:
    """How a keyword may appear: (text, only at the start of the text).

    In languages that put spaces between words, the form without a space would turn up inside other words.
    """
    word = " ".join(keyword.split())
    forms = dict.fromkeys([word, word[:1].upper() + word[1:]])
    with_space = [(" " + form, False) for form in forms]
    return with_space + [(form, spaced) for form in forms]


class KeywordTree:
    """The prefix trees of a list of keywords, for one tokenizer.

    ``at_start`` is the root at the start of a text, ``anywhere`` the root later in it, which begins no
    keyword that the other does not. Trees with the same ``digest`` are equal.
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

        Where many tokens may start one, each gets less, by the logarithm of how many there are, so that a
        long list makes it no likelier that any keyword starts.
        """
        bias = torch.zeros(size)
        root = self.at_start if at_start else self.anywhere
        starts = [token for token in root.children if token < size]
        less = math.log(max(1.0, len(starts) / FULL_STARTS))
        bias[starts] = max(0.0, self.weight * START_SHARE - less)
        return bias

    def positions(self, tokens: Sequence[int]) -> set[int]:
        """Indices of the tokens that spell a whole keyword."""
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
    """Where one text stands in the tree: the keywords that its last tokens have begun."""

    def __init__(self, at_start: Node, anywhere: Node, weight: float) -> None:
        self._active: list[Node] = []
        self._root, self._anywhere, self._weight = at_start, anywhere, weight

    def advance(self, token: int) -> None:
        reached = [node.children[token] for node in [*self._active, self._root] if token in node.children]
        self._active = [node for node in reached if node.children]
        self._root = self._anywhere

    def bonus(self) -> dict[int, float]:
        """Bonus by token, for the tokens that go on with a keyword that has begun."""
        return {token: self._weight for node in self._active for token in node.children}


def prompt_tokens(keywords: Sequence[str], encoder: Encoder) -> list[int]:
    """As many keywords as fit, as a text that could have come before: Whisper keeps to its spelling."""
    tokens: list[int] = []
    for keyword in keywords:
        more = encoder.encode((", " if tokens else " ") + " ".join(keyword.split()))
        if len(tokens) + len(more) > PROMPT_TOKENS:
            break
        tokens += more
    return [*tokens, *encoder.encode(".")] if tokens else []
