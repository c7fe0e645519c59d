"""Speech to text: chunks of a file through openai-whisper's model, back as words and segments.

Chunks are decoded greedily, the longest first, a batch at a time. A chunk whose text looks wrong is decoded
again, with the whole context of the encoder and then with some chance, and the best attempt is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from batches.recognition import languages
from batches.recognition.alignment import sentences
from batches.recognition.asr import language_detection
from batches.recognition.asr.chunks import make_chunks
from batches.recognition.asr.decoded_chunk import AudioTrack, DecodedChunk
from batches.recognition.asr.decoding import BatchDecoder, Decoded, DecodingOptions
from batches.recognition.asr.keywords import KeywordTree, prompt_tokens
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND, WhisperModel
from batches.recognition.diarization.segmentation import merge
from batches.recognition.media.decoding import SAMPLE_RATE
from batches.recognition.options import Options
from batches.recognition.runtime import memory
from batches.recognition.transcript import Segment, Transcript

if TYPE_CHECKING:
    from batches.recognition.asr.faster_whisper_model import FasterModel

Progress = Callable[[float], None]

FLOOR_FRAMES = 800  # Whisper repeats itself when it is given less than about 16 s of context
_MARGIN_FRAMES = 50
_DECODED = 0.9  # share of the work that is done when each chunk has been decoded once
_RETRY_BATCH = 4  # rows at full context
_RETRY_TEMPERATURES = (0.0, 0.4, 0.8)
_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue", "km"}  # languages that put no spaces between words


class Decoder(Protocol):
    """Decodes encoded chunks, (rows, frames, state), that hold so many seconds of sound each."""

    def run(self, features: Tensor, seconds: Sequence[float]) -> list[Decoded]: ...


@dataclass(slots=True)
class _Job:
    """One file's work: its pieces in the order of time, and what is known of its language."""

    options: Options
    tracks: Sequence[AudioTrack]
    pieces: list[DecodedChunk]
    expected: tuple[str, ...]
    detection: language_detection.Detection | None = None
    decoders: dict[tuple[str, float, bool], Decoder] = field(default_factory=dict)


class WhisperEngine:
    """Transcribes samples with one loaded model. ``batch_size`` chunks are decoded at once."""

    def __init__(self, model: WhisperModel | FasterModel, *, batch_size: int = 8) -> None:
        self._model = model
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        return "openai-whisper" if isinstance(self._model, WhisperModel) else "faster-whisper"

    def transcribe(
        self, tracks: Sequence[AudioTrack], options: Options, progress: Progress | None = None
    ) -> Transcript:
        """Recognise one file's tracks together: they share their language, and the batches of chunks."""
        duration = round(max(len(track.samples) for track in tracks) * 1000 / SAMPLE_RATE)
        expected = languages.candidates(options.language)
        pieces = [
            DecodedChunk(chunk, track)
            for track in tracks
            for chunk in make_chunks(track.samples, track.speech)
        ]
        job = _Job(options, tracks, pieces, expected)
        transcript = Transcript(expected[0] if expected else "", 1.0 if expected else 0.0, duration)
        transcript.speech_duration = _speech_duration(tracks)
        transcript.engine = {
            "name": self.name,
            "model": self._model.name,
            "language": options.language,
        }
        if not pieces:
            transcript.flags.append("no_speech")
            return transcript
        self._decode(job, progress or (lambda _share: None))
        self._note_language(job, transcript)
        transcript.segments = self._segments(job, duration)
        if not transcript.segments:
            transcript.flags.append("no_speech")
        return transcript

    def _decode(self, job: _Job, progress: Progress) -> None:
        done, total = 0.0, sum(piece.seconds for piece in job.pieces)
        for batch in self._batches(job):
            features = self._encode(batch, None)
            if job.detection is None:
                self._detect(job, batch, features)
            self._decode_batch(job, batch, features, 0.0)
            done += sum(piece.seconds for piece in batch)
            progress(_DECODED * done / total)
        self._retry(job, progress)
        self._recover_tails(job, progress)
        progress(1.0)

    def _batches(self, job: _Job) -> list[list[DecodedChunk]]:
        """The chunks that are asked for their language, then the others; the longest first."""
        pieces = job.pieces
        asked = language_detection.spread([piece.seconds for piece in pieces], self._batch_size)
        others = sorted(set(range(len(pieces))) - set(asked), key=lambda index: -pieces[index].seconds)
        size = self._batch_size
        groups = [asked, *(others[start : start + size] for start in range(0, len(others), size))]
        return [[pieces[index] for index in group] for group in groups]

    def _encode(self, batch: Sequence[DecodedChunk], frames: int | None) -> Tensor:
        """The batch through the encoder, at the context given or at what its longest chunk needs."""
        memory.release()
        longest = max(piece.seconds for piece in batch)
        needed = round(longest * FRAMES_PER_SECOND) + _MARGIN_FRAMES
        context = frames or max(FLOOR_FRAMES, needed)
        context = min(context, self._model.dims.n_audio_ctx)
        mels = torch.stack([self._model.mel(piece.samples, context) for piece in batch])
        return self._model.encode(mels)

    def _detect(self, job: _Job, batch: Sequence[DecodedChunk], features: Tensor) -> None:
        answers = self._model.ask_languages(features)
        job.detection = language_detection.combine(answers, [piece.seconds for piece in batch])

    def _choose_languages(self, job: _Job, batch: Sequence[DecodedChunk], features: Tensor) -> None:
        """One language for the file; with several expected, each chunk is asked which of them it is in."""
        if job.detection is None:
            raise RuntimeError("the language of the file is asked before its chunks are decoded")
        if len(job.expected) > 1:
            answers = self._model.ask_languages(features)
            for piece, answer in zip(batch, answers, strict=True):
                piece.language = language_detection.Detection(answer).best(job.expected)
            return
        language = job.expected[0] if job.expected else job.detection.best()
        for piece in batch:
            piece.language = language

    def _decode_batch(
        self, job: _Job, batch: Sequence[DecodedChunk], features: Tensor, temperature: float
    ) -> None:
        """Decode a batch, the chunks of each language together; keep what is better than before."""
        if not batch[0].language:
            self._choose_languages(job, batch, features)
        for language in dict.fromkeys(piece.language for piece in batch):
            rows = [index for index, piece in enumerate(batch) if piece.language == language]
            chosen = features if len(rows) == len(batch) else features[rows]
            # What went wrong with keywords before it is tried without.
            prompted = not temperature and not any(piece.is_tail for piece in batch)
            decoder = self._decoder(job, language, temperature, prompted=prompted)
            results = decoder.run(chosen, [batch[row].seconds for row in rows])
            for row, decoded in zip(rows, results, strict=True):
                batch[row].consider(decoded)

    def _decoder(self, job: _Job, language: str, temperature: float, *, prompted: bool) -> Decoder:
        options = job.options
        # A prompt of keywords beside the bias found one name more in eighty, cost a tenth of the time, and
        # raised the errors of everything else from 8 % to 10 %: it is for a runtime that takes no bias.
        biased = isinstance(self._model, WhisperModel) and options.keyword_weight > 0
        prompted = prompted and not biased
        key = (language, temperature, prompted)
        if key not in job.decoders:
            tokenizer = self._model.tokenizer(language)
            prompt = prompt_tokens(options.keywords, tokenizer) if prompted else []
            rules = DecodingOptions(tokenizer, prompt, temperature=temperature)
            if options.keywords and biased:
                spaced = language not in _UNSPACED
                rules.keywords = KeywordTree(
                    options.keywords, tokenizer, weight=options.keyword_weight, spaced=spaced
                )
            job.decoders[key] = self._make_decoder(rules)
        return job.decoders[key]

    def _make_decoder(self, rules: DecodingOptions) -> Decoder:
        model = self._model
        return BatchDecoder(model, rules) if isinstance(model, WhisperModel) else model.decoder(rules)

    def _retry(self, job: _Job, progress: Progress) -> None:
        wrong = [piece for piece in job.pieces if piece.went_wrong]
        for start in range(0, len(wrong), _RETRY_BATCH):
            batch = wrong[start : start + _RETRY_BATCH]
            features = self._encode(batch, self._model.dims.n_audio_ctx)
            for temperature in _RETRY_TEMPERATURES:
                rows = [index for index, piece in enumerate(batch) if piece.went_wrong]
                if not rows:
                    break
                # Chance with a fixed seed: the same file gives the same text again.
                torch.manual_seed(start)
                self._decode_batch(job, [batch[row] for row in rows], features[rows], temperature)
                progress(_DECODED)

    def _recover_tails(self, job: _Job, progress: Progress) -> None:
        """Whisper sometimes ends its text long before the speech ends: decode what is left by itself."""
        for piece in job.pieces:
            piece.align(self._model.tokenizer(piece.language))
        tails = [tail for piece in job.pieces if (tail := piece.tail()) is not None]
        for start in range(0, len(tails), self._batch_size):
            batch = tails[start : start + self._batch_size]
            self._decode_batch(job, batch, self._encode(batch, None), 0.0)
            progress(_DECODED)
        for tail in tails:
            tail.align(self._model.tokenizer(tail.language))
        job.pieces = sorted([*job.pieces, *tails], key=lambda piece: piece.chunk.start)

    def _note_language(self, job: _Job, transcript: Transcript) -> None:
        detection = job.detection
        if detection is None:
            return
        if not job.expected:
            transcript.language = detection.best()
            transcript.language_probability = round(detection.probabilities[transcript.language], 4)
        else:
            spoken = [piece.language for piece in job.pieces]
            transcript.language = max(job.expected, key=spoken.count)
            share = sum(detection.probabilities.get(code, 0.0) for code in job.expected)
            transcript.language_probability = round(share, 4)
            if detection.contradicts(job.expected):
                transcript.flags.append("language_mismatch")

    def _segments(self, job: _Job, duration: int) -> list[Segment]:
        """In the order in which they start; those of different tracks may overlap."""
        segments = [segment for track in job.tracks for segment in self._track_segments(job, track, duration)]
        return sorted(segments, key=lambda segment: segment.start)

    def _track_segments(self, job: _Job, track: AudioTrack, duration: int) -> list[Segment]:
        timed = [(piece, piece.file_words()) for piece in job.pieces if piece.track is track]
        every = [word for _, words in timed for word in words]
        sentences.fit_to_speech(every, track.speech)
        sentences.make_monotonic(every, duration)
        segments = []
        for piece, words in timed:
            for group in sentences.split(words):
                segment = sentences.make_segment(group, track.speaker)
                piece.note_quality(segment)
                segments.append(segment)
        return segments


def _speech_duration(tracks: Sequence[AudioTrack]) -> int:
    """ms in which somebody speaks on any of the tracks."""
    regions = sorted(region for track in tracks for region in track.speech)
    return round(sum(end - start for start, end in merge(regions, 0.0)) * 1000)
