"""Keywords of one file, by language: what a text may have misspelt, a bias tree or a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from whisper.tokenizer import Tokenizer

from batches.recognition import chinese_script
from batches.recognition.asr.keyword_retrieval import LONG_LIST, KeywordIndex, Match
from batches.recognition.asr.keywords import KeywordTree, prompt_tokens
from batches.recognition.contracts import TimedWord
from batches.recognition.options import Options

_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue", "km"}  # languages without spaces between words


class Vocabulary(Protocol):
    """Interface of the model's tokenizers."""

    def tokenizer(self, language: str | None) -> Tokenizer: ...


def spelt_keywords(keywords: Sequence[str], language: str) -> Sequence[str]:
    """Keywords in all spellings that the model may produce: Chinese in both scripts."""
    return chinese_script.both_scripts(keywords) if language == "zh" else keywords


def spelt(words: Sequence[TimedWord], matches: Sequence[Match]) -> str:
    """Text of the words with those of each match, which must not overlap, written as its keyword."""
    pieces, done = [], 0
    for match in sorted(matches, key=lambda each: each.start):
        before = "".join(word.text for word in words[match.start : match.end])
        letters = [place for place, letter in enumerate(before) if letter.isalnum()] or [0, len(before)]
        keyword = " ".join(match.keyword.split()) + match.ending
        pieces += [word.text for word in words[done : match.start]]
        pieces.append(before[: letters[0]] + keyword + before[letters[-1] + 1 :])
        done = match.end
    return "".join([*pieces, *(word.text for word in words[done:])])


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Keywords to try on a text, as tree and prompt, and where it may have misspelt them."""

    matches: list[Match]
    keywords: list[str]
    tree: KeywordTree
    prompt: tuple[int, ...]


class KeywordPrompts:
    """Keywords of one file.

    With a decoder that ``scores`` texts, the first pass is made without keywords, except in languages whose
    script does not tell how a name sounds. Otherwise a short list is its bias or prompt, and a long one is
    left out of it.
    """

    def __init__(
        self, options: Options, vocabulary: Vocabulary, *, takes_bias: bool, scores: bool = False
    ) -> None:
        self._options, self._vocabulary = options, vocabulary
        # A keyword prompt in addition to the bias found one more name in eighty, took a tenth more time, and
        # raised all other errors from 8 % to 10 %: it is used only for a runtime without a bias.
        self._biased = takes_bias and options.keyword_weight > 0
        self._is_long = len(options.keywords) > LONG_LIST
        self._scores = scores
        self._trees: dict[str, KeywordTree] = {}
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._indexes: dict[str, KeywordIndex] = {}

    def tokenizer(self, language: str) -> Tokenizer:
        return self._vocabulary.tokenizer(language)

    def _retrieves(self, language: str) -> bool:
        return self._is_long or (self._scores and language not in _UNSPACED)

    def tree(self, language: str) -> KeywordTree | None:
        """Bias tree of the first pass, if it has one."""
        if not self._options.keywords or not self._biased or self._retrieves(language):
            return None
        return self._whole_tree(language)

    def _whole_tree(self, language: str) -> KeywordTree:
        if language not in self._trees:
            self._trees[language] = self._tree_of(self._options.keywords, language)
        return self._trees[language]

    def prompt(self, language: str) -> tuple[int, ...]:
        """Prompt of the first pass, if the decoder does not support a bias."""
        if not self._options.keywords or self._biased or self._retrieves(language):
            return ()
        if language not in self._prompts:
            self._prompts[language] = tuple(prompt_tokens(self._options.keywords, self.tokenizer(language)))
        return self._prompts[language]

    def retrieve(self, words: Sequence[TimedWord], language: str) -> Retrieved | None:
        """Keywords that the words may be misspellings of; None if there are none."""
        if not self._retrieves(language):
            return None
        if language not in self._indexes:
            self._indexes[language] = KeywordIndex(spelt_keywords(self._options.keywords, language))
        matches = self._indexes[language].matches(words)
        if not matches:
            return None
        found = list(dict.fromkeys(match.keyword for match in matches))
        prompt = () if self._biased else tuple(prompt_tokens(found, self.tokenizer(language)))
        return Retrieved(matches, found, self._tree_of(found, language), prompt)

    def short_list(self, language: str) -> Retrieved | None:
        """All keywords of a short list, for texts that may have misspelt them beyond recognition."""
        if not self._options.keywords or self._is_long or not self._biased or not self._retrieves(language):
            return None
        return Retrieved([], list(self._options.keywords), self._whole_tree(language), ())

    def _tree_of(self, keywords: Sequence[str], language: str) -> KeywordTree:
        return KeywordTree(
            spelt_keywords(keywords, language),
            self.tokenizer(language),
            weight=self._options.keyword_weight if self._biased else 0.0,
            spaced=language not in _UNSPACED,
        )
