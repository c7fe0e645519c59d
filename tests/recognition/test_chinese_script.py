"""Chinese is written in the requested script, whichever one the model outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition import chinese_script
from batches.recognition.asr.keyword_prompts import spelt_keywords
from batches.recognition.asr.keywords import KeywordTree
from batches.recognition.contracts import (
    OnChunk,
    Progress,
    RecognisedChunk,
    RecognisedFile,
    SpeechChunk,
    TimedWord,
)
from batches.recognition.options import Options
from batches.recognition.runtime.segment_builder import AudioTrack
from batches.recognition.runtime.transcription import transcribe


class FixedWords:
    """Writes the same words for any sound, as a model does that keeps to one script."""

    name, model = "openai-whisper", "base"

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        words = [TimedWord(text, 0.2 * at, 0.2 * at + 0.1, 0.9) for at, text in enumerate(self._texts)]
        return RecognisedFile([RecognisedChunk(words, "zh")], "zh", 1.0)

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def written(language: str, *texts: str) -> tuple[str, list[str]]:
    track = AudioTrack(np.zeros(32_000, dtype=np.float32), [(0.0, 2.0)])
    transcript = transcribe(FixedWords(*texts), [track], Options(language=language), lambda _share: None)
    return transcript.text, [word.text for segment in transcript.segments for word in segment.words]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("zh-cn", "这里是台湾头发干燥", ["这里", "是", "台湾", "头发", "干燥"]),
        ("zh-tw", "這裡是臺灣頭髮乾燥", ["這裡", "是", "臺灣", "頭髮", "乾燥"]),
        ("zh", "這裡是台灣头发干燥", ["這裡", "是", "台灣", "头发", "干燥"]),
    ],
)
def test_text_and_words_are_in_the_script_that_was_asked_for(
    language: str, text: str, words: list[str]
) -> None:
    assert written(language, "這裡", "是", "台灣", "头发", "干燥") == (text, words)


def test_phrases_are_seen_across_words() -> None:
    assert written("zh-tw", "皇", "后", "后", "来")[0] == "皇后後來"


def test_keywords_of_chinese_are_boosted_in_both_scripts() -> None:
    class Letters:
        def encode(self, text: str) -> list[int]:
            return [ord(letter) for letter in text]

    keywords = spelt_keywords(["台灣軟體", "Naver"], "zh")
    tree = KeywordTree(keywords, Letters(), weight=4.0, spaced=False)
    for text in ("台灣軟體", "台湾软体"):
        assert tree.positions([ord(letter) for letter in text]) == set(range(4))
    assert spelt_keywords(["台灣"], "ja") == ["台灣"]


@given(st.text())
def test_folding_keeps_the_length(text: str) -> None:
    assert len(chinese_script.simplified(text)) == len(text)


def test_folding_makes_both_spellings_one() -> None:
    assert chinese_script.simplified("訂單號碼") == chinese_script.simplified("订单号码") == "订单号码"
