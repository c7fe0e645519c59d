"""Putting, reading, downloading and deleting files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.s3 import S3Store
from speechportal.storage.errors import Changed, NotFound


def test_what_is_put_is_read(store: ObjectStore) -> None:
    stored = store.put("a/b.txt", b"hello", "text/plain")
    assert stored.size == 5
    with store.open("a/b.txt") as stream:
        assert stream.read() == b"hello"


def test_a_stream_can_be_read_in_pieces(store: ObjectStore) -> None:
    data = os.urandom(3_000_000)
    store.put("big", data)
    with store.open("big") as stream:
        pieces = []
        while piece := stream.read(700_001):
            pieces.append(piece)
    assert b"".join(pieces) == data
    assert len(pieces) > 4


def test_an_empty_file_is_a_file(store: ObjectStore) -> None:
    assert store.put("empty", b"").size == 0
    with store.open("empty") as stream:
        assert stream.read() == b""


def test_a_file_of_this_machine_is_put(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    assert store.put("copy", source).size == 11
    with store.open("copy") as stream:
        assert stream.read() == b"from a file"


def test_a_large_file_is_put_in_parts(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Store, "put_limit", 5_000_000)
    if isinstance(store, S3Store):
        monkeypatch.setattr(store._storage.transfer_config, "multipart_threshold", 5 * 1024 * 1024)
        monkeypatch.setattr(store._storage.transfer_config, "multipart_chunksize", 5 * 1024 * 1024)
    data = os.urandom(11_000_000)
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(data)
    stored = store.put("large", source)
    assert stored.size == len(data)
    assert store.download("large", back) == stored
    assert back.read_bytes() == data


def test_putting_again_replaces_and_is_a_new_version(store: ObjectStore) -> None:
    first = store.put("key", b"same bytes")
    time.sleep(1.1)  # The times of S3 are in seconds.
    second = store.put("key", b"same bytes")
    assert second.version != first.version
    third = store.put("key", b"other")
    assert third.size == 5
    with store.open("key") as stream:
        assert stream.read() == b"other"


def test_stat_finds_files_and_nothing_else(store: ObjectStore) -> None:
    store.put("folder/file", b"x")
    assert store.stat("folder/file") is not None
    assert store.stat("folder") is None
    assert store.stat("folder/other") is None
    assert store.stat("nowhere/file") is None


def test_a_download_reports_progress_and_is_whole(store: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    stored = store.put("key", data)
    done: list[int] = []
    path = tmp_path / "download"
    assert store.download("key", path, if_version=stored.version, on_progress=done.append) == stored
    assert path.read_bytes() == data
    assert done == sorted(done)
    assert done[-1] == len(data)
    assert [child.name for child in tmp_path.iterdir() if child.name.startswith(".speechportal")] == []


def test_another_version_is_not_downloaded(store: ObjectStore, tmp_path: Path) -> None:
    old = store.put("key", b"old")
    store.put("key", b"newer")
    path = tmp_path / "download"
    with pytest.raises(Changed):
        store.download("key", path, if_version=old.version)
    assert not path.exists()


def test_an_interrupted_download_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    store.put("key", b"x" * 3_000_000)
    folder = tmp_path / "downloads"
    folder.mkdir()

    class Interrupted(Exception):
        pass

    def stop(_done: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        store.download("key", folder / "file", on_progress=stop)
    assert list(folder.iterdir()) == []


def test_a_fault_of_this_machines_disk_is_its_own(store: ObjectStore, tmp_path: Path) -> None:
    store.put("key", b"x")
    with pytest.raises(FileNotFoundError):
        store.download("key", tmp_path / "no such folder" / "file")


def test_a_missing_file_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.open("nothing")
    with pytest.raises(NotFound):
        store.download("nothing/here", tmp_path / "download")


def test_deleting_is_for_one_file_and_can_be_repeated(store: ObjectStore) -> None:
    store.put("a/1", b"x")
    store.put("a/2", b"x")
    store.delete("a/1")
    store.delete("a/1")
    store.delete("nowhere/at/all")
    assert store.stat("a/1") is None
    assert store.stat("a/2") is not None


def test_deleting_a_folder_deletes_nothing(store: ObjectStore) -> None:
    store.put("a/1", b"x")
    store.delete("a")
    assert store.stat("a/1") is not None


def test_the_check_finds_everything_in_order_and_leaves_nothing(store: ObjectStore) -> None:
    findings = store.check()
    assert [finding.action for finding in findings] == ["list", "write", "read", "move", "delete"]
    assert all(finding.ok for finding in findings)
    assert list(store.list_level("")) == []
