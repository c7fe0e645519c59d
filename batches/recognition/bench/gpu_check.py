"""GPU check: verifies recognition on this GPU and measures its speed, within four minutes.

    python -m batches.recognition.bench.gpu_check prepare   where ffmpeg and the models are
    python -m batches.recognition.bench.gpu_check run       where the GPU is

``prepare`` writes a kit of models, decoded recordings, the tokens of the CPU in float32, and the packages
openai-whisper and asteroid-filterbanks. ``run`` compares the GPU's tokens with those, and measures speed.
Beside this source tree and the kit, whose ``packages`` belong on PYTHONPATH, it needs Python packages only:
torch, torchaudio, numpy, numba, scipy and tiktoken.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from batches.recognition import registry
from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.chunks import Chunk, make_chunks
from batches.recognition.asr.continuous.decoder import ContinuousDecoder
from batches.recognition.asr.continuous.loading import load_decoder, read_checkpoint
from batches.recognition.asr.whisper_model import AudioModel
from batches.recognition.asr.whisper_recogniser import WhisperRecogniser
from batches.recognition.bench.gpu_kit import ExpectedChunk, Kit, KitRecording, join
from batches.recognition.bench.gpu_shape import ShapeRecogniser, load_shape
from batches.recognition.contracts import Diarizer, SpeechRecogniser
from batches.recognition.diarization.segmentation import Segmenter
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.models.catalogue import DEFAULT_SPEAKERS, DEFAULT_WHISPER
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.providers import LoadSettings
from batches.recognition.runtime import device as devices
from batches.recognition.runtime.batching import BatchThread
from batches.recognition.transcript import Transcript

DEFAULT_KIT = Path("var/gpu-check")
_LEAST_EQUAL = 0.95  # share of recordings and of chunks with the results of the CPU
_TOLERANCE = 0.1  # s between two edges of the same piece of a chunk
_ROUNDS = 2  # of which the faster counts


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the result. ``goal`` is in times real time; 0 for none."""

    name: str
    audio: float  # seconds of sound
    wall: float  # seconds
    goal: float

    @property
    def speed(self) -> float:
        return self.audio / self.wall


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Pipeline from samples to transcript, with the models of one engine."""

    segmenter: Segmenter
    recogniser: SpeechRecogniser
    diarizer: Diarizer

    def run(self, samples: Samples, language: str, *, speakers: bool) -> Transcript:
        from batches.recognition.alignment.speaker_assignment import assign_speakers
        from batches.recognition.runtime.segment_builder import AudioTrack
        from batches.recognition.runtime.transcription import transcribe

        segmentation = self.segmenter.run(samples)
        track = AudioTrack(samples, segmentation.speech_regions())
        transcript = transcribe(self.recogniser, [track], Options(language=language), _ignore)
        if speakers and transcript.segments:
            turns = self.diarizer.diarize(
                samples, segmentation, min_speakers=-1, max_speakers=-1, progress=_ignore
            )
            transcript = assign_speakers(transcript, turns)
        return transcript


def _ignore(_share: float) -> None:
    return


def _words(transcript: Transcript) -> int:
    return sum(len(segment.words) for segment in transcript.segments)


class GpuCheck:
    """The run on one device."""

    def __init__(
        self, kit: Kit, device: torch.device, *, seconds: float, shape: str, memory: int, most: int
    ) -> None:
        self._kit, self._device = kit, device
        self._seconds, self._shape, self._memory = seconds, shape, memory
        self._store = ModelStore(kit.models)
        self._recordings = kit.read_recordings()[:most]
        devices.make_current(device)
        self._batches = BatchThread(
            "recognition", lambda: devices.make_current(device), gather=devices.gather_seconds(device)
        )
        self._settings = LoadSettings(store=self._store, device=device, batches=self._batches)
        self._segmenter = Segmenter(
            self._store.speakers(DEFAULT_SPEAKERS).segmentation, batches=self._batches, device=device
        )
        self._segmenter.warm_up()
        self._started = time.perf_counter()
        self.measurements: list[Measurement] = []

    def run(self) -> bool:
        """Print all results; returns whether the tokens are correct and the goals reached."""
        self._print(
            f"{devices.describe(self._device)}; torch {torch.__version__}; Python {platform.python_version()}"
        )
        devices.limit_memory(self._device, self._memory)
        precision = "auto" if devices.is_gpu(self._device) else "float32"  # as the tokens to compare with
        decoder, vocabulary = open_decoder(
            self._store, self._device, precision=precision, memory=self._memory
        )
        self._print(f"decoder ready, {decoder.rows[0]} rows")
        right = self._compare(decoder)
        recogniser = WhisperRecogniser(
            decoder,
            vocabulary,
            name="openai-whisper",
            model=vocabulary.name,
            in_flight=2 * decoder.rows[0],
            speculates=True,
            scorer=decoder,
        )
        self._measure(DEFAULT_WHISPER, recogniser, (3000, 1500, 2000, 800))
        decoder.close()
        del recogniser, decoder
        devices.release_memory(self._device)
        if self._shape:
            with load_shape(self._shape, self._device, self._memory) as shaped:
                self._print(f"* {ShapeRecogniser.__doc__}")
                self._measure(f"{self._shape}'s shape*", shaped, (2000, 1200, 0, 0))
        self._batches.close()
        peak = devices.peak_memory(self._device) / 2**30
        self._print(f"peak memory {peak:.1f} GiB (limit {self._memory / 2**30:.0f})")
        reached = all(each.speed >= each.goal for each in self.measurements)
        self._print("goals reached" if reached else "GOALS MISSED")
        return right and reached

    def _print(self, text: str) -> None:
        print(f"[{time.perf_counter() - self._started:6.1f}] {text}", flush=True)

    def _compare(self, decoder: ContinuousDecoder) -> bool:
        """Whether nearly all recordings have the same chunks, and nearly all chunks the same tokens."""
        expected = [chunk for chunk in self._kit.read_expected() if chunk.recording < len(self._recordings)]
        chunks = [
            [list(chunk.pieces) for chunk in _chunks(self._segmenter, recording.samples)]
            for recording in self._recordings
        ]
        requests = [
            _request(self._recordings[chunk.recording], Chunk(tuple(chunk.pieces))) for chunk in expected
        ]
        equal_chunks = [
            _alike(found, [chunk.pieces for chunk in expected if chunk.recording == number])
            for number, found in enumerate(chunks)
        ]
        tokens = _tokens(decoder, requests)
        equal_tokens = [one == other.tokens for one, other in zip(tokens, expected, strict=True)]
        cut_alike = self._enough("recordings cut", equal_chunks)
        return self._enough("chunks' tokens", equal_tokens) and cut_alike

    def _enough(self, name: str, equal: list[bool]) -> bool:
        self._print(f"{name} as on the CPU in float32: {sum(equal)} of {len(equal)}")
        good = sum(equal) >= _LEAST_EQUAL * len(equal)
        if not good:
            self._print(f"TOO FEW: at least {_LEAST_EQUAL:.0%} must be equal")
        return good

    def _measure(self, name: str, recogniser: SpeechRecogniser, goals: tuple[float, ...]) -> None:
        """Measure one recogniser on the long recording and on all recordings at once."""
        diarizer = registry.find_diarizer(DEFAULT_SPEAKERS, self._store).load(
            DEFAULT_SPEAKERS, self._settings
        )
        pipeline = Pipeline(self._segmenter, recogniser, diarizer)
        english = [recording for recording in self._recordings if recording.language == "en"]
        long = join(english, self._seconds)
        count = len(self._recordings)

        def run_long(*, speakers: bool) -> int:
            return _words(pipeline.run(long, "en-US", speakers=speakers))

        def run_short(*, speakers: bool) -> int:
            def one(recording: KitRecording) -> int:
                return _words(pipeline.run(recording.samples, recording.language, speakers=speakers))

            with ThreadPoolExecutor(count) as pool:
                return sum(pool.map(one, self._recordings))

        seconds = len(long) / SAMPLE_RATE
        short = sum(recording.seconds for recording in self._recordings)
        works: list[tuple[str, float, Callable[[], int]]] = [
            (f"{name}, one recording of {seconds:.0f} s", seconds, lambda: run_long(speakers=False)),
            (f"{name}, the same with speakers", seconds, lambda: run_long(speakers=True)),
            (f"{name}, {count} recordings at once", short, lambda: run_short(speakers=False)),
            (f"{name}, the same with speakers", short, lambda: run_short(speakers=True)),
        ]
        for (title, audio, work), goal in zip(works, goals, strict=True):
            self._time(title, audio, goal, work)

    def _time(self, name: str, audio: float, goal: float, work: Callable[[], int]) -> None:
        walls = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            words = work()
            devices.synchronise(self._device)
            walls.append(time.perf_counter() - start)
        measurement = Measurement(name, audio, min(walls), goal)
        self.measurements.append(measurement)
        wanted = f", goal {goal:.0f}" if goal else ""
        each = " / ".join(f"{wall:.3f}" for wall in walls)
        self._print(f"{name}: {measurement.speed:.0f} x real time{wanted} ({each} s, {words} words)")


def open_decoder(
    store: ModelStore,
    device: torch.device,
    *,
    precision: str = "auto",
    memory: int = DEFAULT_GPU_MEMORY,
) -> tuple[ContinuousDecoder, AudioModel]:
    """The default model's decoder and vocabulary."""
    checkpoint = store.whisper(DEFAULT_WHISPER)
    dims, state_dict, heads = read_checkpoint(checkpoint)
    vocabulary = AudioModel(checkpoint.name, dims)
    decoder, _ = load_decoder(
        dims, state_dict, heads, vocabulary.tokenizer, device=device, precision=precision, memory=memory
    )
    return decoder, vocabulary


def _chunks(segmenter: Segmenter, samples: Samples) -> list[Chunk]:
    return make_chunks(samples, segmenter.run(samples).speech_regions())


def _alike(found: list[list[Region]], expected: list[list[Region]]) -> bool:
    """Whether the pieces of all chunks are the same, but for a few frames at their edges."""
    if [len(pieces) for pieces in found] != [len(pieces) for pieces in expected]:
        return False
    one, two = (np.array([edge for pieces in side for edge in pieces]) for side in (found, expected))
    return not one.size or bool(np.abs(one - two).max() <= _TOLERANCE)


def _request(recording: KitRecording, chunk: Chunk) -> DecodeRequest:
    return DecodeRequest(np.concatenate(chunk.views(recording.samples)), recording.language)


def _tokens(decoder: ContinuousDecoder, requests: list[DecodeRequest]) -> list[list[int]]:
    return [future.result().tokens for future in decoder.decode(requests)]


def prepare(kit: Kit, manifest: Path | None, models_dir: Path | None, most: int) -> None:
    """Decode the recordings, recognise them on the CPU, and write the kit."""
    from batches.recognition.bench.recordings import own_sample, read_manifest
    from batches.recognition.media.decoding import decode

    store = ModelStore(models_dir)
    recordings = [
        KitRecording(recording.path.name, recording.language, decode(recording.path).samples)
        for recording in (read_manifest(manifest)[:most] if manifest else [own_sample()])
    ]
    kit.write_recordings(recordings)
    kit.write_models(store.folder, [DEFAULT_WHISPER, DEFAULT_SPEAKERS])
    kit.write_packages()
    kit.write_expected(_expected(ModelStore(kit.models), kit.read_recordings()))
    size = sum(path.stat().st_size for path in kit.folder.rglob("*") if path.is_file())
    print(f"The kit is in {kit.folder}: {size / 2**20:.0f} MiB, {len(recordings)} recordings.")


def _expected(store: ModelStore, recordings: list[KitRecording]) -> list[ExpectedChunk]:
    """Chunks and tokens of the recordings on this machine's CPU."""
    segmenter = Segmenter(store.speakers(DEFAULT_SPEAKERS).segmentation)
    decoder, _ = open_decoder(store, torch.device("cpu"), precision="float32")
    chunks = [
        (number, chunk)
        for number, recording in enumerate(recordings)
        for chunk in _chunks(segmenter, recording.samples)
    ]
    tokens = _tokens(decoder, [_request(recordings[number], chunk) for number, chunk in chunks])
    decoder.close()
    return [
        ExpectedChunk(number, list(chunk.pieces), found)
        for (number, chunk), found in zip(chunks, tokens, strict=True)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check recognition on this machine's GPU.")
    parser.add_argument("--kit", type=Path, default=DEFAULT_KIT)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("prepare")
    making.add_argument("--manifest", type=Path, help="as of make bench; else pyannote.audio's sample")
    making.add_argument("--models-dir", type=Path)
    making.add_argument("--most", type=int, default=94, help="recordings")
    running = commands.add_parser("run")
    running.add_argument("--device", default="auto")
    running.add_argument("--seconds", type=float, default=3430.0, help="of the long recording")
    running.add_argument("--shape", default="large-v3-turbo", help="empty for none")
    running.add_argument("--memory", type=float, default=DEFAULT_GPU_MEMORY / 2**30, help="GiB")
    running.add_argument("--most", type=int, default=94, help="recordings")
    running.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    kit = Kit(arguments.kit)
    if arguments.command == "prepare":
        prepare(kit, arguments.manifest, arguments.models_dir, arguments.most)
        return 0
    if not (kit.folder / "expected.json").is_file():
        print(f"There is no kit in {kit.folder}. Make it with make gpu-kit.", file=sys.stderr)
        return 2
    check = GpuCheck(
        kit,
        devices.choose_device(arguments.device),
        seconds=arguments.seconds,
        shape=arguments.shape,
        memory=round(arguments.memory * 2**30),
        most=arguments.most,
    )
    good = check.run()
    if arguments.json:
        document = [{**asdict(each), "speed": each.speed} for each in check.measurements]
        arguments.json.write_text(json.dumps(document, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
