"""Sounds of a recording, each recognised separately: its audio tracks and, if requested, their channels.

Undecodable and silent tracks are skipped, and duplicate tracks are removed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from batches.recognition.errors import DamagedMedia
from batches.recognition.media import channels, crosstalk
from batches.recognition.media.decoding import Audio, MediaInfo, Samples, decode, probe
from batches.recognition.options import Options

MOST_TRACKS = 8
_SILENCE = 1e-4  # largest amplitude of a silent track, -80 dB

Sounds = list[tuple[str, Audio]]  # each with a speaker label, empty where it is the only one


def decode_sounds(
    path: Path,
    options: Options,
    progress: Callable[[float], None],
    *,
    scratch: Path | None = None,
    processes: int = 1,
) -> Sounds:
    """Decode a file: its audio tracks, each mixed down or by channel as ``options`` ask for.

    ``scratch`` is the folder for decoded sound, by default the system's. Up to ``processes`` decode the track
    of a long file at once. Raises the MediaErrors of :mod:`batches.recognition.errors`.
    """
    info = probe(path, max_bytes=options.max_bytes)
    tracks = [index for index, stream in enumerate(info.audio) if stream.is_decodable][:MOST_TRACKS]
    if len(tracks) > 1:
        found = _several_tracks(path, options, info, tracks, progress, scratch)
    else:
        found = _track(path, options, info, info.preferred_track, progress, scratch, processes)
    if len(found) == 1:
        return [("", found[0])]
    return [(str(number), audio) for number, audio in enumerate(found, 1)]


def _several_tracks(
    path: Path,
    options: Options,
    info: MediaInfo,
    tracks: list[int],
    progress: Callable[[float], None],
    scratch: Path | None,
) -> list[Audio]:
    heard: dict[int, list[Audio]] = {}
    sketches: list[Samples] = []
    # The preferred track first, so that it is the one kept of several duplicates.
    for number, track in enumerate(sorted(tracks, key=lambda index: index != info.preferred_track)):
        share = functools.partial(_report, progress, number, len(tracks))
        try:
            sounds = _track(path, options, info, track, share, scratch)
        except DamagedMedia:
            continue
        sketch = channels.sketch(sounds[0].samples)
        if all(map(_is_silent, sounds)) or any(channels.alike(sketch, other) for other in sketches):
            continue
        heard[track] = sounds
        sketches.append(sketch)
    if not heard:
        return _track(path, options, info, info.preferred_track, progress, scratch)
    if options.all_tracks:
        return [audio for track in sorted(heard) for audio in heard[track]]
    kept, *left_out = heard.values()
    return [replace(audio, tracks_left_out=len(left_out)) for audio in kept]


def _track(
    path: Path,
    options: Options,
    info: MediaInfo,
    track: int,
    progress: Callable[[float], None],
    scratch: Path | None,
    processes: int = 1,
) -> list[Audio]:
    one = functools.partial(
        decode,
        path,
        max_duration_ms=options.max_duration_ms,
        max_bytes=options.max_bytes,
        track=track,
        scratch=scratch,
        processes=processes,
    )
    count = info.audio[track].channels if options.channels else 1
    if not 1 < count <= channels.MOST_CHANNELS:
        return [one(progress=progress)]
    found = [
        one(channel=channel, progress=functools.partial(_report, progress, channel, count))
        for channel in range(count)
    ]
    return crosstalk.separate(channels.different(found))


def _report(progress: Callable[[float], None], done: int, count: int, share: float) -> None:
    progress((done + share) / count)


def _is_silent(audio: Audio) -> bool:
    return all(
        float(np.abs(audio.samples[start : start + (1 << 20)]).max()) < _SILENCE
        for start in range(0, len(audio.samples), 1 << 20)
    )
