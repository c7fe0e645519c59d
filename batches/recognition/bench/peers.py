"""Benchmark variants of other engines with the same weights, each used as documented."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.variants import GPU, Found, Setup
from batches.recognition.media.decoding import decode
from batches.recognition.models.store import ModelStore
from batches.recognition.runtime import cublas
from batches.recognition.transcript import SpeakerTurn

_GPU_BATCH = 128  # 30-second windows at once: the fastest of 16 to 256 on an H200


class WhisperCommand:
    """openai-whisper's command line with its defaults: beam search, temperature fallback, 30 s at a time."""

    several = False

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def load(self) -> None:
        return  # the command loads its model itself, each time

    def run(self, recording: Recording) -> Found:
        setup = self._setup
        checkpoint = ModelStore(setup.models_dir).whisper(setup.whisper_model)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [
                    sys.executable, "-m", "whisper", str(recording.path), "--model", str(checkpoint.path),
                    "--device", setup.device, "--fp16", str(setup.device == GPU),
                    "--threads", str(setup.threads), "--language", recording.language,
                    "--output_format", "json", "--output_dir", folder, "--verbose", "False",
                ],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            (result,) = Path(folder).glob("*.json")
            return Found(json.loads(result.read_text(encoding="utf-8"))["text"])


class FasterWhisper:
    """faster-whisper: sequential, or batched with its own voice activity detection."""

    several = False

    def __init__(self, setup: Setup, *, compute_type: str, batched: bool, beam_width: int) -> None:
        self._setup = setup
        self._compute_type, self._batched, self._beam_width = compute_type, batched, beam_width
        self._transcribe: Any = None

    def load(self) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        from batches.recognition.models.faster_whisper_weights import faster_folder

        setup = self._setup
        if setup.device == GPU:
            cublas.require()
        folder = faster_folder(ModelStore(setup.models_dir).whisper(setup.whisper_model), setup.cache)
        model = WhisperModel(
            str(folder), device=setup.device, compute_type=self._compute_type, cpu_threads=setup.threads
        )
        self._transcribe = BatchedInferencePipeline(model).transcribe if self._batched else model.transcribe

    def run(self, recording: Recording) -> Found:
        default = _GPU_BATCH if self._setup.device == GPU else 8
        more = {"batch_size": self._setup.batch_size or default} if self._batched else {}
        segments, _ = self._transcribe(
            str(recording.path), language=recording.language, beam_size=self._beam_width, **more
        )
        return Found(" ".join(segment.text.strip() for segment in segments))


class WhisperCpp:
    """whisper.cpp through pywhispercpp: greedy, with the temperature fallback of its defaults."""

    several = False

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: Any = None

    def load(self) -> None:
        from pywhispercpp.model import Model

        from batches.recognition.bench.ggml import ggml_file

        setup = self._setup
        path = ggml_file(ModelStore(setup.models_dir).whisper(setup.whisper_model), setup.cache)
        self._model = Model(
            str(path), n_threads=setup.threads, redirect_whispercpp_logs_to=None, print_progress=False
        )

    def run(self, recording: Recording) -> Found:
        segments = self._model.transcribe(decode(recording.path).samples, language=recording.language)
        return Found(" ".join(segment.text.strip() for segment in segments))


class Transformers:
    """Hugging Face's Whisper: fixed windows of 30 s in batches, greedy, without timestamps."""

    several = False

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: Any = None
        self._features: Any = None
        self._tokenizer: Any = None

    def load(self) -> None:
        import torch

        from batches.recognition.bench.transformers_whisper import load

        setup = self._setup
        torch.set_num_threads(setup.threads)
        checkpoint = ModelStore(setup.models_dir).whisper(setup.whisper_model)
        self._model, self._features, self._tokenizer = load(checkpoint, setup.device)

    def run(self, recording: Recording) -> Found:
        import torch

        samples = decode(recording.path).samples
        windows = [samples[start : start + 480_000] for start in range(0, len(samples), 480_000)]
        size = self._setup.batch_size or (_GPU_BATCH if self._setup.device == GPU else 8)
        texts: list[str] = []
        for batch in _batched(windows, size):
            features = self._features(batch, sampling_rate=16_000, return_tensors="pt").input_features
            with torch.inference_mode():
                tokens = self._model.generate(
                    features.to(self._model.device, self._model.dtype),
                    language=recording.language,
                    task="transcribe",
                    num_beams=1,
                    do_sample=False,
                )
            end = self._tokenizer.eot
            texts += [
                self._tokenizer.decode([token for token in row if token < end]) for row in tokens.tolist()
            ]
        return Found(" ".join(text.strip() for text in texts))


def _batched(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


class Pyannote:
    """pyannote.audio's own diarization pipeline with its defaults and the same two models."""

    several = False

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._pipeline: Any = None

    def load(self) -> None:
        import torch

        from batches.recognition.bench.pyannote_pipeline import default_pipeline

        setup = self._setup
        found = ModelStore(setup.models_dir).speakers(setup.speaker_model)
        self._pipeline = default_pipeline(found, threads=setup.threads)
        self._pipeline.to(torch.device(setup.device))

    def run(self, recording: Recording) -> Found:
        import torch

        samples = decode(recording.path).samples
        with contextlib.redirect_stdout(sys.stderr):
            output = self._pipeline({"waveform": torch.from_numpy(samples)[None], "sample_rate": 16_000})
        tracks = output.speaker_diarization.itertracks(yield_label=True)
        return Found(
            turns=[
                SpeakerTurn(round(turn.start * 1000), round(turn.end * 1000), str(speaker))
                for turn, _, speaker in tracks
            ]
        )
