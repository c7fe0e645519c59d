"""The ffmpeg program: its command lines, its environment, and what the kernel lets it see."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

from batches.recognition.errors import FfmpegUnavailable
from batches.recognition.media import wave_sizes
from batches.recognition.runtime import sandbox

# Demuxers by ffmpeg's names: the inputs of PRODUCT.md, their raw streams, and what telephones, cameras and
# dictation machines write. No playlists, scripts or images.
FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "asf", "au", "avi", "caf", "dss", "eac3", "flac", "flv",
    "gsm", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpeg", "mpegts", "mxf", "ogg", "rm", "w64",
    "wav", "wv",
)  # fmt: skip
_MEMORY = 2 * 1024**3  # bytes of address space


def program() -> str:
    """The path of ffmpeg. Raises FfmpegUnavailable where it is missing or may not be executed."""
    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegUnavailable("ffmpeg was not found: install the package imageio-ffmpeg.") from error
    if shutil.which(path) is None:
        raise FfmpegUnavailable("ffmpeg is not where imageio-ffmpeg has it, or may not be executed.")
    return path


def command_line(source: Sequence[str], output: Sequence[str]) -> list[str]:
    """The command line of an ffmpeg, from the options for its input and its output."""
    return [
        program(), "-nostdin", "-hide_banner", "-nostats", "-threads", "1",
        "-protocol_whitelist", "file,pipe,subfile", "-format_whitelist", ",".join(FORMATS),
        *source, *output,
    ]  # fmt: skip


def command(path: Path, output: Sequence[str]) -> list[str]:
    """The command line of an ffmpeg that reads one file."""
    return command_line(source(path), output)


def source(path: Path) -> list[str]:
    """ffmpeg's options for a whole file."""
    # "file:" keeps a name that starts with "-" or holds a ":" from meaning something else.
    wave = wave_sizes.read(path)
    unknown = ["-f", "wav", "-ignore_length", "1"] if wave and not wave.is_known else []
    return [*unknown, "-i", f"file:{path}"]


def link_source(path: Path, start: int, end: int) -> list[str]:
    """ffmpeg's options for a range of bytes of a file."""
    return ["-i", f"subfile,,start,{start},end,{end},,:file:{path}"]


def environment() -> dict[str, str]:
    """The whole environment of ffmpeg."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


def confine(path: Path, parent: int) -> None:
    """For ``preexec_fn``: let ffmpeg see one file, and give it neither network nor much memory.

    What a system cannot confine is reported by ``manage.py doctor``, not here.
    """
    program = Path(imageio_ffmpeg.get_ffmpeg_exe())
    sandbox.confine(
        readable=[*sandbox.system_libraries(), program, path], writable=[], devices=[Path("/dev/null")]
    )
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    sandbox.die_with_parent(parent)
