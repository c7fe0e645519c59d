"""Duration estimates: how much media waiting files hold, by their sizes and what the account had before.

A file is never read for this: members wait for the answer in a web process, and untrusted media is looked at
by confined workers only. The latest completed tasks of the account tell how many milliseconds a byte holds,
for each ending of the name; endings that it has not had yet are estimated by usual bit rates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from batches.models import Task
from speechportal.accounts.models import Account
from speechportal.storage.backends.base import StoredFile

LATEST = 500  # completed tasks
# Bytes per second of media where nothing is known: 16 kHz of 16 bits, 128 kbit/s, 1 Mbit/s of video.
SOUND, COMPRESSED, VIDEO = 32_000, 16_000, 125_000
USUAL = {
    **dict.fromkeys((".wav", ".aif", ".aiff", ".aifc", ".caf"), SOUND),
    **dict.fromkeys((".avi", ".mp4", ".mov", ".wmv", ".flv", ".mkv", ".webm", ".m4v"), VIDEO),
    **dict.fromkeys((".mpeg", ".mpg", ".ts", ".m2ts", ".3gp"), VIDEO),
    ".opus": 4_000,
    ".amr": 1_600,
}


def estimate(account: Account, files: Sequence[StoredFile]) -> int | None:
    """Media of all ``files`` in ms; ``None`` without any."""
    if not files:
        return None
    known = _milliseconds_per_byte(account)
    total = sum(file.size * known.get(_kind(file.key), _usual(file.key)) for file in files)
    return round(total)


def _milliseconds_per_byte(account: Account) -> dict[str, float]:
    """By ending, from the account's own files."""
    completed = Task.objects.for_account(account).filter(
        state=Task.State.COMPLETED, media_duration__gt=0, input_size__gt=0
    )
    sizes: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    for key, duration, size in completed.order_by("-pk").values_list(
        "input_key", "media_duration", "input_size"
    )[:LATEST]:
        sizes[_kind(key)] += size
        lengths[_kind(key)] += duration or 0
    return {kind: lengths[kind] / sizes[kind] for kind in sizes}


def _usual(key: str) -> float:
    return 1000 / USUAL.get(_kind(key), COMPRESSED)


def _kind(key: str) -> str:
    return PurePosixPath(key).suffix.lower()
