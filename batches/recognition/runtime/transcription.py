"""Transcription of a file's tracks with any recogniser: chunks, word times, sentences, segments."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence

from batches.recognition import languages
from batches.recognition.alignment import coverage
from batches.recognition.asr.chunks import make_chunks
from batches.recognition.contracts import (
    Progress,
    RecognisedFile,
    SpeechChunk,
    SpeechRecogniser,
    TimedWord,
)
from batches.recognition.diarization.segmentation import merge
from batches.recognition.media.decoding import SAMPLE_RATE
from batches.recognition.media.loudness import loudness
from batches.recognition.options import Options
from batches.recognition.runtime.segment_builder import AudioTrack, SegmentBuilder, TrackChunk
from batches.recognition.transcript import OnSegments, Span, SpeakerTurn, Transcript

LOST_SECONDS = 2.0  # continuous speech without words from which a transcript is flagged


def transcribe(
    recogniser: SpeechRecogniser,
    tracks: Sequence[AudioTrack],
    options: Options,
    progress: Progress,
    on_segments: OnSegments | None = None,
) -> Transcript:
    """Recognise one file's tracks together, with a common language. Speakers are those of the tracks.

    ``on_segments`` is called with segments, in the transcript's order, as soon as they are final.
    """
    expected = languages.candidates(options.language)
    transcript = Transcript(
        language=expected[0] if expected else "",
        language_probability=1.0 if expected else 0.0,
        duration=round(max(len(track.samples) for track in tracks) * 1000 / SAMPLE_RATE),
        speech_duration=_speech_duration(tracks),
        loudness=loudness([track.samples for track in tracks]),
        engine={
            "name": recogniser.name,
            "model": recogniser.model,
            "language": options.language,
            "version": _version(recogniser.name),
            "torch": _version("torch"),
        },
    )
    chunks = [
        TrackChunk(number, chunk)
        for number, track in enumerate(tracks)
        for chunk in make_chunks(track.samples, track.speech)
    ]
    if chunks:
        sounds = [
            SpeechChunk(*each.chunk.views(track.samples), speech=each.chunk.speech(track.speech))
            for each, track in ((each, tracks[each.track]) for each in chunks)
        ]
        builder = SegmentBuilder(tracks, chunks, options, transcript.duration, on_segments)
        _add_text(transcript, builder, recogniser.recognise(sounds, options, progress, builder.on_chunk))
    if not transcript.segments:
        transcript.flags.append("no_speech")
    if options.channels or len(tracks) > 1:
        transcript.engine["channels" if options.channels else "tracks"] = len(tracks)
        _add_channel_speakers(transcript, tracks)
    if lost := _lost_speech(transcript, tracks):
        transcript.flags.append("unrecognised_speech")
        transcript.unrecognised = lost
    return transcript


@functools.cache
def _version(package: str) -> str:
    """Version of an installed package, which takes milliseconds to look up."""
    return importlib.metadata.version(package)


def _add_text(transcript: Transcript, builder: SegmentBuilder, found: RecognisedFile) -> None:
    transcript.language = found.language
    transcript.language_probability = round(found.language_probability, 4)
    transcript.flags += found.flags
    transcript.keywords = found.keywords
    transcript.segments = builder.all_segments(found.chunks)


def _speech_duration(tracks: Sequence[AudioTrack]) -> int:
    """Duration of speech on any of the tracks, in ms."""
    regions = sorted(region for track in tracks for region in track.speech)
    return round(sum(end - start for start, end in merge(regions, 0.0)) * 1000)


def _lost_speech(transcript: Transcript, tracks: Sequence[AudioTrack]) -> list[Span]:
    """Spans of speech on a track without recognised words."""
    found = []
    for track in tracks:
        words = [
            TimedWord(word.text, word.start / 1000, word.end / 1000, word.probability)
            for segment in transcript.segments
            if segment.speaker == track.speaker
            for word in segment.words
        ]
        found += coverage.uncovered(words, track.speech, LOST_SECONDS)
    return [Span(round(start * 1000), round(end * 1000)) for start, end in sorted(found)]


def _add_channel_speakers(transcript: Transcript, tracks: Sequence[AudioTrack]) -> None:
    """Add speakers and turns if channels or tracks are speakers: speech on a channel is a turn."""
    transcript.speakers = list(dict.fromkeys(each.speaker for each in transcript.segments if each.speaker))
    turns = [
        SpeakerTurn(round(start * 1000), round(end * 1000), track.speaker)
        for track in tracks
        if track.speaker
        for start, end in track.speech
    ]
    transcript.turns = sorted(turns, key=lambda turn: (turn.start, turn.speaker))
