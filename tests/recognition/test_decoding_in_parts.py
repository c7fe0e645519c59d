"""Parallel decoding: a long compressed file decoded in parts has the samples of one pass."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from batches.recognition.media import parts
from batches.recognition.media.decoding import SAMPLE_RATE, decode
from batches.recognition.runtime import engine_slots
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import Endpoint
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

LOOPS = 4  # of the sample of 30 s
# Containers and codecs that people send, at rates that are resampled and at 16 kHz.
ENCODINGS = {
    "mp3 at a constant rate": ("a.mp3", ["-ar", "44100", "-b:a", "96k"]),
    "mp3 at a variable rate": ("a.mp3", ["-ar", "44100", "-q:a", "5"]),
    "m4a": ("a.m4a", ["-ar", "48000", "-c:a", "aac", "-b:a", "96k"]),
    "aac without a container": ("a.aac", ["-ar", "44100", "-c:a", "aac"]),
    "opus": ("a.ogg", ["-c:a", "libopus", "-b:a", "32k"]),
    "flac": ("a.flac", ["-ar", "22050"]),
    "matroska": ("a.mka", ["-ar", "16000", "-c:a", "libvorbis"]),
}

INEXACT = {"m4a", "aac without a container", "opus"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes that do not repeat: each loop has another loudness."""
    sample = load_sample()
    loops = [sample * (1 - number / 8) for number in range(LOOPS)]
    return write_wav(tmp_path_factory.mktemp("parts") / "speech.wav", np.concatenate(loops))


@pytest.fixture(autouse=True)
def short_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_SECONDS", 30.0)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each file, whether its parts could be joined."""
    outcomes: list[bool] = []
    real = parts.decode

    def decode_parts(*arguments: Any) -> Any:
        found = real(*arguments)
        outcomes.append(found is not None)
        return found

    monkeypatch.setattr(parts, "decode", decode_parts)
    return outcomes


def encode(source: Path, target: Path, options: list[str]) -> Path:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-nostdin", "-v", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.mark.parametrize("name", ENCODINGS)
def test_samples_are_those_of_one_pass(source: Path, tmp_path: Path, joined: list[bool], name: str) -> None:
    file, options = ENCODINGS[name]
    path = encode(source, tmp_path / file, options)
    shares: list[float] = []
    whole = decode(path)
    split = decode(path, processes=3, progress=shares.append)
    assert np.array_equal(split.samples, whole.samples)
    assert split.truncated == whole.truncated
    assert os.fstat(split.descriptor()).st_size == 4 * len(split.samples)
    # Where no two starts give the same samples, the file is decoded in one pass.
    assert joined == [name not in INEXACT]
    assert all(0 <= share <= 1 for share in shares)


def test_a_file_cut_short_is_what_one_pass_makes_of_it(source: Path, tmp_path: Path) -> None:
    path = encode(source, tmp_path / "a.mp3", ["-ar", "44100", "-b:a", "96k"])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    whole, split = decode(path), decode(path, processes=3)
    assert np.array_equal(split.samples, whole.samples)
    assert split.truncated == whole.truncated


def test_silence_where_parts_meet_proves_nothing(tmp_path: Path, joined: list[bool]) -> None:
    sample = load_sample()
    silence = np.zeros(60 * SAMPLE_RATE, dtype=np.float32)
    wav = write_wav(tmp_path / "speech.wav", np.concatenate([sample, silence, sample]))
    path = encode(wav, tmp_path / "a.flac", [])
    assert np.array_equal(decode(path, processes=2).samples, decode(path).samples)
    assert joined == [False]


def test_short_and_uncompressed_files_are_decoded_in_one_pass(
    source: Path, tmp_path: Path, joined: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(source, processes=3)  # PCM costs nothing to decode
    monkeypatch.setattr(parts, "LEAST_SECONDS", 600.0)
    decode(encode(source, tmp_path / "a.mp3", []), processes=3)
    assert joined == []


class GivenUp(Exception):
    pass


def test_giving_a_file_up_ends_all_its_processes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(source, tmp_path / "a.mp3", [])
    started: list[int] = []
    real: Callable[..., Any] = subprocess.Popen

    class Noted(real):  # type: ignore[misc,valid-type] # of a class that is patched in
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)

    def give_up(_share: float) -> None:
        raise GivenUp

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with pytest.raises(GivenUp):
        decode(path, processes=3, progress=give_up)
    assert len(started) >= 3
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def test_free_slots_are_shared_and_the_first_is_waited_for(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    with engine_slots.decoding(tmp_path, tick=lambda: None, most=cores + 1) as first:
        assert first == cores

        def give_up() -> None:
            raise GivenUp

        with pytest.raises(GivenUp), engine_slots.decoding(tmp_path, tick=give_up):
            pass
    with engine_slots.decoding(tmp_path, tick=lambda: None) as second:
        assert second == 1


@pytest.mark.parametrize(("device", "several"), [("cpu", False), ("cuda:0", True)])
def test_a_worker_shares_a_file_among_cores_only_before_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path, device: str, several: bool
) -> None:
    asked: list[int] = []

    def noted(*_arguments: Any, processes: int, **_options: Any) -> Any:
        asked.append(processes)
        return decode(source)

    monkeypatch.setattr("batches.recognition.media.sounds.decode", noted)
    client = RecognitionClient([Endpoint(tmp_path, 0, device, 2)])
    client.decode_ahead(source, decoding_options(), lambda _share: None)
    assert asked == [min(8, len(os.sched_getaffinity(0))) if several else 1]


def decoding_options() -> Any:
    from batches.recognition.options import Options

    return Options(language="en")
