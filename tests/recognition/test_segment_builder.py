"""Early segments are equal to the first segments of the complete transcript."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import make_chunks
from batches.recognition.contracts import OnChunk, RecognisedChunk, TimedWord
from batches.recognition.media.decoding import SAMPLE_RATE
from batches.recognition.options import Options
from batches.recognition.runtime.segment_builder import AudioTrack, SegmentBuilder, TrackChunk
from batches.recognition.transcript import Segment

SECONDS = 120


def speech(chance: random.Random) -> list[Region]:
    regions: list[Region] = []
    at = chance.uniform(0, 3)
    while (end := at + chance.uniform(0.4, 18)) < SECONDS:
        regions.append((at, end))
        at = end + chance.uniform(0.2, 4)
    return regions


def words(chance: random.Random, seconds: float) -> list[TimedWord]:
    """Words that overlap, leave the chunk and end sentences, as attention places them."""
    found: list[TimedWord] = []
    at = 0.0
    while chance.random() > 0.05 and at < seconds:
        end = at + chance.uniform(0, 1.5)
        found.append(TimedWord(chance.choice([" so", " yes.", " well,", " no"]), at, end, 0.9))
        at = end + chance.choice([0.0, 0.0, -0.05, 1.3])
    return [] if chance.random() < 0.2 else found


@pytest.mark.parametrize("seed", range(40))
def test_early_segments_are_the_beginning_of_the_transcript(seed: int) -> None:
    chance = random.Random(seed)
    samples = np.zeros(SECONDS * SAMPLE_RATE, dtype=np.float32)
    labels = ["1", "2"] if seed % 2 else [""]
    tracks = [AudioTrack(samples, speech(chance), label) for label in labels]
    chunks = [
        TrackChunk(number, chunk)
        for number, track in enumerate(tracks)
        for chunk in make_chunks(samples, track.speech)
    ]
    results = [RecognisedChunk(words(chance, each.chunk.length), "en") for each in chunks]
    early: list[Segment] = []

    def take(first: int, segments: Sequence[Segment], language: str) -> None:
        assert (first, language) == (len(early), "en")
        early.extend(segments)

    builder = SegmentBuilder(tracks, chunks, Options(language="en"), SECONDS * 1000, take)
    order = sorted(range(len(chunks)), key=lambda index: index + chance.uniform(0, 6))
    on_chunk: OnChunk | None = builder.on_chunk
    assert on_chunk is not None
    for index in order:
        on_chunk(index, results[index])
    complete = builder.all_segments(results)
    assert complete
    assert early == complete[: len(early)]
    starts = [segment.start for segment in complete]
    assert starts == sorted(starts)


def test_all_but_the_last_words_are_handed_on() -> None:
    track = AudioTrack(
        np.zeros(60 * SAMPLE_RATE, dtype=np.float32), [(0.0, 14.0), (20.0, 34.0), (40.0, 54.0)]
    )
    chunks = [TrackChunk(0, chunk) for chunk in make_chunks(track.samples, track.speech)]
    assert len(chunks) == 3
    arrived: list[list[str]] = []

    def take(_first: int, segments: Sequence[Segment], _language: str) -> None:
        arrived.append([segment.text for segment in segments])

    builder = SegmentBuilder([track], chunks, Options(language="en"), 60_000, take)
    assert builder.on_chunk is not None
    for index, texts in enumerate([[" One."], [], [" Two."]]):
        builder.on_chunk(index, RecognisedChunk([TimedWord(text, 0.0, 1.0, 0.9) for text in texts], "en"))
    assert arrived == [["One."]]


def test_nobody_waits_for_segments_unless_asked() -> None:
    track = AudioTrack(np.zeros(SAMPLE_RATE, dtype=np.float32), [(0.0, 1.0)])
    assert SegmentBuilder([track], [], Options(), 1000).on_chunk is None
