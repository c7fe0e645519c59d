"""The one interface to recognition: a media file in, a transcript out, and speakers added to it.

The decoded sound and its segmentation are kept between the two calls, so that one pass over a file serves
voice activity and speakers. Models load when they are first needed and stay.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from batches.recognition.errors import MediaError, NotMedia
from batches.recognition.media.channels import decode_channels
from batches.recognition.media.decoding import Audio, decode
from batches.recognition.models.catalogue import DEFAULT_SPEAKERS, DEFAULT_WHISPER
from batches.recognition.models.store import ModelStore, WhisperCheckpoint
from batches.recognition.options import ENGINES, FASTER, WHISPER, Options
from batches.recognition.transcript import SpeakerTurn, Transcript

if TYPE_CHECKING:
    from batches.recognition.asr.decoded_chunk import AudioTrack
    from batches.recognition.asr.faster_whisper_model import FasterModel
    from batches.recognition.asr.whisper_model import WhisperModel
    from batches.recognition.asr.whisper_recognizer import WhisperEngine
    from batches.recognition.diarization.diarizers import SpeakerDiarizer
    from batches.recognition.diarization.segmentation import Segmentation, Segmenter

# What is being done, and the share of the whole call that is done, 0..1.
Progress = Callable[[str, float], None]
# Shares of a call that are done when the file is decoded, and when it is segmented.
_DECODED, _SEGMENTED = 0.05, 0.15


@dataclass(slots=True)
class _LoadedFile:
    """The last file, decoded and segmented: mixed down, or each of its channels."""

    key: tuple[str, int, int, bool]  # path, time of change in ns, size in bytes, whether by channel
    sounds: list[tuple[str, Audio]]  # each with its speaker's label, if it is a channel of several
    segmentations: list[Segmentation] = field(default_factory=list)  # of each sound

    @property
    def truncated(self) -> bool:
        return any(audio.truncated for _, audio in self.sounds)


class Engine:
    """Recognition with one Whisper model and one pair of speaker models, each named or given by folder.

    ``engine`` is one of :data:`ENGINES`. ``device`` is "cpu", "cuda" or "auto". ``batch_size`` is the number
    of chunks decoded at once; 0 takes what suits the device. Not safe for use by two threads at once.
    """

    def __init__(
        self,
        *,
        models_dir: Path | None = None,
        whisper_model: str = DEFAULT_WHISPER,
        speaker_model: str = DEFAULT_SPEAKERS,
        threads: int = 1,
        batch_size: int = 0,
        device: str = "auto",
        engine: str = WHISPER,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"There is no engine {engine!r}, only {' and '.join(ENGINES)}.")
        self._engine = engine
        self._store = ModelStore(models_dir)
        self._whisper_model, self._speaker_model = whisper_model, speaker_model
        self._threads, self._batch_size, self._device = threads, batch_size, device
        self._whisper: WhisperEngine | None = None
        self._segmenter: Segmenter | None = None
        self._diarizer: SpeakerDiarizer | None = None
        self._loaded: _LoadedFile | None = None

    def load(self, *, speakers: bool = False) -> None:
        """Load the models now instead of at the first file. Raises ModelUnavailable."""
        self._load_segmenter()
        self._load_whisper()
        if speakers:
            self._load_diarizer()

    def transcribe(self, path: Path, options: Options, progress: Progress) -> Transcript:
        """Words with times, in segments, without speakers. Raises RecognitionError and its kind."""
        loaded = self._load_audio(path, options, progress)
        segmentations = self._segment(loaded, progress)
        progress("loading models", _SEGMENTED)
        whisper = self._load_whisper()
        tracks = _tracks(loaded, segmentations, options)
        transcript = whisper.transcribe(tracks, options, _part(progress, "recognising", _SEGMENTED, 1.0))
        transcript.engine |= {
            "version": importlib.metadata.version(whisper.name),
            "torch": importlib.metadata.version("torch"),
        }
        if options.channels:
            transcript.engine["channels"] = len(tracks)
            _note_channels(transcript, tracks)
        if loaded.truncated:
            transcript.flags.append("truncated")
        return transcript

    def add_speakers(
        self, path: Path, transcript: Transcript, options: Options, progress: Progress
    ) -> Transcript:
        """The same transcript with a speaker for each word. Segments end where the speaker changes.

        Where each channel is a speaker, the speakers are known already.
        """
        from batches.recognition.alignment.speaker_assignment import assign_speakers

        if not transcript.segments or transcript.engine.get("channels", 1) > 1:
            return transcript
        loaded = self._load_audio(path, options, progress)
        (segmentation,) = self._segment(loaded, progress)
        progress("loading models", _SEGMENTED)
        ((_, audio),) = loaded.sounds
        turns = self._load_diarizer().run(
            audio.samples,
            segmentation,
            min_speakers=options.min_speakers,
            max_speakers=options.max_speakers,
            progress=_part(progress, "separating speakers", _SEGMENTED, 1.0),
        )
        result = assign_speakers(transcript, turns)
        result.engine = {**result.engine, "speakers": self._speaker_model}
        return result

    @property
    def media_seconds(self) -> float:
        """The length of the file in hand; 0 where none is decoded yet."""
        return max(audio.duration for _, audio in self._loaded.sounds) / 1000 if self._loaded else 0.0

    def _load_audio(self, path: Path, options: Options, progress: Progress) -> _LoadedFile:
        try:
            status = path.stat()
        except OSError as error:
            raise MediaError(f"The file cannot be opened: {error.strerror}.") from error
        if not path.is_file():
            raise NotMedia("This is not a file.")
        key = (str(path), status.st_mtime_ns, status.st_size, options.channels)
        if self._loaded is None or self._loaded.key != key:
            self._loaded = None  # before decoding: two files at once would need twice the memory
            self._loaded = _LoadedFile(
                key, _decode(path, options, _part(progress, "decoding", 0.0, _DECODED))
            )
        return self._loaded

    def _segment(self, loaded: _LoadedFile, progress: Progress) -> list[Segmentation]:
        if not loaded.segmentations:
            progress("loading models", _DECODED)
            segmenter = self._load_segmenter()
            each = (_SEGMENTED - _DECODED) / len(loaded.sounds)
            found = []
            for number, (_, audio) in enumerate(loaded.sounds):
                start = _DECODED + number * each
                share = _part(progress, "finding speech", start, start + each)
                found.append(segmenter.run(audio.samples, share))
            loaded.segmentations = found
        return loaded.segmentations

    def _load_segmenter(self) -> Segmenter:
        if self._segmenter is None:
            from batches.recognition.diarization.segmentation import Segmenter

            checkpoint = self._store.speakers(self._speaker_model).segmentation
            self._segmenter = Segmenter(checkpoint, threads=self._threads)
        return self._segmenter

    def _load_whisper(self) -> WhisperEngine:
        if self._whisper is None:
            from batches.recognition.asr.whisper_recognizer import WhisperEngine
            from batches.recognition.runtime.device import choose_device, default_batch_size

            device = choose_device(self._device)
            model = self._load_model(self._store.whisper(self._whisper_model), str(device))
            self._whisper = WhisperEngine(model, batch_size=self._batch_size or default_batch_size(device))
        return self._whisper

    def _load_model(self, checkpoint: WhisperCheckpoint, device: str) -> WhisperModel | FasterModel:
        if self._engine == FASTER:
            from batches.recognition.asr.faster_whisper_model import FasterModel

            return FasterModel(
                checkpoint, self._store.folder / ".faster", threads=self._threads, device=device
            )
        from batches.recognition.asr.whisper_model import WhisperModel

        return WhisperModel(checkpoint, threads=self._threads, device=device)

    def _load_diarizer(self) -> SpeakerDiarizer:
        if self._diarizer is None:
            from batches.recognition.diarization.diarizers import SpeakerDiarizer

            found = self._store.speakers(self._speaker_model)
            self._diarizer = SpeakerDiarizer(found.segmentation, found.embedding, threads=self._threads)
        return self._diarizer


def _decode(path: Path, options: Options, progress: Callable[[float], None]) -> list[tuple[str, Audio]]:
    if options.channels:
        channels = decode_channels(path, options, progress)
        if len(channels) > 1:
            return [(str(number + 1), audio) for number, audio in channels]
        return [("", audio) for _, audio in channels]
    audio = decode(
        path, max_duration_ms=options.max_duration_ms, max_bytes=options.max_bytes, progress=progress
    )
    return [("", audio)]


def _tracks(loaded: _LoadedFile, segmentations: list[Segmentation], options: Options) -> list[AudioTrack]:
    """A file of one channel has one speaker where channels are speakers and voices are not told apart."""
    from batches.recognition.asr.decoded_chunk import AudioTrack

    alone = "1" if options.channels and not options.speakers else ""
    return [
        AudioTrack(audio.samples, segmentation.speech_regions(), label or alone)
        for (label, audio), segmentation in zip(loaded.sounds, segmentations, strict=True)
    ]


def _note_channels(transcript: Transcript, tracks: list[AudioTrack]) -> None:
    """Who is loaded, and when: each on their channel."""
    transcript.speakers = list(dict.fromkeys(each.speaker for each in transcript.segments if each.speaker))
    turns = [
        SpeakerTurn(round(start * 1000), round(end * 1000), track.speaker)
        for track in tracks
        if track.speaker
        for start, end in track.speech
    ]
    transcript.turns = sorted(turns, key=lambda turn: (turn.start, turn.speaker))


def _part(progress: Progress, stage: str, start: float, end: float) -> Callable[[float], None]:
    """Progress of one stage as a part of the whole call's. The stage is announced at once."""
    progress(stage, start)
    return lambda share: progress(stage, start + (end - start) * min(1.0, share))
