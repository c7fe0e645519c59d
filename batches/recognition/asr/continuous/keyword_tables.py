"""Keyword boosting on the device: the keyword trees of all rows as one deterministic automaton in tensors.

:class:`batches.recognition.asr.keywords.KeywordWalker` holds the set of keywords that a text's last tokens
have begun. Each such set is one state here (the subset construction), so following a row's text is a table
lookup: state and token to the next state, and state to the tokens that get a bonus.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from batches.recognition.asr.keywords import KeywordTree, Node

_NO_KEY = torch.iinfo(torch.long).max


@dataclass(slots=True, eq=False)
class KeywordAutomaton:
    """One keyword tree, determinised on the host.

    States are numbered from 0, "no keyword begun"; :attr:`start` is that state at the start of a text.
    """

    tree: KeywordTree
    start: int = 1
    transitions: list[dict[int, int]] = field(default_factory=list)  # by state: token to next state
    bonus: list[dict[int, float]] = field(default_factory=list)  # by state: token to bonus

    @staticmethod
    def compile(tree: KeywordTree) -> KeywordAutomaton:
        """Follow every token from both roots; tokens without a transition behave as in state 0."""
        automaton = KeywordAutomaton(tree)
        found: dict[frozenset[int], int] = {}
        pending: list[tuple[int, tuple[Node, ...], Node]] = []

        def add(active: tuple[Node, ...], root: Node) -> int:
            automaton.transitions.append({})
            automaton.bonus.append({token: tree.weight for node in active for token in node.children})
            pending.append((len(automaton.transitions) - 1, active, root))
            return pending[-1][0]

        found[frozenset()] = add((), tree.anywhere)
        automaton.start = add((), tree.at_start)
        while pending:
            state, active, root = pending.pop()
            # Elsewhere the root's own tokens lead where they lead from state 0.
            tokens = {token for node in active or (root,) for token in node.children}
            for token in sorted(tokens):
                reached = [node.children[token] for node in (*active, root) if token in node.children]
                begun = tuple(node for node in reached if node.children)
                key = frozenset(map(id, begun))
                if key not in found:
                    found[key] = add(begun, tree.anywhere)
                automaton.transitions[state][token] = found[key]
        return automaton


class KeywordTables:
    """The automata in use, in tensors of fixed size. State 0 is that of rows without keywords.

    ``bias`` is (bias rows, padded vocabulary): what the tokens that begin a keyword get at the start of a
    text (even rows) and later (odd rows); the first two rows are zero. ``bonus_tokens`` and ``bonus`` are
    (states, widest): the tokens that go on with a begun keyword. All sizes are powers of two, so that most
    changes of the keywords fit, and captured graphs outlive them.
    """

    def __init__(self, width: int, text_tokens: int, device: torch.device) -> None:
        self._width, self._text_tokens, self._device = width, text_tokens, device
        self.version = 0  # changes when the tensors are other ones
        self._clear()
        self._allocate(transitions=1024, states=512, widest=8, bias_rows=8)

    def _clear(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}  # by digest: start state and first bias row
        self._automata: list[KeywordAutomaton] = []
        self._transitions, self._states, self._bias_rows = 0, 1, 2

    def _allocate(self, *, transitions: int, states: int, widest: int, bias_rows: int) -> None:
        device = self._device
        self._keys = torch.full((transitions,), _NO_KEY, device=device)  # state * width + token, ascending
        self._next = torch.zeros(transitions, dtype=torch.long, device=device)
        self._base = torch.zeros(states, dtype=torch.long, device=device)  # state 0 of each state's tree
        self.bonus_tokens = torch.zeros(states, widest, dtype=torch.long, device=device)
        self.bonus = torch.zeros(states, widest, device=device)
        self.bias = torch.zeros(bias_rows, self._width, device=device)
        self.version += 1

    def place(self, automaton: KeywordAutomaton) -> tuple[int, int]:
        """Start state and first bias row of an automaton, which is added if it is not there."""
        known = self._places.get(automaton.tree.digest)
        return known if known is not None else self._add(automaton)

    def retain(self, digests: Iterable[str]) -> None:
        """Forget all automata if none of these is among them, so that the tables do not only grow."""
        if self._places and not any(digest in self._places for digest in digests):
            self._clear()

    def _add(self, automaton: KeywordAutomaton) -> tuple[int, int]:
        transitions = sum(map(len, automaton.transitions))
        widest = max(map(len, automaton.bonus))
        wanted = (
            self._transitions + transitions + 1,
            self._states + len(automaton.transitions),
            widest,
            self._bias_rows + 2,
        )
        sizes = (len(self._keys), *self.bonus.shape, len(self.bias))
        if any(size < want for size, want in zip(sizes, wanted, strict=True)):
            grown = [max(size, _power_of_two(want)) for size, want in zip(sizes, wanted, strict=True)]
            self._allocate(transitions=grown[0], states=grown[1], widest=grown[2], bias_rows=grown[3])
            automata = self._automata
            self._clear()
            for known in automata:
                self._write(known)
        return self._write(automaton)

    def _write(self, automaton: KeywordAutomaton) -> tuple[int, int]:
        first, bias_row = self._states, self._bias_rows
        states = len(automaton.transitions)
        edges = [
            ((first + state) * self._width + token, first + reached)
            for state, row in enumerate(automaton.transitions)
            for token, reached in sorted(row.items())
        ]
        at = slice(self._transitions, self._transitions + len(edges))
        if edges:
            keys, reached = torch.tensor(edges).unbind(dim=1)
            self._keys[at], self._next[at] = keys.to(self._device), reached.to(self._device)
        self._keys[at.stop :] = _NO_KEY
        rows = slice(first, first + states)
        widest = self.bonus.shape[1]
        tokens, bonus = torch.zeros(states, widest, dtype=torch.long), torch.zeros(states, widest)
        for state, row in enumerate(automaton.bonus):
            tokens[state, : len(row)] = torch.tensor(list(row), dtype=torch.long)
            bonus[state, : len(row)] = torch.tensor(list(row.values()))
        self.bonus_tokens[rows], self.bonus[rows] = tokens.to(self._device), bonus.to(self._device)
        self._base[rows] = first
        for offset, at_start in enumerate((True, False)):
            start_bias = automaton.tree.start_bias(self._text_tokens, at_start=at_start)
            self.bias[bias_row + offset, : self._text_tokens] = start_bias.to(self._device)
        self._transitions, self._states, self._bias_rows = at.stop, rows.stop, bias_row + 2
        self._automata.append(automaton)
        self._places[automaton.tree.digest] = (first + automaton.start, bias_row)
        return self._places[automaton.tree.digest]

    def advance(self, state: Tensor, token: Tensor) -> Tensor:
        """(rows,) next states: the state's own transition, else that of its tree's state 0, else state 0."""
        base = self._base[state]
        own, fallback = self._find(state, token), self._find(base, token)
        return torch.where(own >= 0, own, torch.where(fallback >= 0, fallback, base))

    def _find(self, state: Tensor, token: Tensor) -> Tensor:
        key = state * self._width + token
        at = torch.searchsorted(self._keys, key).clamp(max=len(self._keys) - 1)
        return torch.where(self._keys[at] == key, self._next[at], -1)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
