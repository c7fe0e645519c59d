"""Media decoding: any container to 16 kHz mono samples, with the ffmpeg binary that imageio-ffmpeg ships.

The media is untrusted. ffmpeg reads one local file, and the kernel lets it open no other
(:mod:`batches.recognition.runtime.sandbox`). In addition, demuxers that follow references to other files
(playlists, concat scripts, DASH) and those that draw or synthesise are not allowed. It runs with limits on
time, memory and output, and ends with the thread that started it.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

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
from batches.recognition.media import containers, ffmpeg, ffmpeg_log, mixing, ogg_chain, parts, wave_sizes
from batches.recognition.media.ffmpeg_log import AudioStream, InputDescription
from batches.recognition.runtime import oom_kills

SAMPLE_RATE = 16_000  # Hz, what Whisper and pyannote take
MAX_DURATION_MS = 6 * 3600 * 1000
MAX_BYTES = 2 * 1024**3
Samples = NDArray[np.float32]

_PROBE_SECONDS = 60
_MOST_LOG = 1 << 20  # bytes of ffmpeg's messages that are read
_TOLERANCE, _TOLERANCE_MS = 0.03, 500  # share of a file, and ms, by which its header may be wrong
_WAVE_TOLERANCE_MS = 50
# Fills gaps in the container, at the start and for missing packets, with silence.
_FILL = "aresample=async=1:first_pts=0"
# Exit statuses of ffmpeg when the output disk is full: the low byte of the negative errno.
_NO_ROOM = frozenset([-signal.SIGXFSZ, *(256 - number for number in NO_ROOM)])
# Exit statuses of a program that does not start: not executable, missing library, denied system call.
_DOES_NOT_START = frozenset([126, 127, -signal.SIGSYS])
_MAGIC = (b"RIFF", b"FORM", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"#!AMR", b"FLV", b"0&\xb2u", b".snd")


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Properties of a file before decoding, as reported by ffmpeg; 0 if unknown.

    ``duration`` is in ms, ``channels`` is that of the audio track which is decoded where none is named.
    """

    duration: int
    channels: int
    audio: tuple[AudioStream, ...] = ()
    has_exact_duration: bool = False  # of its sound: neither estimated nor a video's

    @property
    def preferred_track(self) -> int:
        """Index of the default decodable audio track, else of the first decodable one; 0 if there is none."""
        tracks = [index for index, stream in enumerate(self.audio) if stream.is_decodable]
        return next((index for index in tracks if self.audio[index].is_default), tracks[0] if tracks else 0)


class UnnamedFile:
    """Unnamed temporary file, closed with the last reference to it."""

    def __init__(self, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as this object

    def __del__(self) -> None:
        self.file.close()

    def fileno(self) -> int:
        return self.file.fileno()


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Decoded audio: float32 samples, shape (n,), 16 kHz mono.

    ``truncated``: audio of the file is missing, ``missing`` ms of it (0 if unknown). ``tracks_left_out``:
    number of audio tracks with sound that were skipped by choice. ``file`` is the file that the samples are
    mapped from, if any.
    """

    samples: Samples
    truncated: bool
    missing: int = 0
    tracks_left_out: int = 0
    file: UnnamedFile | None = field(default=None, repr=False)

    def descriptor(self) -> int:
        """Descriptor of the file with the samples; open as long as this object exists."""
        if self.file is None:
            raise ValueError("these samples lie in no file")
        return self.file.fileno()

    @property
    def duration(self) -> int:
        """Duration in ms."""
        return round(len(self.samples) * 1000 / SAMPLE_RATE)


def probe(path: Path, *, max_bytes: int = MAX_BYTES, seconds: float = _PROBE_SECONDS) -> MediaInfo:
    """Read a file's container without decoding it, in at most ``seconds``.

    Raises EmptyFile, MediaTooLarge, NotMedia, DamagedMedia and other MediaErrors. ffmpeg runs in a sandbox
    without network, this process's environment and other files.
    """
    size = path.stat().st_size
    if size == 0:
        raise EmptyFile
    if size > max_bytes:
        raise MediaTooLarge(bytes=size, limit_bytes=max_bytes)
    kills = oom_kills.count()
    try:
        # Without an output, ffmpeg describes the input and ends with status 1.
        with ffmpeg.started_in_sandbox():
            result = subprocess.run(
                ffmpeg.command(path, []),
                capture_output=True,
                timeout=seconds,
                check=False,
                env=ffmpeg.environment(),
                preexec_fn=functools.partial(ffmpeg.confine, path, os.getpid()),
            )
    except subprocess.TimeoutExpired as error:
        raise DamagedMedia("The file could not be read in reasonable time.") from error
    log = result.stderr.decode(errors="replace")
    if result.returncode in _DOES_NOT_START:
        last = log.strip().splitlines()[-1:] or [f"it ended with status {result.returncode}"]
        raise FfmpegUnavailable(f"ffmpeg does not start: {last[0]}")
    ffmpeg.require_own_end(result.returncode, kills)
    described = ffmpeg_log.describe(log)
    if described is None:
        raise _unreadable(path, log)
    if not described.audio:
        raise _without_audio(log, described)
    if containers.sound_is_encrypted(path):
        raise EncryptedMedia
    wave = wave_sizes.read(path)
    if wave and not wave.is_known:
        return MediaInfo(0, described.audio[0].channels, described.audio)
    exact = not described.has_video and not described.is_estimated
    info = MediaInfo(described.duration, 0, described.audio, exact)
    return replace(info, channels=info.audio[info.preferred_track].channels)


def _unreadable(path: Path, log: str) -> Exception:
    if ffmpeg_log.speaks_of_encryption(log):
        return EncryptedMedia()
    with path.open("rb") as file:
        head = file.read(16)
    known = head.startswith(_MAGIC) or head[4:8] in {b"ftyp", b"moov", b"mdat"}
    if known or "moov atom not found" in log or "no 'data' tag" in log:
        return DamagedMedia(
            "The file is damaged: its beginning or its index is missing. Was the upload or recording cut off?"
        )
    return NotMedia()


def _without_audio(log: str, described: InputDescription) -> Exception:
    if ffmpeg_log.speaks_of_encryption(log):
        return EncryptedMedia()
    if described.has_streams:
        return NoAudioStream()
    return NotMedia("The file holds no audio or video.")


def decode(
    path: Path,
    *,
    max_duration_ms: int = MAX_DURATION_MS,
    max_bytes: int = MAX_BYTES,
    track: int | None = None,
    channel: int | None = None,
    progress: Callable[[float], None] | None = None,
    scratch: Path | None = None,
    processes: int = 1,
) -> Audio:
    """Decode one audio track of a file to 16 kHz mono, at the times that its container gives.

    ``track`` is the index of an audio track, by default the preferred one; ``channel`` picks one channel
    (from 0) instead of mixing all down. Sound that starts late or pauses in the container is preceded or
    interrupted by silence. ``scratch`` is the folder for decoded sound, by default the system's. Up to
    ``processes`` decode a long file in parts at once, with the same samples. Raises the MediaErrors of
    :mod:`batches.recognition.errors`. What can be decoded of a damaged file is returned, marked truncated.
    """
    info = probe(path, max_bytes=max_bytes)
    if info.duration > max_duration_ms:
        raise _too_long(info.duration, max_duration_ms)
    number = info.preferred_track if track is None else track
    links = ogg_chain.links(path)
    # One second over the limit is decoded, so that a container which lies about its length is noticed.
    limit = max_duration_ms / 1000 + 1
    plan = _plan(info.audio[number], channel, chained=bool(links))

    def output(seconds: float) -> list[str]:
        return [
            "-map", f"0:a:{number}", "-vn", "-sn", "-dn", "-af", plan.filters, "-ac", str(plan.channels),
            "-ar", str(SAMPLE_RATE), "-t", f"{seconds:.3f}", "-f", "f32le", "-",
        ]  # fmt: skip

    sources = [ffmpeg.link_source(path, *each) for each in links] or [ffmpeg.source(path)]
    run = _Run(path, scratch, info.duration, 120 + limit / 10, progress, plan.channels)
    pays = processes > 1 and not links and not wave_sizes.read(path)
    if not (pays and run.decode_in_parts(sources[0], output, info.duration / 1000, processes, limit)):
        run.decode([ffmpeg.command_line(source, output(limit)) for source in sources])
    samples = run.samples()
    if len(samples) > max_duration_ms * SAMPLE_RATE // 1000 + SAMPLE_RATE // 10:
        raise _too_long(len(samples) * 1000 // SAMPLE_RATE, max_duration_ms)
    if len(samples) == 0:
        if ffmpeg_log.speaks_of_encryption(run.log):
            raise EncryptedMedia
        raise DamagedMedia("The file has an audio stream, but no sound in it could be decoded.")
    _make_sane(samples)
    missing = _missing(path, info, run, len(samples) * 1000 // SAMPLE_RATE, chained=bool(links))
    return Audio(samples, missing is not None, missing or 0, file=run.sound)


def _missing(path: Path, info: MediaInfo, run: _Run, duration: int, *, chained: bool) -> int | None:
    """Missing audio in ms, given ``duration`` ms decoded; 0 for an unknown amount, None if complete.

    Determined for WAV files by the header, for others by ffmpeg's messages and status, or by a container
    that declares a longer duration.
    """
    if wave := wave_sizes.read(path):
        return wave.missing if wave.missing > _WAVE_TOLERANCE_MS else None
    declared = 0 if chained else info.duration
    short = info.has_exact_duration and duration < (1 - _TOLERANCE) * declared - _TOLERANCE_MS
    if short or run.failed or ffmpeg_log.is_cut_short(run.log) or containers.ends_early(path):
        return max(0, declared - duration)
    return None


def time_filters(stream: AudioStream) -> list[str]:
    """ffmpeg filters that place each sample of a track at its time in the container."""
    return [*([f"asetpts=PTS+{stream.delay:.6f}/TB"] if stream.delay else []), _FILL]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Decoding plan of one track: ffmpeg filters and the number of output channels; two are mixed later."""

    filters: str
    channels: int


def _plan(stream: AudioStream, channel: int | None, *, chained: bool) -> _Plan:
    filters = time_filters(stream) if not chained else [_FILL]
    if chained:  # links may differ in their channels
        filters.append("aformat=channel_layouts=stereo")
    if channel is not None:
        return _Plan(",".join([*filters, f"pan=mono|c0=c{channel}"]), 1)
    if chained or stream.channels == 2:
        return _Plan(",".join(filters), 2)
    mixed = mixing.filter_of(stream)
    return _Plan(",".join([*filters, mixed] if mixed else filters), 1)


def _too_long(duration: int, limit: int) -> MediaTooLong:
    return MediaTooLong(duration_ms=duration, limit_ms=limit)


def _make_sane(samples: Samples) -> None:
    """Clip to -1..1 in place: broken streams decode to NaN or huge values, which break later steps."""
    for start in range(0, len(samples), 1 << 20):
        block = samples[start : start + (1 << 20)]
        peak = np.abs(block).max()
        if not peak <= 1.0:
            block[:] = np.clip(np.nan_to_num(block), -1.0, 1.0)


class _Run:
    """Decoding run of one track: one or more ffmpeg processes write to an unnamed, memory-mapped file.

    Otherwise six hours of audio would take 1.4 GB of unreclaimable memory.
    """

    def __init__(
        self,
        path: Path,
        scratch: Path | None,
        duration: int,
        timeout: float,
        progress: Callable[[float], None] | None,
        channels: int,
    ) -> None:
        """``duration`` is the expected one in ms; ``timeout`` in seconds applies to the whole run."""
        self.sound = UnnamedFile(scratch)
        self.log = ""
        self.failed = False  # whether an ffmpeg ended with an error
        self._path, self._scratch, self._progress = path, scratch, progress
        self._channels = channels
        self._expected = max(1, duration * SAMPLE_RATE // 1000 * 4 * channels)
        self._deadline = time.monotonic() + timeout

    def decode(self, commands: Sequence[list[str]]) -> None:
        """Run the commands in order. Raises DamagedMedia after the timeout, and WorkDiskFull."""
        for command in commands:
            kills = oom_kills.count()
            with tempfile.TemporaryFile(dir=self._scratch) as log:
                status = self._wait(command, log)
                if status in _NO_ROOM:  # The partial output would look like a complete file.
                    raise WorkDiskFull
                ffmpeg.require_own_end(status, kills)
                self.failed = self.failed or status != 0
                log.seek(0)
                self.log += log.read(_MOST_LOG).decode(errors="replace")

    def decode_in_parts(
        self,
        source: list[str],
        output: Callable[[float], list[str]],
        seconds: float,
        count: int,
        limit: float,
    ) -> bool:
        """Decode a file of about ``seconds`` in parallel parts; False if that would change the samples."""
        if seconds < parts.LEAST_SECONDS:
            return False

        def one(start: float, length: float, report: Callable[[float], None]) -> tuple[_Run, Samples, str]:
            left = self._deadline - time.monotonic()
            expected = round(min(seconds, length) * 1000)
            part = _Run(self._path, self._scratch, expected, left, report, self._channels)
            seek = ["-ss", f"{start:.3f}"] if start else []
            part.decode([ffmpeg.command_line([*seek, *source], output(length))])
            return part, part.frames(), part.log

        found = parts.decode(one, parts.divide(seconds, count), limit, self._progress)
        if found is None or any(ffmpeg_log.is_cut_short(log) for _frames, log in found):
            return False
        for frames, log in found:
            frames.tofile(self.sound.file)
            self.log += log
        self.sound.file.flush()
        return True

    def frames(self) -> Samples:
        """Decoded samples, (n, channels)."""
        count = os.fstat(self.sound.fileno()).st_size // (4 * self._channels)
        if not count:
            return np.empty((0, self._channels), "<f4")
        return np.memmap(self.sound.file, dtype="<f4", mode="r", shape=(count, self._channels))

    def _wait(self, command: list[str], log: IO[bytes]) -> int:
        with ffmpeg.started_in_sandbox():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self.sound.file, stderr=log,
                env=ffmpeg.environment(),
                preexec_fn=functools.partial(ffmpeg.confine, self._path, os.getpid()),
            )  # fmt: skip
        wait = 0.01
        try:
            while _still_runs(process, wait):
                wait = min(0.5, wait * 2)
                if time.monotonic() > self._deadline:
                    raise DamagedMedia("The file could not be decoded in reasonable time.")
                if self._progress:
                    self._progress(min(1.0, os.fstat(self.sound.fileno()).st_size / self._expected))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode

    def samples(self) -> Samples:
        """Decoded samples, (n,), mixed down to one channel."""
        file, width = self.sound.file, 4 * self._channels
        count = os.fstat(file.fileno()).st_size // width
        if count and self._channels == 2:
            pairs = np.memmap(file, dtype="<f4", mode="r+", shape=(count, 2))
            mixing.mix_in_place(pairs)
            pairs.flush()
            del pairs
        file.truncate(count * 4)
        return np.memmap(file, dtype="<f4", mode="r+", shape=(count,)) if count else np.empty(0, "<f4")


def _still_runs(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
