"""Diagnosis of an installation: checks with their findings and advice.

Each check returns findings and changes nothing. A check that raises is a finding itself, so that the other
checks still report theirs. Slow checks run concurrently, within :data:`SECONDS`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

from django.conf import settings

from batches.operations.doctor.database import database
from batches.operations.doctor.findings import Background, Check, Finding, Health, bad, good, note, safely
from batches.operations.doctor.limits import limits
from batches.operations.doctor.machine import (
    configuration,
    confinement,
    disk,
    ffmpeg,
    folders,
    gpu,
    models,
    secret_files,
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
    "limits",
    "mail",
    "models",
    "note",
    "secret_files",
    "served_models",
    "static_files",
    "storage",
]
SECONDS = 5.0  # time limit of all checks together


def examine(seconds: float = SECONDS) -> Iterator[Finding]:
    """Run all checks; if the database is unavailable, those that do not need it."""
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
    if settings.REDIS_URL:  # It may not answer; the database, as broker, is asked after its own check.
        started.append(("queue", "Redis", background.start(functools.partial(_all_of, "queue", broker))))
    found_database = list(safely("database", database))
    yield from found_database
    needs_database: list[tuple[str, Check]] = [
        ("queue", clusters),
        *([] if settings.REDIS_URL else [("queue", broker)]),
        ("storage", storage),
        ("keys", keys),
        ("models", served_models),
        ("clock", clock),
    ]
    others: list[tuple[str, Check]] = [
        ("settings", configuration),
        ("settings", secret_files),
        ("pages", static_files),
        ("disk", folders),
        ("disk", disk),
        ("limits", limits),
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
