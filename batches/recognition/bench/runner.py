"""One measurement in a process of its own: ``python -m batches.recognition.bench.runner JOB RESULT``."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batches.recognition.bench.recordings import Recording
from batches.recognition.bench.variants import Found, Setup, Variant, make


def cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_megabytes() -> float:
    """The most memory that was resident: this process's, or that of the largest it started."""
    return max(
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def measure(variant: Variant, recordings: list[Recording]) -> dict[str, Any]:
    cpu, wall = cpu_seconds(), time.perf_counter()
    variant.load()
    loaded_cpu, loaded_wall = cpu_seconds(), time.perf_counter()
    found: list[Found] = [variant.run(recording) for recording in recordings]
    return {
        "load_cpu": loaded_cpu - cpu,
        "load_wall": loaded_wall - wall,
        "cpu": cpu_seconds() - loaded_cpu,
        "wall": time.perf_counter() - loaded_wall,
        "peak_mb": peak_megabytes(),
        "found": [asdict(each) for each in found],
    }


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    setup = job["setup"]
    for name in ("models_dir", "cache"):
        setup[name] = Path(setup[name])
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # what libraries print is not for the table
    variant = make(job["variant"], Setup(**setup))
    result = measure(variant, [Recording.from_dict(each) for each in job["recordings"]])
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
