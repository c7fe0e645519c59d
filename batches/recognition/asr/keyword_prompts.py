"""Keyword input of the decoder, by language: a bias tree or a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from whisper.tokenizer import Tokenizer

from batches.recognition import chinese_script
from batches.recognition.asr.keyword_retrieval import LONG_LIST, KeywordIndex
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


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Retrieved keywords, possibly misspelt in a text, as tree and prompt."""

    keywords: list[str]
    tree: KeywordTree
    prompt: tuple[int, ...]


class KeywordPrompts:
    """Keywords of one file. Those of a long list are used only where a text may have misspelt them."""

    def __init__(self, options: Options, vocabulary: Vocabulary, *, takes_bias: bool) -> None:
        self._options, self._vocabulary = options, vocabulary
        # A keyword prompt in addition to the bias found one more name in eighty, took a tenth more time, and
        # raised all other errors from 8 % to 10 %: it is used only for a runtime without a bias.
        self._biased = takes_bias and options.keyword_weight > 0
        self._is_long = len(options.keywords) > LONG_LIST
        self._trees: dict[str, KeywordTree] = {}
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._indexes: dict[str, KeywordIndex] = {}

    def tokenizer(self, language: str) -> Tokenizer:
        return self._vocabulary.tokenizer(language)

    def tree(self, language: str) -> KeywordTree | None:
        """Bias tree of a short list; none for a long one."""
        if not self._options.keywords or not self._biased or self._is_long:
            return None
        if language not in self._trees:
            self._trees[language] = self._tree_of(self._options.keywords, language)
        return self._trees[language]

    def prompt(self, language: str) -> tuple[int, ...]:
        """Prompt of a short list, if the decoder does not support a bias."""
        if not self._options.keywords or self._biased or self._is_long:
            return ()
        if language not in self._prompts:
            self._prompts[language] = tuple(prompt_tokens(self._options.keywords, self.tokenizer(language)))
        return self._prompts[language]

    def retrieve(self, words: Sequence[TimedWord], language: str) -> Retrieved | None:
        """Keywords of a long list that the words may be misspellings of; None if there are none."""
        if not self._is_long:
            return None
        if language not in self._indexes:
            self._indexes[language] = KeywordIndex(spelt_keywords(self._options.keywords, language))
        found = self._indexes[language].candidates(words)
        if not found:
            return None
        prompt = () if self._biased else tuple(prompt_tokens(found, self.tokenizer(language)))
        return Retrieved(found, self._tree_of(found, language), prompt)

    def _tree_of(self, keywords: Sequence[str], language: str) -> KeywordTree:
        return KeywordTree(
            spelt_keywords(keywords, language),
            self.tokenizer(language),
            weight=self._options.keyword_weight if self._biased else 0.0,
            spaced=language not in _UNSPACED,
        )
