"""Recordings of the demo: a dozen files, cut and converted from the sample that pyannote.audio ships."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from batches.operations.demo.sample import sample_path


@dataclass(frozen=True)
class Recording:
    """File of the demo: the sample cut by ``start`` and ``seconds``, with ``options`` of ffmpeg.

    Without any of these it is not a media file.
    """

    name: str
    start: float = 0.0
    seconds: float = 0.0
    options: tuple[str, ...] = ()
    silent: bool = False

    @property
    def is_media(self) -> bool:
        return self.seconds > 0


RECORDINGS = [
    Recording("sample.wav", 0, 30, ("-c:a", "pcm_s16le")),
    Recording("greeting.mp3", 6.5, 8, ("-c:a", "libmp3lame")),
    Recording("two cities.m4a", 9.8, 8.2, ("-c:a", "aac")),
    Recording("chicago.ogg", 17.9, 4, ("-c:a", "libvorbis")),
    Recording("yankee.flac", 21.7, 7, ("-c:a", "flac")),
    Recording(
        "meeting.mp4",
        6.5,
        15,
        ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=5", "-shortest", "-c:v", "mpeg4", "-c:a", "aac"),
    ),
    Recording("voicemail.webm", 14.4, 7, ("-c:a", "libopus")),
    Recording("calls/telephone 8 kHz.wav", 6.5, 12, ("-ar", "8000", "-c:a", "pcm_mulaw")),
    Recording("calls/통화 녹음.mkv", 10.5, 11, ("-c:a", "libvorbis")),
    Recording("calls/stereo.aac", 21.7, 8.3, ("-ac", "2", "-c:a", "aac")),
    Recording("silence.wav", 0, 12, ("-c:a", "pcm_s16le"), silent=True),
    Recording("not audio.mp3"),
]


def make(recording: Recording, folder: Path) -> Path:
    """Write ``recording`` below ``folder`` (once) and return its path."""
    path = folder / recording.name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not recording.is_media:
        path.write_text("These are minutes that somebody typed and saved under the wrong name.\n" * 40)
        return path
    source = ["-ss", str(recording.start), "-i", str(sample_path())]
    if recording.silent:
        source = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono"]
    draft = path.with_name(f".draft.{path.name}")
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(),
            *("-nostdin", "-loglevel", "error", "-y"),
            *source,
            *recording.options,
            *("-t", str(recording.seconds), str(draft)),
        ],
        check=True,
    )
    draft.rename(path)
    return path
