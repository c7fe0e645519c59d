"""Copying and moving inside a storage."""

from __future__ import annotations

import os
import threading
import time

import pytest

from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.backends.s3 import S3Store
from speechportal.storage.backends.sftp import SftpStore
from speechportal.storage.errors import Changed, NotFound, StorageError, TargetExists


def content(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def test_a_copy_has_the_same_bytes(store: ObjectStore) -> None:
    source = store.put("from", b"bytes", "audio/wav")
    copied = store.copy("from", "to/here", if_version=source.version)
    assert (copied.key, copied.size) == ("to/here", 5)
    assert copied == store.stat("to/here")
    assert content(store, "to/here") == content(store, "from") == b"bytes"


def test_a_move_takes_the_source_away(store: ObjectStore) -> None:
    source = store.put("in/a file.wav", b"bytes")
    moved = store.move("in/a file.wav", "in/batch/a file.wav", if_version=source.version)
    assert moved == store.stat("in/batch/a file.wav")
    assert store.stat("in/a file.wav") is None
    assert content(store, "in/batch/a file.wav") == b"bytes"


def test_another_version_is_not_moved(store: ObjectStore) -> None:
    old = store.put("key", b"old")
    store.put("key", b"newer")
    for method in (store.move, store.copy):
        with pytest.raises(Changed):
            method("key", "target", if_version=old.version)
    assert content(store, "key") == b"newer"
    assert store.stat("target") is None


def test_a_source_that_is_replaced_meanwhile_stays(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is replaced between the copy and the second check."""
    source = store.put("key", b"old")
    original = type(store).copy

    def copy_then_replace(self: ObjectStore, *args: str, **kwargs: str) -> StoredFile:
        copied = original(self, *args, **kwargs)
        self.put("key", b"newer")
        return copied

    monkeypatch.setattr(type(store), "copy", copy_then_replace)
    with pytest.raises(Changed):
        ObjectStore.move(store, "key", "target", if_version=source.version)
    assert content(store, "key") == b"newer"
    assert content(store, "target") == b"old"


@pytest.mark.parametrize("parts", [False, True], ids=["at once", "in parts"])
@pytest.mark.parametrize("server", ["moto", "swift"])
def test_a_source_that_is_replaced_before_it_is_copied_is_not_copied(
    server: str, parts: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is replaced between the check and the copy; the server itself detects it.

    moto represents servers that ignore the condition: there the second check detects it, and nothing is lost.
    """
    store: S3Store = request.getfixturevalue(f"{server}_store")()
    if parts:
        monkeypatch.setattr(S3Store, "copy_limit", 1)
        monkeypatch.setattr(S3Store, "copy_part", 5 * 1024 * 1024)
    data = os.urandom(6_000_000 if parts else 100)
    source = store.put("key", data)
    replaced: list[str] = []

    def replace(**_kwargs: object) -> None:
        if not replaced:  # Between the first two parts, where there are several.
            replaced.append(store.put("key", data[::-1]).version)

    call = "UploadPartCopy" if parts else "CopyObject"
    store._client.meta.events.register(f"before-call.s3.{call}", replace)
    with pytest.raises(Changed):
        store.move("key", "target", if_version=source.version)
    assert replaced != [source.version]
    assert content(store, "key") == data[::-1]
    if server == "moto":
        assert store.stat("target") is not None
        return
    assert store.stat("target") is None
    unfinished = store._client.list_multipart_uploads(Bucket=store._given.bucket)
    assert unfinished.get("Uploads", []) == []


def test_a_missing_source_is_not_found(store: ObjectStore) -> None:
    for method in (store.move, store.copy):
        with pytest.raises(NotFound):
            method("nothing", "target")
    assert store.stat("target") is None


def test_another_file_is_not_overwritten(store: ObjectStore) -> None:
    store.put("source", b"12345")
    store.put("target", b"abcde")
    for method in (store.move, store.copy):
        with pytest.raises(TargetExists):
            method("source", "target")
    assert content(store, "source") == b"12345"
    assert content(store, "target") == b"abcde"


def test_a_move_onto_itself_is_refused(store: ObjectStore) -> None:
    store.put("key", b"x")
    with pytest.raises(TargetExists):
        store.move("key", "key")
    assert content(store, "key") == b"x"


def test_an_interrupted_move_is_completed(store: ObjectStore) -> None:
    """The copy was made, then the process was killed."""
    source = store.put("source", b"12345")
    store.copy("source", "target")
    store.move("source", "target", if_version=source.version)
    assert store.stat("source") is None
    assert content(store, "target") == b"12345"


def test_a_large_file_is_copied_in_parts(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Store, "copy_limit", 5_000_000)
    monkeypatch.setattr(S3Store, "copy_part", 5 * 1024 * 1024)
    data = os.urandom(11_000_000)
    source = store.put("large ü+%", data, "audio/wav")
    moved = store.move("large ü+%", "moved/large ü+%", if_version=source.version)
    assert moved.size == len(data)
    assert content(store, "moved/large ü+%") == data
    assert store.stat("large ü+%") is None


def test_an_interrupted_move_in_parts_is_completed(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two ETags differ; the bytes decide."""
    data = os.urandom(6_000_000)
    source = store.put("large", data)
    monkeypatch.setattr(S3Store, "copy_limit", 5_000_000)
    monkeypatch.setattr(S3Store, "copy_part", 5 * 1024 * 1024)
    store.copy("large", "target")
    store.move("large", "target", if_version=source.version)
    assert store.stat("large") is None
    assert content(store, "target") == data


@pytest.mark.parametrize("targets", [("target", "target"), ("one", "other")], ids=["same", "different"])
def test_two_moves_at_once_lose_nothing(store: ObjectStore, targets: tuple[str, str]) -> None:
    for attempt in range(3):
        store.put(f"{attempt}/source", b"bytes")
        barrier = threading.Barrier(2)
        outcomes: list[object] = []

        def move(target: str, attempt: int = attempt, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                outcomes.append(store.move(f"{attempt}/source", f"{attempt}/{target}"))  # noqa: B023 - joined below
            except StorageError as error:
                outcomes.append(error)  # noqa: B023 - joined below

        threads = [threading.Thread(target=move, args=[target]) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 2
        assert any(isinstance(outcome, StoredFile) for outcome in outcomes)
        assert all(isinstance(outcome, StoredFile | NotFound | Changed) for outcome in outcomes)
        assert store.stat(f"{attempt}/source") is None
        kept = [target for target in sorted(set(targets)) if store.stat(f"{attempt}/{target}")]
        assert kept
        assert all(content(store, f"{attempt}/{target}") == b"bytes" for target in kept)
        if isinstance(store, LocalStore | SftpStore):
            assert len(kept) == 1  # What is renamed never ends with two names.


def test_the_moved_file_is_a_version_of_its_own(store: ObjectStore) -> None:
    """A file put under the old name after the move is not taken for the moved one."""
    source = store.put("key", b"bytes")
    store.move("key", "target")
    time.sleep(1.1)  # The times of S3 are in seconds.
    again = store.put("key", b"bytes")
    assert again.version != source.version
