"""Hallucinated closing phrases are removed; spoken ones are kept."""

from __future__ import annotations

import pytest

from batches.recognition.asr.phantom_text import is_phantom, without_closing
from batches.recognition.contracts import TimedWord


@pytest.mark.parametrize(
    "text",
    [
        "you",
        "Thank you for watching!",
        "시청해주셔서 감사합니다.",
        "ご視聴ありがとうございました",
        "谢谢观看",
        "you you you",
    ],
)
def test_a_phrase_is_a_phantom_only_where_the_model_is_not_sure(text: str) -> None:
    assert is_phantom(text, mean_logprob=-0.3, no_speech_probability=0.5)
    assert is_phantom(text, mean_logprob=-0.8, no_speech_probability=0.05)
    assert not is_phantom(text, mean_logprob=-0.2, no_speech_probability=0.05)


@pytest.mark.parametrize("text", ["4-5", "-5-5-5-5-5-5", "..."])
def test_figures_without_a_word_are_a_phantom_where_there_is_twice_the_doubt(text: str) -> None:
    assert is_phantom(text, mean_logprob=-0.69, no_speech_probability=0.46)
    assert not is_phantom(text, mean_logprob=-0.3, no_speech_probability=0.46)
    assert not is_phantom(text, mean_logprob=-0.69, no_speech_probability=0.1)
    assert not is_phantom("010-1234-5678", mean_logprob=-0.69, no_speech_probability=0.46)


def test_one_sound_again_and_again_is_a_phantom() -> None:
    assert is_phantom("팽팽팽팽팽팽팽팽팽팽팽", mean_logprob=-0.48, no_speech_probability=0.76)
    assert not is_phantom("팽팽팽팽팽팽팽팽팽팽팽", mean_logprob=-0.2, no_speech_probability=0.1)
    assert not is_phantom("네, 네, 네.", mean_logprob=-0.6, no_speech_probability=0.3)


@pytest.mark.parametrize("text", ["Thank you for calling.", "you know", "", "감사합니다만 괜찮습니다"])
def test_other_text_is_no_phantom(text: str) -> None:
    assert not is_phantom(text, mean_logprob=-0.9, no_speech_probability=0.9)


def words(*texts: str) -> list[TimedWord]:
    return [TimedWord(text, float(at), at + 0.9, 0.9) for at, text in enumerate(texts)]


def test_a_closing_phrase_after_the_speech_is_cut_off() -> None:
    said = words(" That", " is", " all.", " Thanks", " for", " watching!")
    assert [word.text for word in without_closing(said, [(0.0, 3.0)])] == [" That", " is", " all."]
    assert without_closing(said, [(0.0, 6.0)]) == said
    assert without_closing(said[:3], [(0.0, 0.5)]) == said[:3]
    assert without_closing([], []) == []
