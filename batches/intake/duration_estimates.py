"""How long waiting files are, from a look at a few of them.

Nobody knows how long a file is before it is read. A few small ones are fetched and measured; the others are
taken to hold as much media for their size, each kind for itself.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from batches.recognition.errors import RecognitionError
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.errors import StorageError

SAMPLES = 4
SAMPLE_BYTES = 8 * 1024**2  # that a file has at most, so that somebody who waits for it waits for seconds


def estimate(store: ObjectStore, files: Sequence[StoredFile]) -> int | None:
    """Media of all ``files`` in ms; ``None`` where none of those looked at could be measured.

    Raises ``OSError`` where this machine has no room for a small file.
    """
    sizes: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    for file in _samples(files):
        if length := _length(store, file):
            sizes[_kind(file)] += file.size
            lengths[_kind(file)] += length
    if not lengths:
        return None
    usual = lengths.total() / sizes.total()
    pace = {kind: lengths[kind] / sizes[kind] for kind in lengths}
    return round(sum(file.size * pace.get(_kind(file), usual) for file in files))


def _samples(files: Sequence[StoredFile]) -> list[StoredFile]:
    """Some from all over the list: at first one of each kind."""
    small = [file for file in files if 0 < file.size <= SAMPLE_BYTES]
    first = list({_kind(file): file for file in reversed(small)}.values())[:SAMPLES]
    others = [file for file in small if file not in first]
    step = max(1, len(others) // SAMPLES)
    return [*first, *others[::step]][:SAMPLES]


def _kind(file: StoredFile) -> str:
    return PurePosixPath(file.key).suffix.lower()


def _length(store: ObjectStore, file: StoredFile) -> int:
    """In ms; 0 where it cannot be told."""
    from batches.recognition.media import decoding

    with tempfile.TemporaryDirectory(prefix="speechportal-") as folder:
        path = Path(folder) / "media"
        try:
            store.download(file.key, path)
            return decoding.probe(path, seconds=5).duration
        except (StorageError, RecognitionError):
            return 0
