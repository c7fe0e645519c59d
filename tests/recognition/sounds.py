"""Sound files for tests."""

import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from batches.recognition.media.decoding import Samples


def write_wav(path: Path, samples: Samples) -> Path:
    """16 kHz, 16 bits; (n,) samples are mono, (n, channels) as many channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim > 1 else 1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples.clip(-1, 1) * 32767).astype(np.int16).tobytes())
    return path


def convert(source: Path, target: Path, *options: str) -> Path:
    """The first seconds of a recording as another kind of file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-i", str(source)]
    subprocess.run([*command, "-t", "4", *options, str(target)], check=True)
    return target
