"""Muted copy of a recording: its sound as MP3, silent in given stretches."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from batches.recognition.errors import NO_ROOM, DamagedMedia, WorkDiskFull
from batches.recognition.media import decoding, ffmpeg
from batches.recognition.runtime import oom_kills

CONTENT_TYPE = "audio/mpeg"
EXTENSION = ".muted.mp3"
PADDING_MS = 100  # before and after each stretch: word times are right to about so much
_FRAME_SAMPLES = 64  # ffmpeg switches the volume once a frame
_MOST_STRETCHES = 3000  # Linux takes arguments of 128 KB
_SECONDS = 3600


def stretches(spans: Iterable[tuple[int, int]], most: int = _MOST_STRETCHES) -> list[tuple[int, int]]:
    """Pad and sort spans in ms, merging those that touch, and near ones if there are more than ``most``."""
    padded = sorted((max(0, start - PADDING_MS), end + PADDING_MS) for start, end in spans)
    gap = 0
    while len(joined := _joined(padded, gap)) > most:
        gap = 2 * gap + 100
    return joined


def _joined(spans: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1] + gap:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def mute(source: Path, target: Path, spans: Iterable[tuple[int, int]]) -> None:
    """Write ``target``: the preferred audio track of ``source`` as MP3, silent in the ``spans`` (ms).

    Times are those of the container, as word times are. The source is untrusted: ffmpeg runs confined, as in
    :func:`batches.recognition.media.decoding.decode`. Raises DamagedMedia and WorkDiskFull.
    """
    silent = "+".join(f"between(t,{start / 1000:.3f},{end / 1000:.3f})" for start, end in stretches(spans))
    info = decoding.probe(source)
    track = info.preferred_track
    times = decoding.time_filters(info.audio[track])
    filters = [*times, f"asetnsamples=n={_FRAME_SAMPLES}:p=0", "asetpts=N/SR/TB"]
    if silent:
        filters.append(f"volume=volume=0:enable='{silent}'")
    output = [
        "-map", f"0:a:{track}", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-filter_threads", "1",
        "-af", ",".join(filters), "-codec:a", "libmp3lame", "-b:a", "96k", "-f", "mp3", "-",
    ]  # fmt: skip
    kills = oom_kills.count()
    with target.open("wb") as sound, tempfile.TemporaryFile() as log:
        try:
            result = subprocess.run(
                ffmpeg.command(source, output),
                stdin=subprocess.DEVNULL,
                stdout=sound,
                stderr=log,
                timeout=_SECONDS,
                check=False,
                env=ffmpeg.environment(),
                preexec_fn=functools.partial(ffmpeg.confine, source, os.getpid()),
            )
        except subprocess.TimeoutExpired as error:
            raise DamagedMedia("The file could not be muted in reasonable time.") from error
    if result.returncode in {256 - number for number in NO_ROOM}:
        raise WorkDiskFull
    ffmpeg.require_own_end(result.returncode, kills)
    if result.returncode != 0 or target.stat().st_size == 0:
        raise DamagedMedia("The sound of the file could not be written without what was redacted.")
