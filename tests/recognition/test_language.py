"""Language detection: sampled over the whole file, and restricted to the expected languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition import languages
from batches.recognition.asr.language_detection import ASKED_CHUNKS, Detection, combine, spread
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from tests.recognition.recognise import recognise
from tests.sample_speech import sample_folder

KOREAN, ENGLISH = {"ko": 0.9, "en": 0.1}, {"ko": 0.05, "en": 0.95}


def test_the_whole_file_counts_and_not_its_beginning() -> None:
    """Thirty seconds of Korean greetings before ten minutes of English are an English file."""
    answers = [KOREAN, *[ENGLISH] * 7]
    assert combine(answers, [15.0] * 8).best() == "en"


def test_chunks_count_by_their_speech() -> None:
    assert combine([KOREAN, ENGLISH, ENGLISH], [15.0, 1.0, 1.0]).best() == "ko"


@given(st.lists(st.floats(0.1, 15), max_size=200), st.integers(1, 20))
def test_chunks_are_asked_from_all_parts_of_the_file(lengths: list[float], count: int) -> None:
    asked = spread(lengths, count)
    assert len(asked) == min(count, len(lengths))
    assert asked == sorted(set(asked))
    for part, index in enumerate(asked):
        start, end = (round(edge * len(lengths) / len(asked)) for edge in (part, part + 1))
        assert start <= index < end
        assert lengths[index] == max(lengths[start:end])


def test_no_more_chunks_are_asked_than_that() -> None:
    assert len(spread([15.0] * 1000)) == ASKED_CHUNKS


@pytest.mark.parametrize(
    ("expected", "contradicted"),
    [(("ko",), True), (("en",), False), (("ko", "en"), False), ((), False), (("ja", "zh"), True)],
)
def test_a_file_clearly_in_another_language_contradicts(
    expected: tuple[str, ...], contradicted: bool
) -> None:
    assert Detection({"en": 0.97, "ko": 0.02, "ja": 0.005, "zh": 0.005}).contradicts(expected) is contradicted


def test_a_doubtful_file_contradicts_nothing() -> None:
    assert not Detection({"en": 0.6, "ko": 0.04, "ja": 0.36}).contradicts(("ko",))
    assert not Detection({"en": 0.85, "ko": 0.15}).contradicts(("ko",))


def test_korean_mixed_with_english_is_one_of_the_two(engine: Engine) -> None:
    assert Detection({"ja": 0.6, "en": 0.3, "ko": 0.1}).best(languages.candidates("enko")) == "en"
    transcript = recognise(engine, sample_folder() / "sample.wav", Options(language="enko"))
    assert transcript.language == "en"
    assert "Chicago" in transcript.text
    assert transcript.flags == []


@pytest.mark.parametrize("code", languages.codes())
def test_every_language_that_may_be_asked_for_is_one_of_whispers(code: str) -> None:
    assert all(each in languages.WHISPER for each in languages.candidates(code.upper()))


@pytest.mark.parametrize("code", ["", "klingon", "e", "xx-YY"])
def test_other_languages_are_refused(code: str) -> None:
    with pytest.raises(languages.UnknownLanguageError):
        Options(language=code)
