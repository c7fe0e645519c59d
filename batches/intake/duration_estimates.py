"""Duration estimates of waiting files, from samples.

The duration of a file is unknown before it is decoded. A few small files are downloaded and measured; the
others are estimated from their size, separately for each media type.
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
    """Estimated duration of all ``files`` in ms; ``None`` if no sample could be measured.

    Raises ``OSError`` if the disk has no space for a sample.
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
    """Choose samples from the whole list, first one of each media type."""
    small = [file for file in files if 0 < file.size <= SAMPLE_BYTES]
    first = list({_kind(file): file for file in reversed(small)}.values())[:SAMPLES]
    others = [file for file in small if file not in first]
    step = max(1, len(others) // SAMPLES)
    return [*first, *others[::step]][:SAMPLES]


def _kind(file: StoredFile) -> str:
    return PurePosixPath(file.key).suffix.lower()


def _length(store: ObjectStore, file: StoredFile) -> int:
    """Duration of a file in ms; 0 if it cannot be measured."""
    from batches.recognition.media import decoding

    with tempfile.TemporaryDirectory(prefix="speechportal-") as folder:
        path = Path(folder) / "media"
        try:
            store.download(file.key, path)
            return decoding.probe(path, seconds=5).duration
        except (StorageError, RecognitionError):
            return 0
