"""Quality checks: signs of hallucinated or looping text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.asr.quality import compression_ratio, loop_start, says_twice


@pytest.mark.parametrize(
    "text",
    [
        "I never said that to you. I never said that to you.",
        "so I think we should go there now, so I think we should go there now",
        "지금까지 시청해 주셔서 정말로 감사합니다 여러분 지금까지 시청해 주셔서 정말로 감사합니다 여러분",
        "智能语言交互技术正在产业智能语言交互技术正在产业",
    ],
)
def test_a_text_that_says_something_twice_in_a_row_is_noticed(text: str) -> None:
    assert says_twice(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No, no, no. Hello? Hello? Oh, hello.",
        "I'm originally from Chicago. Oh, I'm originally from Chicago also.",
        "one two three four five six seven eight nine ten eleven twelve",
    ],
)
def test_what_people_do_repeat_is_not(text: str) -> None:
    assert not says_twice(text)


def test_a_loop_is_found_where_its_second_turn_starts() -> None:
    assert loop_start([5, 6, 7] + [1, 2, 3] * 8) == 6
    assert loop_start([9] * 24) == 1
    assert loop_start([1, 2, 3] * 3) is None


@given(st.lists(st.integers(0, 50_000), unique=True, max_size=60))
def test_tokens_that_never_come_again_are_no_loop(tokens: list[int]) -> None:
    assert loop_start(tokens) is None


def test_repetition_compresses() -> None:
    assert compression_ratio("and so on " * 30) > 2.4
    assert compression_ratio("") == 1.0
