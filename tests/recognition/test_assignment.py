"""Speaker assignment: words get speakers, and segments are split where the speaker changes."""

import copy
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.alignment.speaker_assignment import assign_speakers
from batches.recognition.transcript import Segment, SpeakerTurn, Transcript, Word


def words(*texts: str, start: int = 0, each: int = 400, gap: int = 100) -> list[Word]:
    return [
        Word(start + index * (each + gap), start + index * (each + gap) + each, text, 0.5 + 0.1 * (index % 5))
        for index, text in enumerate(texts)
    ]


def segment(*texts: str, start: int = 0, **fields: object) -> Segment:
    said = words(*texts, start=start)
    made = Segment(said[0].start, said[-1].end, "".join(texts).strip(), said)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def transcript(*segments: Segment) -> Transcript:
    end = max((one.end for one in segments), default=0)
    return Transcript("en", 1.0, end + 1000, list(segments))


def texts(result: Transcript) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in result.segments]


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    before = transcript(segment(" How", " are", " you?", " Fine,", " thanks."))
    result = assign_speakers(before, [SpeakerTurn(0, 1450, "1"), SpeakerTurn(1450, 2400, "2")])

    assert texts(result) == [("1", "How are you?"), ("2", "Fine, thanks.")]
    first, second = result.segments
    assert (first.start, first.end, second.start, second.end) == (0, 1400, 1500, 2400)
    assert result.speakers == ["1", "2"]
    assert result.turns == [SpeakerTurn(0, 1450, "1"), SpeakerTurn(1450, 2400, "2")]


def test_a_segment_of_one_speaker_keeps_its_text_and_times_to_the_letter() -> None:
    one = segment(" So", " it", " is.", text="So it  is.", start=500)
    one.start, one.end = 450, 2100
    result = assign_speakers(transcript(one), [SpeakerTurn(0, 5000, "1")])

    assert [(s.start, s.end, s.text, s.speaker) for s in result.segments] == [(450, 2100, "So it  is.", "1")]


def test_spaces_are_those_of_the_language() -> None:
    turns = [SpeakerTurn(0, 950, "1"), SpeakerTurn(950, 5000, "2")]
    korean = assign_speakers(transcript(segment(" 안녕", "하세요.", " 네,", " 반갑습니다.")), turns)
    assert texts(korean) == [("1", "안녕하세요."), ("2", "네, 반갑습니다.")]
    japanese = assign_speakers(transcript(segment("そう", "ですか。", "はい、", "そうです。")), turns)
    assert texts(japanese) == [("1", "そうですか。"), ("2", "はい、そうです。")]
    chinese = assign_speakers(transcript(segment("你", "好。", "你好", "吗？")), turns)
    assert texts(chinese) == [("1", "你好。"), ("2", "你好吗？")]


def test_parts_carry_the_quality_of_the_whole_and_a_confidence_of_their_own() -> None:
    whole = segment(
        *(" a", " b", " c", " d"),
        mean_logprob=-0.3,
        no_speech_probability=0.1,
        compression_ratio=1.4,
        flags=["low_confidence"],
        confidence=0.99,
    )
    result = assign_speakers(transcript(whole), [SpeakerTurn(0, 950, "1"), SpeakerTurn(950, 5000, "2")])

    assert [round(part.confidence, 3) for part in result.segments] == [0.55, 0.75]
    for part in result.segments:
        assert (part.mean_logprob, part.no_speech_probability, part.compression_ratio) == (-0.3, 0.1, 1.4)
        assert part.flags == ["low_confidence"]
    assert result.segments[0].flags is not result.segments[1].flags


def test_a_word_in_silence_goes_to_the_nearest_turn() -> None:
    turns = [SpeakerTurn(0, 1000, "1"), SpeakerTurn(9000, 9900, "2")]
    near_first = Segment(1800, 2000, "one", [Word(1800, 2000, " one")])
    near_second = Segment(8000, 8000, "two", [Word(8000, 8000, " two")])
    result = assign_speakers(transcript(near_first, near_second), turns)
    assert texts(result) == [("1", "one"), ("2", "two")]


def test_an_interjection_of_somebody_else_stays_theirs() -> None:
    # "right" is said while the first speaker pauses: nobody but the second is heard.
    said = segment(" I", " think", " right", " that", " works.")
    turns = [SpeakerTurn(0, 950, "1"), SpeakerTurn(980, 1420, "2"), SpeakerTurn(1480, 2500, "1")]
    assert texts(assign_speakers(transcript(said), turns)) == [
        ("1", "I think"),
        ("2", "right"),
        ("1", "that works."),
    ]


def test_one_word_in_a_flow_goes_back_to_a_speaker_who_never_stopped() -> None:
    # The second speaker covers the word better, but the first is heard in half of it as well.
    said = segment(" I", " think", " right", " that", " works.")
    turns = [SpeakerTurn(0, 1200, "1"), SpeakerTurn(1000, 1400, "2"), SpeakerTurn(1450, 2500, "1")]
    assert texts(assign_speakers(transcript(said), turns)) == [("1", "I think right that works.")]


def test_two_heard_equally_long_do_not_cut_a_sentence() -> None:
    said = segment(" we", " both", " talk", " now", " here")
    turns = [SpeakerTurn(0, 5000, "1"), SpeakerTurn(900, 5000, "2")]
    assert texts(assign_speakers(transcript(said), turns)) == [("1", "we both talk now here")]
    # At the beginning of a segment, what follows decides.
    turns = [SpeakerTurn(0, 950, "1"), SpeakerTurn(0, 5000, "2")]
    assert texts(assign_speakers(transcript(said), turns)) == [("2", "we both talk now here")]


def test_a_segment_without_words_gets_a_speaker_too() -> None:
    result = assign_speakers(
        transcript(Segment(0, 3000, "No word times here.")),
        [SpeakerTurn(0, 1000, "1"), SpeakerTurn(1000, 3000, "2")],
    )
    assert texts(result) == [("2", "No word times here.")]


def test_speakers_are_listed_as_they_appear_and_silent_ones_are_not() -> None:
    turns = [SpeakerTurn(0, 100, "1"), SpeakerTurn(1000, 2000, "2"), SpeakerTurn(2000, 3000, "3")]
    result = assign_speakers(transcript(segment(" a", start=2100), segment(" b", start=1100)), turns)
    assert result.speakers == ["3", "2"]


def test_without_turns_nobody_is_named() -> None:
    before = transcript(segment(" a", " b"))
    result = assign_speakers(before, [])
    assert (texts(result), result.speakers, result.turns) == ([("", "a b")], [], [])


TIMES = st.integers(0, 20_000)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    moments = sorted(draw(st.lists(TIMES, min_size=0, max_size=60)))
    spoken = [
        Word(start, end, draw(st.sampled_from([" yes", " no,", "하", "。", " it's", "は"])))
        for start, end in pairwise(moments)
    ]
    segments = []
    while spoken:
        size = draw(st.integers(1, len(spoken)))
        part, spoken = spoken[:size], spoken[size:]
        text = "".join(word.text for word in part).strip()
        segments.append(Segment(part[0].start, part[-1].end, text, part))
    return Transcript("en", 1.0, 20_000, segments)


@st.composite
def speaker_turns(draw: st.DrawFn) -> list[SpeakerTurn]:
    spans = draw(st.lists(st.tuples(TIMES, st.integers(1, 4_000), st.sampled_from("1234")), max_size=20))
    return [SpeakerTurn(start, start + length, speaker) for start, length, speaker in sorted(spans)]


def is_crossed(turn: SpeakerTurn, other: SpeakerTurn) -> bool:
    return other.speaker != turn.speaker and other.start < turn.end and turn.start < other.end


@given(transcripts(), speaker_turns())
def test_no_word_is_lost_moved_or_left_between_speakers(before: Transcript, turns: list[SpeakerTurn]) -> None:
    untouched = copy.deepcopy(before)
    result = assign_speakers(before, turns)

    assert before == untouched
    said = [word for one in before.segments for word in one.words]
    kept = [word for one in result.segments for word in one.words]
    assert [(w.start, w.end, w.text, w.probability) for w in said] == [
        (w.start, w.end, w.text, w.probability) for w in kept
    ]
    for one in result.segments:
        assert {word.speaker for word in one.words} == {one.speaker}
        assert one.start <= one.words[0].start
        assert one.end >= one.words[-1].end
        assert one.text == "".join(word.text for word in one.words).strip()
    if turns:
        assert set(result.speakers) == {one.speaker for one in result.segments}
        assert set(result.speakers) <= {turn.speaker for turn in turns}
        alone = [
            t for t in turns if len({u.speaker for u in turns if u.start < t.end and t.start < u.end}) == 1
        ]
        for one in result.segments:
            for word in one.words:
                inside = [t for t in alone if t.start <= word.start < word.end <= t.end]
                assert not inside or word.speaker == inside[0].speaker
