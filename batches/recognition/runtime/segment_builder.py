"""`SegmentBuilder`: builds a file's segments from the words of its chunks, at the end or incrementally.

The words of a chunk have their final times once the next word of the same track is known; a segment is final
once no track can have an earlier one. Both modes run the same code, so the segments reported early are
exactly the first ones of the complete transcript.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from batches.recognition import chinese_script, languages
from batches.recognition.alignment import sentences
from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import Chunk
from batches.recognition.contracts import OnChunk, RecognisedChunk
from batches.recognition.media.decoding import Samples
from batches.recognition.options import Options
from batches.recognition.transcript import OnSegments, Segment, Word

_ROUNDING = 0.01  # s


@dataclass(frozen=True, slots=True, eq=False)
class AudioTrack:
    """Audio track: samples at 16 kHz of a whole file or one channel, with their speech regions."""

    samples: Samples
    speech: Sequence[Region]  # in order, disjoint
    speaker: str = ""  # the speaker label of this channel


@dataclass(frozen=True, slots=True)
class TrackChunk:
    """Chunk with the number of its track. The chunks of a track are in order of time."""

    track: int
    chunk: Chunk


class SegmentBuilder:
    """Builder of the segments of one file."""

    def __init__(
        self,
        tracks: Sequence[AudioTrack],
        chunks: Sequence[TrackChunk],
        options: Options,
        duration: int,
        on_segments: OnSegments | None = None,
    ) -> None:
        self._tracks, self._chunks, self._duration = tracks, chunks, duration
        self._script = chinese_script.conversion(options.language)
        self._many_languages = len(languages.candidates(options.language)) > 1
        self._on_segments = on_segments
        self._results: dict[int, RecognisedChunk] = {}
        self._final = _FinalSegments(tracks, chunks, duration, self._script)
        self._announced = 0

    @property
    def on_chunk(self) -> OnChunk | None:
        """Callback for the recogniser's results by chunk; ``None`` without a consumer of live segments."""
        return self._take if self._on_segments else None

    def all_segments(self, results: Sequence[RecognisedChunk]) -> list[Segment]:
        """All segments in order of start; those of different tracks may overlap."""
        final = _FinalSegments(self._tracks, self._chunks, self._duration, self._script)
        found = final.add(dict(enumerate(results)))
        return found + final.rest()

    def _take(self, index: int, result: RecognisedChunk) -> None:
        self._results[index] = result
        segments = self._final.add(self._results)
        if segments and self._on_segments:
            language = "" if self._many_languages else result.language
            self._on_segments(self._announced, segments, language)
            self._announced += len(segments)


class _FinalSegments:
    """Segments in the order of the transcript, returned once they are final."""

    def __init__(
        self,
        tracks: Sequence[AudioTrack],
        chunks: Sequence[TrackChunk],
        duration: int,
        script: str,
    ) -> None:
        own: list[list[tuple[int, Chunk]]] = [[] for _ in tracks]
        for index, each in enumerate(chunks):
            own[each.track].append((index, each.chunk))
        self._tracks = [
            _Track(track, mine, duration, script) for track, mine in zip(tracks, own, strict=True)
        ]
        self._waiting: list[tuple[int, int, Segment]] = []  # (start, track, segment)

    def add(self, results: dict[int, RecognisedChunk]) -> list[Segment]:
        """Return the segments that became final. Removes results that are no longer needed."""
        for number, track in enumerate(self._tracks):
            self._waiting += [(segment.start, number, segment) for segment in track.take(results)]
        return self._before(min(track.frontier for track in self._tracks))

    def rest(self) -> list[Segment]:
        """Remaining segments after the last result."""
        for number, track in enumerate(self._tracks):
            self._waiting += [(segment.start, number, segment) for segment in track.end()]
        return self._before(math.inf)

    def _before(self, limit: float) -> list[Segment]:
        self._waiting.sort(key=lambda each: each[:2])
        count = sum(start < limit for start, _track, _segment in self._waiting)
        found, self._waiting = self._waiting[:count], self._waiting[count:]
        return [segment for _start, _track, segment in found]


class _Track:
    """Segments of one track. The words of a chunk are held back until the word after them is known."""

    def __init__(
        self, track: AudioTrack, chunks: Sequence[tuple[int, Chunk]], duration: int, script: str
    ) -> None:
        self._track, self._chunks, self._duration, self._script = track, chunks, duration, script
        self._next = 0  # index of the first chunk without a result
        self._held: tuple[Chunk, RecognisedChunk, list[Word]] | None = None
        self._earliest = 0  # ms; the end of the last word that has its times

    @property
    def frontier(self) -> float:
        """Time in ms before which this track has no further segments."""
        if self._held is not None:
            return round(self._held[0].start * 1000)
        if self._next < len(self._chunks):
            return round(self._chunks[self._next][1].start * 1000)
        return math.inf

    def take(self, results: dict[int, RecognisedChunk]) -> list[Segment]:
        found: list[Segment] = []
        while self._next < len(self._chunks):
            index, chunk = self._chunks[self._next]
            if index not in results:
                break
            result = results.pop(index)
            self._next += 1
            if words := self._words(chunk, result):
                found += self._release(words[0])
                self._held = (chunk, result, words)
        return found

    def end(self) -> list[Segment]:
        return self._release(None)

    def _release(self, following: Word | None) -> list[Segment]:
        if self._held is None:
            return []
        (_chunk, result, words), self._held = self._held, None
        sentences.fit_to_speech(words, self._speech_of(words), following)
        self._earliest = sentences.make_monotonic(words, self._duration, self._earliest)
        return [self._segment(group, result) for group in sentences.split(words)]

    def _speech_of(self, words: Sequence[Word]) -> Sequence[Region]:
        """Speech regions that any of the words can overlap."""
        speech, start, end = self._track.speech, words[0].start, max(word.end for word in words)
        first = bisect.bisect_left(speech, start / 1000 - _ROUNDING, key=lambda region: region[1])
        last = bisect.bisect_right(speech, end / 1000 + _ROUNDING, key=lambda region: region[0])
        return speech[first:last]

    def _segment(self, words: list[Word], result: RecognisedChunk) -> Segment:
        segment = sentences.make_segment(words, self._track.speaker)
        segment.mean_logprob = round(result.mean_logprob, 4)
        segment.no_speech_probability = round(result.no_speech_probability, 4)
        segment.compression_ratio = round(result.compression_ratio, 3)
        segment.flags = list(result.flags)
        return segment

    def _words(self, chunk: Chunk, result: RecognisedChunk) -> list[Word]:
        """Words with times relative to the file instead of the chunk, in the requested script."""
        texts = [word.text for word in result.words]
        if self._script:
            texts = chinese_script.convert_texts(texts, self._script)
        return [
            Word(
                round(chunk.to_file(word.start) * 1000),
                round(chunk.to_file(word.end) * 1000),
                text,
                round(word.probability, 4),
            )
            for word, text in zip(result.words, texts, strict=True)
        ]
