"""Media errors: unreadable and damaged files, each with its error and advice."""

import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from batches.recognition.errors import (
    DamagedMedia,
    EmptyFile,
    EncryptedMedia,
    MediaError,
    MediaTooLarge,
    MediaTooLong,
    NoAudioStream,
    NotMedia,
    RecognitionError,
)
from batches.recognition.media.decoding import MAX_BYTES, MAX_DURATION_MS, SAMPLE_RATE, decode
from batches.recognition.options import Options
from batches.recognition.runtime.engine import Engine
from tests.recognition.recognise import recognise
from tests.recognition.sounds import convert, write_wav
from tests.recognition.test_media_types import CONTAINERS
from tests.sample_speech import load_sample

CENC = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0f" * 16, "-encryption_kid", "a7" * 16]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    speech = load_sample()[12 * SAMPLE_RATE : 16 * SAMPLE_RATE]
    return write_wav(tmp_path_factory.mktemp("source") / "source.wav", speech)


def pictures(target: Path, *options: str) -> None:
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *CONTAINERS["mp4"][:4], *options, str(target)],
        check=True,
    )


def empty(path: Path, _source: Path) -> None:
    path.touch()


def noise(path: Path, _source: Path) -> None:
    path.write_bytes(np.random.default_rng(7).bytes(20_000))


def locked_archive(path: Path, _source: Path) -> None:
    path.write_bytes(b"PK\x03\x04\x14\x00\x01\x00" + np.random.default_rng(7).bytes(20_000))


def text(path: Path, _source: Path) -> None:
    path.write_text("This is not sound. " * 100)


def zeros(path: Path, _source: Path) -> None:
    path.write_bytes(bytes(50_000))


def playlist(path: Path, source: Path) -> None:
    path.write_text(f"#EXTM3U\n#EXTINF:4,\nfile://{source}\n")


def script(path: Path, source: Path) -> None:
    path.write_text(f"ffconcat version 1.0\nfile '{source}'\n")


def picture(path: Path, _source: Path) -> None:
    pictures(path, "-frames:v", "1", "-f", "apng")


def film_without_sound(path: Path, _source: Path) -> None:
    pictures(path, "-f", "mp4")


def encrypted(path: Path, source: Path) -> None:
    convert(source, path, "-f", "mp4", *CENC)


def encrypted_in_fragments(path: Path, source: Path) -> None:
    convert(source, path, "-f", "mp4", *CENC, "-movflags", "+frag_keyframe+empty_moov")


def header_alone(path: Path, source: Path) -> None:
    path.write_bytes(source.read_bytes()[:44])


def film_without_its_end(path: Path, source: Path) -> None:
    film = convert(source, path.with_suffix(".film.mp4"), *CONTAINERS["mp4"]).read_bytes()
    path.write_bytes(film[: len(film) // 2])


FAULTS: dict[Callable[[Path, Path], None], type[MediaError]] = {
    empty: EmptyFile,
    noise: NotMedia,
    locked_archive: NotMedia,
    text: NotMedia,
    zeros: NotMedia,
    playlist: NotMedia,
    script: NotMedia,
    picture: NotMedia,
    film_without_sound: NoAudioStream,
    encrypted: EncryptedMedia,
    encrypted_in_fragments: EncryptedMedia,
    header_alone: DamagedMedia,
    film_without_its_end: DamagedMedia,
}


@pytest.mark.parametrize("make", FAULTS, ids=lambda make: make.__name__)
def test_what_is_wrong_with_the_file_is_told(
    source: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    path = tmp_path / "a.mp3"
    make(path, source)
    with pytest.raises(RecognitionError) as refused:
        decode(path)
    error = refused.value
    assert type(error) is FAULTS[make]
    assert error.permanent
    assert error.message.endswith((".", "?"))
    assert str(tmp_path) not in error.message


# A raw AC3 stream says nowhere how long it is; an MP4 or MOV without its end has no index.
@pytest.mark.parametrize("extension", sorted({*CONTAINERS} - {"ac3", "m4a", "mp4", "mov"}))
def test_of_a_file_without_its_end_the_beginning_is_recognised_and_marked(
    source: Path, tmp_path: Path, extension: str
) -> None:
    whole = convert(source, tmp_path / f"a.{extension}", *CONTAINERS[extension]).read_bytes()
    path = tmp_path / f"half.{extension}"
    path.write_bytes(whole[: len(whole) // 2])
    audio = decode(path)
    assert audio.truncated
    assert 500 < audio.duration < 3000


def test_a_transcript_says_that_its_file_is_truncated(engine: Engine, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.wav"
    path.write_bytes(source.read_bytes()[:64_000])
    transcript = recognise(engine, path, Options(language="en"))
    assert transcript.flags == ["truncated"]
    assert transcript.text


def test_the_limits_are_six_hours_and_two_gigabytes() -> None:
    assert (MAX_DURATION_MS, MAX_BYTES) == (6 * 3600 * 1000, 2 * 1024**3)


def test_a_file_over_two_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (path := tmp_path / "large.wav").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(MediaTooLarge) as refused:
        decode(path)
    assert refused.value.details == {"bytes": MAX_BYTES + 1, "limit_bytes": MAX_BYTES}


def test_a_file_over_six_hours_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with wave.open(str(path := tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.setnframes(21_601 * 8000)
        file.writeframesraw(b"")
    with path.open("r+b") as hole:
        hole.truncate(44 + 21_601 * 8000)
    with pytest.raises(MediaTooLong) as refused:
        decode(path)
    assert refused.value.details["duration_ms"] == 21_601_000


def test_a_file_that_lies_about_its_length_is_refused_when_that_shows(source: Path, tmp_path: Path) -> None:
    raw = convert(source, tmp_path / "a.aac")  # its length is guessed from its first frames
    path = tmp_path / "long.aac"
    path.write_bytes(raw.read_bytes() * 3)
    with pytest.raises(MediaTooLong):
        decode(path, max_duration_ms=9_000)
    assert decode(path, max_duration_ms=13_000).duration > 11_000


def test_a_folder_and_a_missing_file_are_told_plainly(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NotMedia, match="not a file"):
        recognise(engine, tmp_path, Options())
    with pytest.raises(MediaError, match="cannot be opened"):
        recognise(engine, tmp_path / "none.mp3", Options())


@pytest.mark.parametrize("kind", [NotMedia, MediaTooLarge, EncryptedMedia])
def test_errors_travel_between_processes(kind: type[MediaError]) -> None:
    again = RecognitionError.from_dict(kind("Why.", bytes=3).to_dict())
    assert type(again) is kind
    assert (again.message, again.details) == ("Why.", {"bytes": 3})
