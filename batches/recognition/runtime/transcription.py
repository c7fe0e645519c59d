"""From a file's tracks to its transcript, with any recogniser: chunks, word times, sentences, segments."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass

from batches.recognition import chinese_script, languages
from batches.recognition.alignment import coverage, sentences
from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import Chunk, make_chunks
from batches.recognition.contracts import (
    Progress,
    RecognisedChunk,
    RecognisedFile,
    SpeechChunk,
    SpeechRecogniser,
    TimedWord,
)
from batches.recognition.diarization.segmentation import merge
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.media.loudness import loudness
from batches.recognition.options import Options
from batches.recognition.transcript import Segment, Span, SpeakerTurn, Transcript, Word

LOST_SECONDS = 2.0  # of speech without words in one stretch, from which a transcript is flagged


@dataclass(frozen=True, slots=True, eq=False)
class AudioTrack:
    """Samples at 16 kHz with their regions of speech: a whole file's, or one channel's."""

    samples: Samples
    speech: Sequence[Region]  # in order, and apart from each other
    speaker: str = ""  # the speaker label of this channel


def transcribe(
    recogniser: SpeechRecogniser, tracks: Sequence[AudioTrack], options: Options, progress: Progress
) -> Transcript:
    """Recognise one file's tracks together: they share their language. Speakers are the tracks' own."""
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
            "version": importlib.metadata.version(recogniser.name),
            "torch": importlib.metadata.version("torch"),
        },
    )
    chunks = [(track, chunk) for track in tracks for chunk in make_chunks(track.samples, track.speech)]
    if chunks:
        sounds = [
            SpeechChunk(*chunk.views(track.samples), speech=chunk.speech(track.speech))
            for track, chunk in chunks
        ]
        _add_text(transcript, tracks, chunks, recogniser.recognise(sounds, options, progress))
    if not transcript.segments:
        transcript.flags.append("no_speech")
    if options.channels or len(tracks) > 1:
        transcript.engine["channels" if options.channels else "tracks"] = len(tracks)
        _add_channel_speakers(transcript, tracks)
    if lost := _lost_speech(transcript, tracks):
        transcript.flags.append("unrecognised_speech")
        transcript.unrecognised = lost
    return transcript


def _add_text(
    transcript: Transcript,
    tracks: Sequence[AudioTrack],
    chunks: Sequence[tuple[AudioTrack, Chunk]],
    found: RecognisedFile,
) -> None:
    """Add segments in the order in which they start; those of different tracks may overlap."""
    transcript.language = found.language
    transcript.language_probability = round(found.language_probability, 4)
    transcript.flags += found.flags
    if script := chinese_script.conversion(transcript.engine["language"]):
        _write_in_script(found, script)
    recognised = list(zip(chunks, found.chunks, strict=True))
    for track in tracks:
        mine = [(chunk, result) for (owner, chunk), result in recognised if owner is track]
        transcript.segments += _track_segments(track, mine, transcript.duration)
    transcript.segments.sort(key=lambda segment: segment.start)


def _write_in_script(found: RecognisedFile, script: str) -> None:
    for chunk in found.chunks:
        texts = chinese_script.convert_texts([word.text for word in chunk.words], script)
        for word, text in zip(chunk.words, texts, strict=True):
            word.text = text


def _track_segments(
    track: AudioTrack, chunks: Sequence[tuple[Chunk, RecognisedChunk]], duration: int
) -> list[Segment]:
    timed = [(result, _file_words(chunk, result)) for chunk, result in chunks]
    every = [word for _, words in timed for word in words]
    sentences.fit_to_speech(every, track.speech)
    sentences.make_monotonic(every, duration)
    segments = []
    for result, words in timed:
        for group in sentences.split(words):
            segment = sentences.make_segment(group, track.speaker)
            segment.mean_logprob = round(result.mean_logprob, 4)
            segment.no_speech_probability = round(result.no_speech_probability, 4)
            segment.compression_ratio = round(result.compression_ratio, 3)
            segment.flags = list(result.flags)
            segments.append(segment)
    return segments


def _file_words(chunk: Chunk, result: RecognisedChunk) -> list[Word]:
    """The words with times in the file instead of the chunk."""
    return [
        Word(
            round(chunk.to_file(word.start) * 1000),
            round(chunk.to_file(word.end) * 1000),
            word.text,
            round(word.probability, 4),
        )
        for word in result.words
    ]


def _speech_duration(tracks: Sequence[AudioTrack]) -> int:
    """ms in which somebody speaks on any of the tracks."""
    regions = sorted(region for track in tracks for region in track.speech)
    return round(sum(end - start for start, end in merge(regions, 0.0)) * 1000)


def _lost_speech(transcript: Transcript, tracks: Sequence[AudioTrack]) -> list[Span]:
    """Stretches in which somebody speaks on a track and no word was recognised."""
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
    """Speakers and turns of a file whose channels or tracks are its speakers: speech on one is its turn."""
    transcript.speakers = list(dict.fromkeys(each.speaker for each in transcript.segments if each.speaker))
    turns = [
        SpeakerTurn(round(start * 1000), round(end * 1000), track.speaker)
        for track in tracks
        if track.speaker
        for start, end in track.speech
    ]
    transcript.turns = sorted(turns, key=lambda turn: (turn.start, turn.speaker))
