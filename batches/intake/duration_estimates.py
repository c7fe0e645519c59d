"""Duration estimates: media duration of waiting files, computed from their sizes.

Files are never read for this: members wait for the estimate in a web process, and only confined workers open
untrusted media. The account's latest completed tasks give the milliseconds per byte for each file name
extension; extensions without a completed task are estimated by usual bit rates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from batches.models import Task
from speechportal.accounts.models import Account
from speechportal.storage.backends.base import StoredFile

LATEST = 500  # completed tasks
# Default bytes per second of media: 16-bit audio at 16 kHz, 128 kbit/s, and video at 1 Mbit/s.
SOUND, COMPRESSED, VIDEO = 32_000, 16_000, 125_000
USUAL = {
    **dict.fromkeys((".wav", ".aif", ".aiff", ".aifc", ".caf"), SOUND),
    **dict.fromkeys((".avi", ".mp4", ".mov", ".wmv", ".flv", ".mkv", ".webm", ".m4v"), VIDEO),
    **dict.fromkeys((".mpeg", ".mpg", ".ts", ".m2ts", ".3gp"), VIDEO),
    ".opus": 4_000,
    ".amr": 1_600,
}


def estimate(account: Account, files: Sequence[StoredFile]) -> int | None:
    """Estimated duration of all ``files`` in ms; ``None`` if there are none."""
    if not files:
        return None
    known = _milliseconds_per_byte(account)
    total = sum(file.size * known.get(_kind(file.key), _usual(file.key)) for file in files)
    return round(total)


def _milliseconds_per_byte(account: Account) -> dict[str, float]:
    """Milliseconds per byte, by file name extension, from the account's completed tasks."""
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
