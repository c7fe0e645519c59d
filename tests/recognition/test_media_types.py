"""Media types: every supported type of input is decoded to the original audio, whatever its name says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from batches.recognition.media.decoding import SAMPLE_RATE, Samples, decode
from tests.recognition.sounds import convert, write_wav
from tests.sample_speech import load_sample

SECONDS = 4
PICTURES = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=4"]
CONTAINERS: dict[str, list[str]] = {
    "mp3": [],
    "aac": [],
    "ac3": [],
    "ogg": ["-c:a", "libvorbis"],
    "flac": [],
    "wav": [],
    "m4a": [],
    "avi": PICTURES,
    "mp4": PICTURES,
    "mov": PICTURES,
    "wmv": PICTURES,
    "flv": [*PICTURES, "-ar", "44100"],
    "mkv": PICTURES,
    "opus": [],
    "webm": [*PICTURES, "-c:v", "libvpx", "-deadline", "realtime"],
    "amr": ["-ar", "8000", "-c:a", "libopencore_amrnb"],
    "wma": [],
    "aiff": [],
    "mpeg": [*PICTURES, "-r", "25"],
    "ts": PICTURES,
}
KINDS_OF_SOUND: dict[str, list[str]] = {
    "8 kHz": ["-ar", "8000"],
    "192 kHz": ["-ar", "192000"],
    "8 bits": ["-c:a", "pcm_u8"],
    "24 bits": ["-c:a", "pcm_s24le"],
    "floating point": ["-c:a", "pcm_f32le"],
    "telephone": ["-ar", "8000", "-c:a", "pcm_mulaw"],
    "stereo": ["-ac", "2", "-ar", "48000"],
    "surround": ["-af", "aformat=channel_layouts=5.1"],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    speech = load_sample()[12 * SAMPLE_RATE : (12 + SECONDS) * SAMPLE_RATE]
    return write_wav(tmp_path_factory.mktemp("source") / "source.wav", speech)


def likeness(one: Samples, other: Samples) -> float:
    """The correlation of two sounds at the best shift, 0..1."""
    size = 2 * max(len(one), len(other))
    product = np.fft.irfft(np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size), size)
    return float(product.max() / np.sqrt(np.square(one).sum() * np.square(other).sum()))


@pytest.mark.parametrize("extension", CONTAINERS)
def test_each_container_is_decoded(source: Path, tmp_path: Path, extension: str) -> None:
    audio = decode(convert(source, tmp_path / f"a.{extension}", *CONTAINERS[extension]))
    assert audio.duration == pytest.approx(SECONDS * 1000, abs=150)
    assert not audio.truncated
    assert likeness(decode(source).samples, audio.samples) > 0.8


@pytest.mark.parametrize("kind", KINDS_OF_SOUND)
def test_each_kind_of_sound_is_decoded(source: Path, tmp_path: Path, kind: str) -> None:
    audio = decode(convert(source, tmp_path / "a.wav", *KINDS_OF_SOUND[kind]))
    assert audio.duration == SECONDS * 1000
    assert likeness(decode(source).samples, audio.samples) > 0.95


@pytest.mark.parametrize("name", ["video.wav", "video.mp3", "video", "비디오.txt", "-i.mp4", "a:b%d.mp4"])
def test_a_files_name_says_nothing_about_it(source: Path, tmp_path: Path, name: str) -> None:
    video = convert(source, tmp_path / "video.mp4", *CONTAINERS["mp4"])
    shutil.copy(video, tmp_path / name)
    assert decode(tmp_path / name).duration == SECONDS * 1000
