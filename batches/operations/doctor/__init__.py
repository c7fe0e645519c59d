"""Diagnosis of an installation: what was checked, what was found, and what to do about it.

Each check returns findings and changes nothing. A check that raises is a finding itself, so that the other
checks still report theirs. Checks that may take long run beside each other, within :data:`SECONDS`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

from batches.operations.doctor.database import database
from batches.operations.doctor.findings import Background, Check, Finding, Health, bad, good, note, safely
from batches.operations.doctor.machine import (
    configuration,
    confinement,
    disk,
    ffmpeg,
    folders,
    gpu,
    models,
    static_files,
)
from batches.operations.doctor.work import broker, clock, clusters, keys, mail, served_models, storage

__all__ = [
    "Finding",
    "Health",
    "bad",
    "broker",
    "clock",
    "clusters",
    "configuration",
    "confinement",
    "database",
    "disk",
    "examine",
    "ffmpeg",
    "folders",
    "good",
    "gpu",
    "keys",
    "mail",
    "models",
    "note",
    "served_models",
    "static_files",
    "storage",
]
SECONDS = 5.0  # for all checks together


def examine(seconds: float = SECONDS) -> Iterator[Finding]:
    """Run all checks; without a database, those that need none."""
    background = Background(time.monotonic() + seconds)
    slow: list[tuple[str, Check]] = [
        ("models", models),
        ("ffmpeg", ffmpeg),
        ("sandbox", confinement),
        ("gpu", gpu),
        ("mail", mail),
    ]
    started = [
        (about, check.__name__, background.start(functools.partial(_all_of, about, check)))
        for about, check in slow
    ]
    found_database = list(safely("database", database))
    yield from found_database
    needs_database: list[tuple[str, Check]] = [
        ("queue", clusters),
        ("queue", broker),
        ("storage", storage),
        ("keys", keys),
        ("models", served_models),
        ("clock", clock),
    ]
    others: list[tuple[str, Check]] = [
        ("settings", configuration),
        ("pages", static_files),
        ("disk", folders),
        ("disk", disk),
    ]
    broken = any(finding.health is Health.BAD for finding in found_database)
    for about, check in (*(() if broken else needs_database), *others):
        yield from safely(about, check)
    for about, name, wait in started:
        findings = wait()
        if findings is None:
            yield note(
                about,
                f"The check of {name} takes longer than {seconds:.0f} seconds.",
                "Give it more time: manage.py doctor --seconds 60",
            )
        else:
            yield from findings


def _all_of(about: str, check: Check) -> list[Finding]:
    return list(safely(about, check))
