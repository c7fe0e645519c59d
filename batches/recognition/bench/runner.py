"""Benchmark runner of one variant per process: ``python -m batches.recognition.bench.runner JOB RESULT``."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.variants import GPU, Found, Setup, Variant, make
from batches.recognition.errors import RecognitionError


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_megabytes() -> float:
    """Largest resident memory of this process, or of its largest child."""
    return max(
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def gpu_peak_megabytes(device: str) -> float:
    """Most GPU memory that was in use on the card: torch's count, or the card's where that is larger.

    Engines without torch are seen only in the card's count, which includes other processes.
    """
    if device != GPU:
        return 0.0
    import torch

    free, total = torch.cuda.mem_get_info()
    return max(torch.cuda.max_memory_reserved(), total - free) / 2**20


def measure(variant: Variant, recordings: list[Recording], setup: Setup) -> dict[str, Any]:
    """Load a variant, recognise all recordings, and report times, memory and results."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    variant.load()
    loaded_cpu, loaded_wall = cpu_seconds(), time.perf_counter()
    found = _recognise(variant, recordings, setup.files_at_once if variant.several else 1)
    return {
        "load_cpu": loaded_cpu - cpu,
        "load_wall": loaded_wall - wall,
        "cpu": cpu_seconds() - loaded_cpu,
        "wall": time.perf_counter() - loaded_wall,
        "peak_mb": peak_megabytes(),
        "gpu_peak_mb": gpu_peak_megabytes(setup.device),
        "found": [asdict(each) for each in found],
    }


def _recognise(variant: Variant, recordings: list[Recording], files_at_once: int) -> list[Found]:
    if files_at_once == 1:
        return [variant.run(recording) for recording in recordings]
    with ThreadPoolExecutor(files_at_once) as pool:
        return list(pool.map(variant.run, recordings))


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    given = job["setup"]
    setup = Setup(**{**given, "models_dir": Path(given["models_dir"]), "cache": Path(given["cache"])})
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # what libraries print is not for the table
    recordings = [Recording.from_dict(each) for each in job["recordings"]]
    try:
        result = measure(make(job["variant"], setup), recordings, setup)
    except RecognitionError as error:  # models that are missing, or too large for this machine
        sys.exit(error.message)
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
