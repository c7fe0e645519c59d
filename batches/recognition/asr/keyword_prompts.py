"""A file's keywords as what the decoder takes: a biased tree or a prompt, by language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whisper.tokenizer import Tokenizer

from batches.recognition import chinese_script
from batches.recognition.asr.keyword_retrieval import LONG_LIST, KeywordIndex
from batches.recognition.asr.keywords import KeywordTree, prompt_tokens
from batches.recognition.contracts import TimedWord
from batches.recognition.options import Options

_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue", "km"}  # languages that put no spaces between words


class Vocabulary(Protocol):
    """The model's tokenizers."""

    def tokenizer(self, language: str | None) -> Tokenizer: ...


def spelt_keywords(keywords: Sequence[str], language: str) -> Sequence[str]:
    """The keywords as the model may write them: Chinese in either script."""
    return chinese_script.both_scripts(keywords) if language == "zh" else keywords


class KeywordPrompts:
    """The keywords of one file. Those of a long list are used only where a text may have misspelt them."""

    def __init__(self, options: Options, vocabulary: Vocabulary, *, takes_bias: bool) -> None:
        self._options, self._vocabulary = options, vocabulary
        # A prompt of keywords beside the bias found one name more in eighty, cost a tenth of the time, and
        # raised the errors of everything else from 8 % to 10 %: it is for a runtime that takes no bias.
        self._biased = takes_bias and options.keyword_weight > 0
        self._is_long = len(options.keywords) > LONG_LIST
        self._trees: dict[str, KeywordTree] = {}
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._indexes: dict[str, KeywordIndex] = {}

    def tokenizer(self, language: str) -> Tokenizer:
        return self._vocabulary.tokenizer(language)

    def tree(self, language: str) -> KeywordTree | None:
        """The tree of a short list."""
        if not self._options.keywords or not self._biased or self._is_long:
            return None
        if language not in self._trees:
            self._trees[language] = self._tree_of(self._options.keywords, language)
        return self._trees[language]

    def prompt(self, language: str) -> tuple[int, ...]:
        """The prompt of a short list, where the decoder takes no bias."""
        if not self._options.keywords or self._biased or self._is_long:
            return ()
        if language not in self._prompts:
            self._prompts[language] = tuple(prompt_tokens(self._options.keywords, self.tokenizer(language)))
        return self._prompts[language]

    def retrieve(
        self, words: Sequence[TimedWord], language: str
    ) -> tuple[KeywordTree, tuple[int, ...]] | None:
        """Tree and prompt of those keywords of a long list that the words may be meant for; None if none."""
        if not self._is_long:
            return None
        if language not in self._indexes:
            self._indexes[language] = KeywordIndex(spelt_keywords(self._options.keywords, language))
        found = self._indexes[language].candidates(words)
        if not found:
            return None
        prompt = () if self._biased else tuple(prompt_tokens(found, self.tokenizer(language)))
        return self._tree_of(found, language), prompt

    def _tree_of(self, keywords: Sequence[str], language: str) -> KeywordTree:
        return KeywordTree(
            spelt_keywords(keywords, language),
            self.tokenizer(language),
            weight=self._options.keyword_weight if self._biased else 0.0,
            spaced=language not in _UNSPACED,
        )
