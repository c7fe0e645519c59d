"""Cues: readable, in order, and overlapping only where speakers do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from batches.formats import Context, cues
from batches.formats.characters import columns, one_line
from batches.recognition.transcript import Segment, Transcript, Word
from tests.formats.samples import any_text, interview, korean, said, silence, transcripts


def built(*segments: Segment, context: Context | None = None) -> list[cues.Cue]:
    return cues.build_cues(Transcript("en", 1.0, 60_000, list(segments)), context or Context())


def letters(text: str) -> str:
    return "".join(text.split())


def test_a_short_sentence_is_one_cue_at_its_own_time() -> None:
    assert built(said(1000, "This is a test.")) == [cues.Cue(1000, 2550, ("This is a test.",))]


def test_a_long_sentence_is_cut_after_a_clause() -> None:
    text = (
        "When the last train had left the station, nobody was there to close the doors behind the two of us."
    )
    lines = [cue.lines for cue in built(said(0, text, step=300))]
    assert lines == [
        ("When the last train had left the station,",),
        ("nobody was there to close the", "doors behind the two of us."),
    ]


def test_a_pause_inside_a_segment_ends_the_cue() -> None:
    words = [Word(0, 500, " One"), Word(600, 900, " two"), Word(4000, 4500, " three")]
    found = built(Segment(0, 4500, "One two three", words))
    assert [(cue.start, cue.lines) for cue in found] == [(0, ("One two",)), (4000, ("three",))]
    assert found[0].end <= 2000


def test_a_cue_stays_long_enough_to_be_read() -> None:
    found = built(Segment(1000, 1100, "Yes.", [Word(1000, 1100, " Yes.")]), said(5000, "Good."))
    assert found[0].end - found[0].start == cues.READABLE_MS


def test_a_cue_gives_way_to_the_next_but_not_below_the_least() -> None:
    found = built(
        Segment(1000, 1100, "Yes.", [Word(1000, 1100, " Yes.", speaker="1")], speaker="1"),
        said(1200, "I do not think so.", speaker="2"),
    )
    assert [(cue.start, cue.end) for cue in found] == [(1000, 1500), (1500, 3150)]


def test_people_who_speak_at_once_are_shown_together() -> None:
    found = built(
        said(0, "I was about to say that it is late.", speaker="1"), said(1500, "Really?", speaker="2")
    )
    assert [cue.speaker for cue in found] == ["1", "2"]
    assert found[0].end > found[1].end > found[1].start == 1500
    assert [(start, end, len(shown)) for start, end, shown in cues.screens(found)] == [
        (0, 1500, 1),
        (1500, found[1].end, 2),
        (found[1].end, found[0].end, 1),
    ]


def test_neighbouring_short_sentences_of_a_speaker_share_a_cue() -> None:
    found = built(said(0, "Yes.", speaker="1"), said(420, "Of course.", speaker="1"))
    assert [cue.lines for cue in found] == [("Yes. Of course.",)]


def test_the_first_cue_of_a_turn_opens_it() -> None:
    found = cues.build_cues(interview(), Context())
    assert [(cue.speaker, cue.opens_turn) for cue in found] == [("1", True), ("2", True), ("1", True)]


def test_korean_lines_hold_some_twenty_characters() -> None:
    text = "오늘 회의에서는 지난 분기의 실적과 앞으로의 계획에 대해서 자세하게 이야기를 나누어 보려고 합니다."
    for cue in built(said(0, text, step=450)):
        assert len(cue.lines) <= 2
        assert all(columns(line) <= cues.LINE_COLUMNS for line in cue.lines)


def test_japanese_is_cut_between_words_and_never_before_a_full_stop() -> None:
    text = "今日は朝からとても良い天気なので、みんなで近くの公園まで歩いて行くことにしました。" * 3
    found = built(said(0, text, step=150, spaced=False))
    lines = [line for cue in found for line in cue.lines]
    assert "".join(lines) == text
    assert len(lines) > 3
    assert not [line for line in lines if line[0] in "、。っょ"]


def test_without_word_times_text_is_spread_over_the_segment() -> None:
    text = " ".join(["word"] * 60)
    found = built(Segment(10_000, 40_000, text))
    assert found[0].start == 10_000
    assert found[-1].end == 40_000
    assert all(cue.end - cue.start <= cues.LONGEST_MS for cue in found)
    starts = [cue.start for cue in found]
    assert starts == sorted(set(starts))


def test_a_correction_keeps_the_times_of_the_words_that_stay() -> None:
    words = [Word(0, 400, " Meet"), Word(500, 900, " Jon"), Word(8000, 8400, " tomorrow")]
    segment = Segment(0, 8400, "Meet Jon tomorrow", words)
    found = built(segment, context=Context(edited_texts={0: "Meet John Smith tomorrow"}))
    assert [(cue.start, cue.lines) for cue in found] == [(0, ("Meet John Smith",)), (8000, ("tomorrow",))]


def test_a_segment_corrected_to_nothing_has_no_cue() -> None:
    assert (
        built(said(0, "Mm."), said(5000, "Hello."), context=Context(edited_texts={0: " "}))[0].start == 5000
    )


def test_silence_has_no_cue() -> None:
    assert cues.build_cues(silence(), Context()) == []


def test_an_address_without_spaces_is_cut_rather_than_left_too_wide() -> None:
    found = built(said(0, "https://example.org/" + "a" * 200, step=9000))
    assert len(found) > 1
    assert all(columns(line) <= cues.LINE_COLUMNS for cue in found for line in cue.lines)


def test_an_emoji_of_several_characters_is_never_cut() -> None:
    family = "👩\u200d👩\u200d👧"
    lines = [line for cue in built(said(0, family * 60)) for line in cue.lines]
    assert len(lines) > 1
    assert all(line.replace(family, "") == "" for line in lines)


def test_korean_example() -> None:
    assert cues.build_cues(korean(), Context()) == [
        cues.Cue(1000, 2150, ("안녕하세요. 반갑습니다.",)),
        cues.Cue(5000, 5950, ("네, 시작하겠습니다.",)),
    ]


@given(transcripts(), st.dictionaries(st.integers(0, 5), any_text, max_size=2))
def test_all_text_is_there_in_order_and_times_go_forward(
    transcript: Transcript, edited: dict[int, str]
) -> None:
    context = Context(edited_texts=edited)
    found = cues.build_cues(transcript, context)
    shown = Counter(letters(line) for cue in found for line in cue.lines)
    texts = [context.text_of(at, segment.text) for at, segment in enumerate(transcript.segments)]
    assert Counter("".join(shown.elements())) == Counter("".join(letters(one_line(text)) for text in texts))
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    ends: dict[str, int] = {}
    for cue in found:
        assert ends.get(cue.speaker, 0) <= cue.start
        assert cues.SHORTEST_MS <= cue.end - cue.start <= cues.LONGEST_MS
        assert 1 <= len(cue.lines) <= 2
        assert all(line and line == line.strip() for line in cue.lines)
        ends[cue.speaker] = cue.end
