"""The engine: recognises many files at once with one speech recognition model and one diarization model.

Call it from one thread per file. A file's decoded audio and its segmentation form one :class:`LoadedAudio`,
used for voice activity detection and diarization; its memory is freed with the caller's last reference.
Models load on first use and stay loaded.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from batches.recognition import registry
from batches.recognition.errors import MediaError, ModelUnavailable, NotMedia
from batches.recognition.media.decoding import Audio
from batches.recognition.media.sounds import decode_sounds
from batches.recognition.models.catalogue import DEFAULT_SPEAKERS, DEFAULT_WHISPER
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.runtime.load_errors import as_installation_faults
from batches.recognition.transcript import Transcript

if TYPE_CHECKING:
    from batches.recognition.contracts import Diarizer, SpeechRecogniser
    from batches.recognition.diarization.segmentation import Segmentation, Segmenter
    from batches.recognition.providers import LoadSettings
    from batches.recognition.runtime.batching import BatchThread
    from batches.recognition.runtime.segment_builder import AudioTrack
    from batches.recognition.transcript import OnSegments

# Called with the name of the stage and the completed share of the whole call, 0..1, at least once a second
# while recognition runs, even if the share has not changed. It raises to cancel the call.
Progress = Callable[[str, float], None]
logger = logging.getLogger("engine")
_SEGMENTED = 0.1  # share of a call's progress for segmentation


@dataclass(slots=True, eq=False)
class LoadedAudio:
    """Decoded audio of one file: mixed down, or by track or channel. Not thread-safe."""

    sounds: list[tuple[str, Audio]]  # each with its speaker's label, if it is one of several
    segmentations: list[Segmentation] = field(default_factory=list)  # of each sound, once computed

    @property
    def flags(self) -> list[str]:
        """Flags of the transcript that concern the file."""
        signals = {
            "truncated": any(audio.truncated for _, audio in self.sounds),
            "tracks_left_out": any(audio.tracks_left_out for _, audio in self.sounds),
        }
        return [flag for flag, raised in signals.items() if raised]

    @property
    def missing(self) -> int:
        """Audio that could not be decoded, in ms; 0 if none or unknown."""
        return max(audio.missing for _, audio in self.sounds)

    @property
    def seconds(self) -> float:
        return max(audio.duration for _, audio in self.sounds) / 1000


class Engine:
    """Recognition with one speech model and one speaker model, each by name or folder. Thread-safe.

    ``recogniser`` names the provider of the speech model, if there are several (:mod:`..registry`); empty for
    the first one. ``device`` is "cpu", "cuda", "cuda:1" or "auto". ``batch_size`` is the number of chunks
    decoded at once; 0 for the device's default. ``precision`` is as in ``runtime.device``. ``gpu_memory``
    limits the process's GPU memory, in bytes. ``trusted_pipelines`` are the references of the speaker models
    whose code may be executed. Raises ValueError for an unknown recogniser. End it with :meth:`close`.
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
        recogniser: str = "",
        precision: str = "auto",
        gpu_memory: int = DEFAULT_GPU_MEMORY,
        trusted_pipelines: Iterable[str] = (),
    ) -> None:
        if recogniser not in ("", *registry.recogniser_names()):
            names = " and ".join(registry.recogniser_names())
            raise ValueError(f"There is no recogniser {recogniser!r}, only {names}.")
        self._store = ModelStore(models_dir)
        self._speech_model, self._speaker_model = whisper_model, speaker_model
        self._threads, self._batch_size = threads, batch_size
        self._device, self._provider, self._precision = device, recogniser, precision
        self._gpu_memory, self._trusted_pipelines = gpu_memory, frozenset(trusted_pipelines)
        self._loading = threading.RLock()
        self._settings: LoadSettings | None = None
        self._recogniser: SpeechRecogniser | None = None
        self._segmenter: Segmenter | None = None
        self._diarizer: Diarizer | None = None
        self._batches: BatchThread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def load(self, *, speakers: bool = False) -> None:
        """Preload the models instead of loading them with the first file. Raises ModelUnavailable."""
        self._load_segmenter()
        self._load_recogniser()
        if speakers:
            self._load_diarizer()

    def load_audio(self, path: Path, options: Options, progress: Progress) -> LoadedAudio:
        """Decode a media file. Raises MediaError; exceptions from ``progress`` propagate."""
        try:
            path.stat()
        except OSError as error:
            raise MediaError(f"The file cannot be opened: {error.strerror}.") from error
        if not path.is_file():
            raise NotMedia("This is not a file.")
        return LoadedAudio(decode_sounds(path, options, _part(progress, "decoding", 0.0, 1.0)))

    def transcribe(
        self,
        audio: LoadedAudio,
        options: Options,
        progress: Progress,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        """Recognise a file: timed words in segments, without speakers. Raises RecognitionError.

        ``on_segments`` is called with final segments while recognition runs.
        """
        segmentations = self._segment(audio, progress)
        progress("loading models", _SEGMENTED)
        recogniser = self._load_recogniser()
        from batches.recognition.runtime.transcription import transcribe

        tracks = _tracks(audio, segmentations, options)
        share = _part(progress, "recognising", _SEGMENTED, 1.0)
        transcript = transcribe(recogniser, tracks, options, share, on_segments)
        transcript.flags += audio.flags
        transcript.missing_duration = audio.missing
        return transcript

    def add_speakers(
        self, audio: LoadedAudio, transcript: Transcript, options: Options, progress: Progress
    ) -> Transcript:
        """Diarize: return the transcript with a speaker for each word, split where the speaker changes.

        If each channel or track is a speaker, the speakers are already known.
        """
        from batches.recognition.alignment.speaker_assignment import assign_speakers

        if not transcript.segments or len(audio.sounds) > 1:
            return transcript
        (segmentation,) = self._segment(audio, progress)
        progress("loading models", _SEGMENTED)
        diarizer = self._load_diarizer()
        ((_, sound),) = audio.sounds
        with self._on_device():
            turns = diarizer.diarize(
                sound.samples,
                segmentation,
                min_speakers=options.min_speakers,
                max_speakers=options.max_speakers,
                progress=_part(progress, "separating speakers", _SEGMENTED, 1.0),
            )
        result = assign_speakers(transcript, turns)
        result.engine = {**result.engine, "speakers": diarizer.model}
        return result

    def close(self) -> None:
        """Cancel running calls, end all threads and free the models' memory."""
        if self._recogniser is not None:
            self._recogniser.close()
        if self._batches is not None:
            self._batches.close()
        self._recogniser = self._segmenter = self._diarizer = self._settings = None

    def _segment(self, audio: LoadedAudio, progress: Progress) -> list[Segmentation]:
        if not audio.segmentations:
            progress("loading models", 0.0)
            segmenter = self._load_segmenter()
            each = _SEGMENTED / len(audio.sounds)
            audio.segmentations = [
                segmenter.run(
                    sound.samples, _part(progress, "finding speech", number * each, (number + 1) * each)
                )
                for number, (_, sound) in enumerate(audio.sounds)
            ]
        return audio.segmentations

    def _load_settings(self) -> LoadSettings:
        """Choose the device and start its batch thread, once."""
        if self._settings is None:
            import torch

            from batches.recognition.providers import LoadSettings
            from batches.recognition.runtime.batching import BatchThread
            from batches.recognition.runtime.device import choose_device, gather_seconds, make_current

            def prepare_thread() -> None:
                torch.set_num_threads(self._threads)
                make_current(device)

            torch.set_num_threads(self._threads)
            device = choose_device(self._device)
            self._batches = BatchThread("recognition", prepare_thread, gather=gather_seconds(device))
            self._settings = LoadSettings(
                store=self._store,
                device=device,
                batches=self._batches,
                threads=self._threads,
                batch_size=self._batch_size,
                precision=self._precision,
                gpu_memory=self._gpu_memory,
                trusted_pipelines=self._trusted_pipelines,
            )
        return self._settings

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        """Make the engine's GPU the current one of this thread."""
        from batches.recognition.runtime.device import as_current

        with as_current(self._load_settings().device):
            yield

    def _load_segmenter(self) -> Segmenter:
        with self._loading, as_installation_faults(), self._on_device():
            if self._segmenter is None:
                from batches.recognition.diarization.segmentation import Segmenter

                settings = self._load_settings()
                for checkpoint in self._segmentation_checkpoints():
                    try:
                        self._segmenter = Segmenter(
                            checkpoint, batches=settings.batches, device=settings.device
                        )
                        self._segmenter.warm_up()
                        break
                    except ModelUnavailable as error:  # of a kind that serves its pipeline alone
                        logger.warning("%s is not used to find speech: %s", checkpoint, error.message)
                else:
                    raise ModelUnavailable(
                        "There is no segmentation model to find speech with. "
                        f"Run: manage.py models fetch {DEFAULT_SPEAKERS}",
                        name=self._speaker_model,
                    )
            return self._segmenter

    def _segmentation_checkpoints(self) -> Iterator[Path]:
        """Candidates for voice activity detection, the best first.

        That of the speaker model comes first, so that diarization can use its result; then the default's,
        then that of any other speaker model in the models folder. So a file without speaker diarization
        needs no particular speaker model.
        """
        for reference in dict.fromkeys([self._speaker_model, DEFAULT_SPEAKERS, *self._store.names()]):
            with contextlib.suppress(ModelUnavailable):
                provider = registry.find_diarizer(reference, self._store)
                if checkpoint := provider.segmentation(reference, self._store):
                    yield checkpoint

    def _load_recogniser(self) -> SpeechRecogniser:
        with self._loading, as_installation_faults(), self._on_device():
            if self._recogniser is None:
                provider = registry.find_recogniser(self._speech_model, self._store, self._provider)
                self._recogniser = provider.load(self._speech_model, self._load_settings())
            return self._recogniser

    def _load_diarizer(self) -> Diarizer:
        with self._loading, as_installation_faults(), self._on_device():
            if self._diarizer is None:
                provider = registry.find_diarizer(self._speaker_model, self._store)
                self._diarizer = provider.load(self._speaker_model, self._load_settings())
            return self._diarizer


def _tracks(audio: LoadedAudio, segmentations: list[Segmentation], options: Options) -> list[AudioTrack]:
    """Audio tracks of a file. A mono file has one speaker if channels are speakers and diarization is off."""
    from batches.recognition.runtime.segment_builder import AudioTrack

    alone = "1" if options.channels and not options.speakers else ""
    return [
        AudioTrack(sound.samples, segmentation.speech_regions(), label or alone)
        for (label, sound), segmentation in zip(audio.sounds, segmentations, strict=True)
    ]


def _part(progress: Progress, stage: str, start: float, end: float) -> Callable[[float], None]:
    """Callback for the progress of one stage, scaled to the whole call's. Reports the stage at once."""
    progress(stage, start)
    return lambda share: progress(stage, start + (end - start) * min(1.0, share))
