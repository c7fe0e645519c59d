"""``python -m tests.bench_recognition``: long files, many files and long lists of keywords.

All in one engine process. A recording of hours is made from the sample that pyannote.audio ships. Prints how
the memory of the process and its progress went, and what keywords cost. Ends with status 1 where something
is above its limit.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import EngineConfig, EnginePool
from tests.sample_speech import load_sample

RATE = 16_000
MOST_MB = 2_000  # of memory that the kernel cannot take back
MOST_GROWTH_MB = 100  # from the tenth file to the last
LONGEST_SILENCE = 60.0  # s without progress
MOST_FOR_KEYWORDS = 1.10  # of the CPU seconds without them


@dataclass
class Watched:
    """Memory and progress of an engine process while it works."""

    pool: EnginePool
    peak_mb: float = 0.0
    longest_silence: float = 0.0
    shares: list[float] = field(default_factory=list)
    heard: float = field(default_factory=time.monotonic)

    def note(self, share: float) -> None:
        self.peak_mb = max(self.peak_mb, anonymous_mb(self.pool))
        now = time.monotonic()
        if not self.shares or share > self.shares[-1]:
            self.longest_silence = max(self.longest_silence, now - self.heard)
            self.heard = now
        self.shares.append(share)


def anonymous_mb(pool: EnginePool) -> float:
    try:
        status = Path(f"/proc/{pool.pids[0]}/status").read_text()
    except (OSError, IndexError):
        return 0.0
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def cpu_seconds(pool: EnginePool) -> float:
    """CPU seconds of the engine process and of the ffmpeg processes that have ended."""
    fields = Path(f"/proc/{pool.pids[0]}/stat").read_text().rsplit(")", 1)[1].split()
    decoding = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return own + decoding.ru_utime + decoding.ru_stime


def write_sample(path: Path, seconds: float) -> Path:
    """Write the sample repeatedly, with a second between two copies."""
    samples = (np.concatenate([load_sample(), np.zeros(RATE, np.float32)]) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        left = round(seconds * RATE)
        while left > 0:
            file.writeframes(samples[:left].tobytes())
            left -= len(samples)
    return path


def long_file(client: RecognitionClient, pool: EnginePool, folder: Path, hours: float) -> list[str]:
    path = write_sample(folder / "long.wav", hours * 3600)
    options, before = Options(language="en", speakers=True), cpu_seconds(pool)
    words, speakers = Watched(pool), Watched(pool)
    transcript = client.transcribe(path, options, words.note)
    transcript = client.add_speakers(path, transcript, options, speakers.note)
    peak = max(words.peak_mb, speakers.peak_mb)
    silence = max(words.longest_silence, speakers.longest_silence)
    cpu = (cpu_seconds(pool) - before) / (hours * 60)
    print(
        f"{hours:g} h: {cpu:.2f} CPU s a minute, peak {peak:.0f} MB, "
        f"at most {silence:.0f} s without progress, "
        f"{len(transcript.segments)} segments, {len(transcript.speakers)} speakers"
    )
    path.unlink()
    wrong = [] if peak <= MOST_MB else ["memory"]
    backwards = any(b < a for each in (words, speakers) for a, b in itertools.pairwise(each.shares))
    return [*wrong, *(["progress"] if silence > LONGEST_SILENCE or backwards else [])]


def many_files(client: RecognitionClient, pool: EnginePool, folder: Path, count: int) -> list[str]:
    random, memory = np.random.default_rng(7), []
    for _ in range(count):
        path = write_sample(folder / "short.wav", float(random.uniform(3, 40)))
        options = Options(language="en", speakers=True)
        client.add_speakers(path, client.transcribe(path, options), options)
        memory.append(anonymous_mb(pool))
    settled = memory[min(9, len(memory) - 1)]
    stages = ", ".join(f"{memory[at]:.0f}" for at in range(9, count, max(1, count // 10)))
    print(f"{count} files: MB of memory at every tenth of them {stages}, at most {max(memory):.0f}")
    return ["growth"] if memory[-1] - settled > MOST_GROWTH_MB else []


def keywords(client: RecognitionClient, pool: EnginePool, folder: Path, count: int) -> list[str]:
    path = write_sample(folder / "talk.wav", 120)
    random = np.random.default_rng(7)
    names = [
        "".join(random.choice(list("bdfgklmnprstv")) + random.choice(list("aeiou")) for _ in range(3))
        for _ in range(count)
    ]
    costs: dict[bool, list[float]] = {False: [], True: []}
    for _, boosted in itertools.product(range(4), (False, True)):
        before = cpu_seconds(pool)
        client.transcribe(path, Options(language="en", keywords=names if boosted else ()))
        costs[boosted].append(cpu_seconds(pool) - before)
    pairs = list(zip(costs[True], costs[False], strict=True))[1:]  # the first round loads models
    ratio = median(with_names / without for with_names, without in pairs)
    print(f"{count} keywords: {ratio:.2f} of the CPU seconds without")
    return ["keywords"] if ratio > MOST_FOR_KEYWORDS else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_recognition", description=__doc__)
    parser.add_argument("--hours", type=float, default=3.0, help="of the long file; 0 leaves it out")
    parser.add_argument("--files", type=int, default=100, help="one after the other; 0 leaves them out")
    parser.add_argument("--keywords", type=int, default=1000, help="0 leaves them out")
    arguments = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=folder / "scratch")
        with pool.running() as endpoints:
            client = RecognitionClient(endpoints)
            client.ping()
            if arguments.keywords:
                wrong += keywords(client, pool, folder, arguments.keywords)
            if arguments.files:
                wrong += many_files(client, pool, folder, arguments.files)
            if arguments.hours:
                wrong += long_file(client, pool, folder, arguments.hours)
            client.close()
    if wrong:
        sys.exit(f"Above the limit: {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
