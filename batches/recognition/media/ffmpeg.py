"""ffmpeg command lines, environment and sandbox."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from batches.recognition.errors import EXHAUSTED, FfmpegUnavailable, HostExhausted, UnexpectedFailure
from batches.recognition.media import wave_sizes
from batches.recognition.runtime import oom_kills, sandbox

# Demuxers by ffmpeg's names: the inputs of PRODUCT.md, their raw streams, and what telephones, cameras and
# dictation machines write. No playlists, scripts or images.
FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "asf", "au", "avi", "caf", "dss", "eac3", "flac", "flv",
    "gsm", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpeg", "mpegts", "mxf", "ogg", "rm", "w64",
    "wav", "wv",
)  # fmt: skip
OLDEST = 4  # major version; older ones do not have all options that are used here
_MEMORY = 2 * 1024**3  # bytes of address space
_START_SECONDS = 20.0  # in which ffmpeg tells its version
_THREADS = 8  # at most, of one ffmpeg
# Exit statuses when it is refused a thread or a file; not memory, of which a damaged file may want too much.
_EXHAUSTED = frozenset(256 - number for number in EXHAUSTED - {errno.ENOMEM})
_VERSION = re.compile(r"ffmpeg version n?([0-9]+)\.")


def program(*, seconds: float = _START_SECONDS) -> str:
    """Path of ffmpeg. Raises FfmpegUnavailable if it is missing, does not run or is too old.

    It runs if it tells its version within ``seconds``.
    """
    try:
        path = str(_installed())
    except (ImportError, RuntimeError) as error:
        raise FfmpegUnavailable("ffmpeg was not found: install the package imageio-ffmpeg.") from error
    if shutil.which(path) is None:
        raise FfmpegUnavailable("ffmpeg is not where imageio-ffmpeg has it, or may not be executed.")
    version(path, Path(path).stat().st_mtime_ns, seconds)
    return path


def _installed() -> Path:
    """Path of imageio-ffmpeg's program. Raises RuntimeError, and ImportError without that package."""
    import imageio_ffmpeg  # here, since the GPU check runs without ffmpeg

    return Path(imageio_ffmpeg.get_ffmpeg_exe())


@lru_cache(maxsize=4)
def version(path: str, _modified: int = 0, seconds: float = _START_SECONDS) -> str:
    """First line that ffmpeg says of itself. Raises FfmpegUnavailable if it does not run or is too old."""
    try:
        told = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=seconds, check=True, env=environment()
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or [f"it ended with status {error.returncode}"]
        raise FfmpegUnavailable(f"ffmpeg does not start: {last[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise FfmpegUnavailable(f"ffmpeg does not answer within {seconds:.0f} seconds.") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise FfmpegUnavailable(f"ffmpeg does not start: {error}") from error
    line = (told.stdout.splitlines() or [""])[0]
    if (found := _VERSION.match(line)) and int(found[1]) < OLDEST:  # Builds of a commit have no number.
        raise FfmpegUnavailable(f"ffmpeg is too old ({line[:60]}): version {OLDEST}.0 is needed at least.")
    return line


def command_line(source: Sequence[str], output: Sequence[str]) -> list[str]:
    """Command line of ffmpeg, from the options for its input and its output."""
    return [
        program(), "-nostdin", "-hide_banner", "-nostats", "-threads", "1",
        "-protocol_whitelist", "file,pipe,subfile", "-format_whitelist", ",".join(FORMATS),
        *source, *output,
    ]  # fmt: skip


def command(path: Path, output: Sequence[str]) -> list[str]:
    """Command line of ffmpeg for one input file."""
    return command_line(source(path), output)


def source(path: Path) -> list[str]:
    """Input options for a whole file."""
    # "file:" keeps a name that starts with "-" or holds a ":" from meaning something else.
    wave = wave_sizes.read(path)
    unknown = ["-f", "wav", "-ignore_length", "1"] if wave and not wave.is_known else []
    return [*unknown, "-i", f"file:{path}"]


def link_source(path: Path, start: int, end: int) -> list[str]:
    """Input options for a byte range of a file."""
    return ["-i", f"subfile,,start,{start},end,{end},,:file:{path}"]


def environment() -> dict[str, str]:
    """Complete environment of ffmpeg."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


def was_refused(status: int) -> bool:
    """Whether ffmpeg ended with this exit status for want of threads or open files.

    A damaged file may cause the same status, so this process tries whether it gets as many of both.
    """
    if status not in _EXHAUSTED:
        return False
    end = threading.Event()
    try:
        for _ in range(_THREADS):
            threading.Thread(target=end.wait, daemon=True).start()
        with contextlib.ExitStack() as files:
            for _ in range(_THREADS):
                files.enter_context(Path(os.devnull).open())
    except (RuntimeError, OSError):
        return True
    finally:
        end.set()
    return False


def require_own_end(status: int, oom_kills_before: int) -> None:
    """Raise an error if ffmpeg did not end by itself: HostExhausted, or UnexpectedFailure if it was killed.

    ``oom_kills_before`` is the number of OOM kills at its start.
    """
    if was_refused(status):
        raise HostExhausted
    if status == -signal.SIGKILL:
        if oom_kills.count() > oom_kills_before:
            raise HostExhausted("The kernel ended ffmpeg, since the machine had no memory left.")
        raise UnexpectedFailure("ffmpeg was killed (SIGKILL) by somebody.")


@contextlib.contextmanager
def started_in_sandbox() -> Iterator[None]:
    """Raise FfmpegUnavailable where :func:`confine` failed in a new process."""
    try:
        yield
    except subprocess.SubprocessError as error:
        if isinstance(error, subprocess.TimeoutExpired):
            raise
        raise FfmpegUnavailable("ffmpeg does not start: its sandbox cannot be set up.") from error


def confine(path: Path, parent: int) -> None:
    """Sandbox of ffmpeg, for ``preexec_fn``: access to one file, no network, limited memory.

    ``manage.py doctor`` reports restrictions that the system does not support.
    """
    program = _installed()
    sandbox.confine(
        readable=[*sandbox.system_libraries(), program, path], writable=[], devices=[Path("/dev/null")]
    )
    sandbox.lower_limit(resource.RLIMIT_AS, _MEMORY)
    sandbox.die_with_parent(parent)
