"""Media decoding: any container to 16 kHz mono samples, with the ffmpeg binary that imageio-ffmpeg ships.

The media is untrusted. ffmpeg is given one local file, and the kernel lets it open no other
(:mod:`batches.recognition.runtime.sandbox`). Besides, the demuxers that follow references to other files
(playlists, concat scripts, DASH) and those that draw or synthesise are not on the list of formats. It runs
under limits on time, memory and output, and dies with the thread that started it.
"""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from batches.recognition.errors import (
    NO_ROOM,
    DamagedMedia,
    EmptyFile,
    EncryptedMedia,
    FfmpegUnavailable,
    MediaTooLarge,
    MediaTooLong,
    NoAudioStream,
    NotMedia,
    WorkDiskFull,
)
from batches.recognition.media import containers
from batches.recognition.runtime import sandbox

SAMPLE_RATE = 16_000  # Hz, what Whisper and pyannote take
MAX_DURATION_MS = 6 * 3600 * 1000
MAX_BYTES = 2 * 1024**3
Samples = NDArray[np.float32]

# Demuxers by ffmpeg's names: the inputs of PRODUCT.md and their raw streams. No playlists, scripts or images.
FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "asf", "au", "avi", "caf", "eac3", "flac", "flv",
    "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpeg", "mpegts", "mxf", "ogg", "rm", "w64", "wav",
)  # fmt: skip
_PROBE_SECONDS = 60
_MEMORY = 2 * 1024**3  # bytes of address space of an ffmpeg
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_AUDIO_STREAM = re.compile(r"^\s+Stream #\d+:\d+.*: Audio: ([^\n]*)", re.MULTILINE)
# The field after the rate: "stereo", "5.1(side)", "3 channels (FL+FR+FC)", "1 channels".
_LAYOUT = re.compile(r"\d+ Hz, (?:(?P<count>\d+) channels|(?P<name>[a-z]+)|(?P<main>\d+)\.(?P<bass>\d+))")
_NAMED_LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "cube": 8}
_ENCRYPTED = re.compile(r"encrypted|\benc[av]\b|decryption key|drm", re.IGNORECASE)
_CUT_SHORT = re.compile(
    r"packet corrupt|corrupt input packet|file ended prematurely|truncated|end of file before|"
    r"partial file|ended unexpectedly|amr[nw]b @ \w+\] Corrupt bitstream",
    re.IGNORECASE,
)
# How ffmpeg ends where its output has no room: its status is the low byte of the negative error.
_NO_ROOM = frozenset([-signal.SIGXFSZ, *(256 - number for number in NO_ROOM)])
# How a program ends that does not start: not executable, a library missing, a system call refused.
_DOES_NOT_START = frozenset([126, 127, -signal.SIGSYS])
_MAGIC = (b"RIFF", b"FORM", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"#!AMR", b"FLV", b"0&\xb2u", b".snd")


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A file's properties before decoding, as ffmpeg reports them; 0 where unknown. ``duration`` in ms."""

    duration: int
    channels: int
    log: str


class UnnamedFile:
    """A temporary file without a name, which is closed with the last reference to it."""

    def __init__(self, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as this object

    def __del__(self) -> None:
        self.file.close()

    def fileno(self) -> int:
        return self.file.fileno()


@dataclass(frozen=True, slots=True)
class Audio:
    """Decoded sound: float32 samples, shape (n,), 16 kHz mono. ``truncated``: the file ends too early.

    ``file`` is the file that the samples are mapped from, where there is one.
    """

    samples: Samples
    truncated: bool
    file: UnnamedFile | None = field(default=None, compare=False, repr=False)

    def descriptor(self) -> int:
        """Of the file with the samples; it stays open as long as this object lives."""
        if self.file is None:
            raise ValueError("these samples lie in no file")
        return self.file.fileno()

    @property
    def duration(self) -> int:
        """ms"""
        return round(len(self.samples) * 1000 / SAMPLE_RATE)


def program() -> str:
    """The path of ffmpeg. Raises FfmpegUnavailable where it is missing or may not be executed."""
    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegUnavailable("ffmpeg was not found: install the package imageio-ffmpeg.") from error
    if shutil.which(path) is None:
        raise FfmpegUnavailable("ffmpeg is not where imageio-ffmpeg has it, or may not be executed.")
    return path


def _command(path: Path, output: Sequence[str]) -> list[str]:
    return [
        program(), "-nostdin", "-hide_banner", "-nostats", "-threads", "1",
        "-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(FORMATS),
        # "file:" keeps a name that starts with "-" or holds a ":" from meaning something else.
        "-i", f"file:{path}", *output,
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    """The whole environment of ffmpeg."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


def _confine(path: Path, parent: int) -> None:
    """For ``preexec_fn``: let ffmpeg see one file, and give it neither network nor much memory.

    What a system cannot confine is reported by ``manage.py doctor``, not here.
    """
    program = Path(imageio_ffmpeg.get_ffmpeg_exe())
    sandbox.confine(
        readable=[*sandbox.system_libraries(), program, path], writable=[], devices=[Path("/dev/null")]
    )
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    sandbox.die_with_parent(parent)


def probe(path: Path, *, max_bytes: int = MAX_BYTES, seconds: float = _PROBE_SECONDS) -> MediaInfo:
    """Read a file's container without decoding it, in at most ``seconds``.

    Raises EmptyFile, MediaTooLarge, NotMedia, DamagedMedia and their kind. What reads the file has neither a
    network nor this process's environment, and sees no other file.
    """
    size = path.stat().st_size
    if size == 0:
        raise EmptyFile
    if size > max_bytes:
        raise MediaTooLarge(bytes=size, limit_bytes=max_bytes)
    try:
        # Without an output ffmpeg describes the input and ends with status 1: that is all we want here.
        result = subprocess.run(
            _command(path, []),
            capture_output=True,
            timeout=seconds,
            check=False,
            env=_environment(),
            preexec_fn=functools.partial(_confine, path, os.getpid()),
        )
    except subprocess.TimeoutExpired as error:
        raise DamagedMedia("The file could not be read in reasonable time.") from error
    log = result.stderr.decode(errors="replace")
    if result.returncode in _DOES_NOT_START:
        last = log.strip().splitlines()[-1:] or [f"it ended with status {result.returncode}"]
        raise FfmpegUnavailable(f"ffmpeg does not start: {last[0]}")
    if "\nInput #0" not in "\n" + log:
        raise _unreadable(path, log)
    streams = _AUDIO_STREAM.findall(log)
    if not streams:
        raise _without_audio(log)
    if containers.sound_is_encrypted(path):
        raise _encrypted()
    duration = 0
    if match := _DURATION.search(log):
        hours, minutes, rest = match.groups()
        duration = round((int(hours) * 3600 + int(minutes) * 60 + float(rest)) * 1000)
    return MediaInfo(duration, _channel_count(streams[0]), log)


def _channel_count(stream: str) -> int:
    if not (match := _LAYOUT.search(stream)):
        return 0
    if name := match["name"]:
        return _NAMED_LAYOUTS.get(name, 0)
    return int(match["count"]) if match["count"] else int(match["main"]) + int(match["bass"])


def _unreadable(path: Path, log: str) -> Exception:
    if _ENCRYPTED.search(log):
        return _encrypted()
    with path.open("rb") as file:
        head = file.read(16)
    known = head.startswith(_MAGIC) or head[4:8] in {b"ftyp", b"moov", b"mdat"}
    if known or re.search(r"moov atom not found|no 'data' tag", log):
        return DamagedMedia(
            "The file is damaged: its beginning or its index is missing. Was the upload or recording cut off?"
        )
    return NotMedia()


def _encrypted() -> EncryptedMedia:
    return EncryptedMedia()


def _without_audio(log: str) -> Exception:
    if _ENCRYPTED.search(log):
        return _encrypted()
    if "Stream #" in log:
        return NoAudioStream()
    return NotMedia("The file holds no audio or video.")


def decode(
    path: Path,
    *,
    max_duration_ms: int = MAX_DURATION_MS,
    max_bytes: int = MAX_BYTES,
    channel: int | None = None,
    progress: Callable[[float], None] | None = None,
    scratch: Path | None = None,
) -> Audio:
    """Decode the first audio stream of a file to 16 kHz mono.

    ``channel`` picks one channel (from 0) instead of mixing all down. ``scratch`` is the folder for decoded
    sound, by default the system's. Raises the MediaErrors of
    :mod:`batches.recognition.errors`. What can be decoded of a damaged file is returned, marked truncated.
    """
    info = probe(path, max_bytes=max_bytes)
    if info.duration > max_duration_ms:
        raise _too_long(info.duration, max_duration_ms)
    mix = ["-ac", "1"] if channel is None else ["-af", f"pan=mono|c0=c{channel}"]
    # One second over the limit is decoded, so that a container which lies about its length is noticed.
    limit = max_duration_ms / 1000 + 1
    output = [
        "-map", "0:a:0", "-vn", "-sn", "-dn", *mix, "-ar", str(SAMPLE_RATE), "-t", f"{limit:.3f}",
        "-f", "f32le", "-",
    ]  # fmt: skip
    timeout = 120 + limit / 10
    sound, samples, log = _run(_command(path, output), path, scratch, info.duration, timeout, progress)
    if len(samples) > max_duration_ms * SAMPLE_RATE // 1000 + SAMPLE_RATE // 10:
        raise _too_long(len(samples) * 1000 // SAMPLE_RATE, max_duration_ms)
    if len(samples) == 0:
        if _ENCRYPTED.search(log):
            raise _encrypted()
        raise DamagedMedia("The file has an audio stream, but no sound in it could be decoded.")
    _make_sane(samples)
    duration = len(samples) * 1000 // SAMPLE_RATE
    short = duration < 0.9 * _audio_duration(info) - 500
    truncated = short or bool(_CUT_SHORT.search(log)) or containers.ends_early(path)
    return Audio(samples, truncated, sound)


def _audio_duration(info: MediaInfo) -> int:
    """The container's duration where it is the sound's: a video may well be longer than its sound."""
    return 0 if "Video:" in info.log or "Estimating duration" in info.log else info.duration


def _too_long(duration: int, limit: int) -> MediaTooLong:
    return MediaTooLong(duration_ms=duration, limit_ms=limit)


def _make_sane(samples: Samples) -> None:
    """Clip to -1..1 in place: broken streams decode to NaN or huge values, which spoil all later steps."""
    for start in range(0, len(samples), 1 << 20):
        block = samples[start : start + (1 << 20)]
        peak = np.abs(block).max()
        if not peak <= 1.0:
            block[:] = np.clip(np.nan_to_num(block), -1.0, 1.0)


def _run(
    command: list[str],
    path: Path,
    scratch: Path | None,
    duration: int,
    timeout: float,
    progress: Callable[[float], None] | None,
) -> tuple[UnnamedFile, Samples, str]:
    """The file and the samples that ffmpeg writes, and its log. DamagedMedia after ``timeout`` seconds.

    The samples lie in an unnamed file that is mapped into memory: six hours of sound would otherwise take
    1.4 GB that the kernel cannot take back.
    """
    expected = max(1, duration * SAMPLE_RATE // 1000 * 4)
    sound = UnnamedFile(scratch)
    with tempfile.TemporaryFile(dir=scratch) as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sound.file, stderr=log, env=_environment(),
            preexec_fn=functools.partial(_confine, path, os.getpid()),
        )  # fmt: skip
        deadline = time.monotonic() + timeout
        wait = 0.01
        try:
            while _still_runs(process, wait):
                wait = min(0.5, wait * 2)
                if time.monotonic() > deadline:
                    raise DamagedMedia("The file could not be decoded in reasonable time.")
                if progress:
                    progress(min(1.0, os.fstat(sound.fileno()).st_size / expected))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode in _NO_ROOM:  # What there is of the sound looks as if the file ended there.
            raise WorkDiskFull
        log.seek(0)
        text = log.read(1 << 20).decode(errors="replace")
    count = os.fstat(sound.fileno()).st_size // 4
    sound.file.truncate(count * 4)
    samples = np.memmap(sound.file, dtype="<f4", mode="r+", shape=(count,)) if count else np.empty(0, "<f4")
    return sound, samples, text


def _still_runs(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
