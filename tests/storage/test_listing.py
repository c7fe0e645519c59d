"""Listing one level of a storage."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from speechportal.storage.backends import s3
from speechportal.storage.backends.base import Folder, ObjectStore, StoredFile
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.backends.s3_client import S3Settings
from speechportal.storage.backends.sftp import SftpStore
from speechportal.storage.errors import FolderMissing, InvalidKey
from speechportal.storage.models import Connection


def names(store: ObjectStore, prefix: str = "") -> list[str]:
    return [entry.path if isinstance(entry, Folder) else entry.key for entry in store.list_level(prefix)]


def test_one_level_is_listed_by_name(store: ObjectStore) -> None:
    for key in ("b.wav", "a/1.wav", "a/deeper/2.wav", "a.wav", "c/3.wav", "가.wav"):
        store.put(key, b"x")
    assert names(store) == ["a.wav", "a/", "b.wav", "c/", "가.wav"]
    assert names(store, "a/") == ["a/1.wav", "a/deeper/"]
    assert names(store, "a/deeper/") == ["a/deeper/2.wav"]


def test_an_entry_is_what_stat_says(store: ObjectStore) -> None:
    put = store.put("folder/file.wav", b"12345", "audio/wav")
    (entry,) = store.list_level("folder/")
    assert isinstance(entry, StoredFile)
    assert entry == store.stat("folder/file.wav") == put
    assert entry.size == 5
    assert entry.modified.tzinfo is not None
    assert abs((store.server_time() - entry.modified).total_seconds()) < 5


def test_an_empty_root_has_no_entries(store: ObjectStore) -> None:
    assert names(store) == []


def test_a_made_folder_is_listed_and_not_its_own_entry(store: ObjectStore) -> None:
    store.create_folder("new folder/")
    store.create_folder("new folder/")
    assert names(store) == ["new folder/"]
    assert names(store, "new folder/") == []


@pytest.mark.parametrize("prefix", ["a", "/", "/a/", "a//", "../", "a/../", "./", "a\0/"])
def test_a_prefix_that_is_no_folder_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(InvalidKey):
        names(store, prefix)


# Tells all folders on every page, however few entries were asked for, and a mark that is no name.
CANNOT_PAGE = {"moto"}


def test_pages_are_joined_without_gaps_or_doubles(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(s3, "PAGE", 3)
    files = [f"f{number:02}.wav" for number in range(8)]
    folders = [f"g{number:02}/" for number in range(8)]
    for key in [*files, *(f"{folder}{name}" for folder in folders for name in "ab")]:
        store.put(key, b"x")
    if request.node.callspec.params["store"] in CANNOT_PAGE:
        assert isinstance(store, s3.S3Store)
        bucket, root = store._given.bucket, store._given.root
        page = store._client.list_objects(Bucket=bucket, Prefix=root, Delimiter="/", MaxKeys=3)
        assert len(page["CommonPrefixes"]) == 8
        assert not page["NextMarker"].startswith(root)
        return
    assert names(store) == [*files, *folders]


def test_a_missing_folder_is_missing_in_a_local_folder(store: ObjectStore) -> None:
    """A bucket has no folders: there it is just empty."""
    if not isinstance(store, LocalStore | SftpStore):
        assert names(store, "nowhere/") == []
    else:
        with pytest.raises(FolderMissing):
            names(store, "nowhere/")


def test_many_objects_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a simulated server: at most one page is held in memory."""
    given = S3Settings("http://127.0.0.1:1", "r", "bucket", "key", "secret")
    total = 20_000

    class Pages:
        asked = 0

        def list_objects(self, *, Marker: str, **_rest: object) -> dict[str, object]:  # noqa: N803 - botocore's name
            self.asked += 1
            first = int(Marker or -1) + 1
            moment = datetime.now(UTC)
            contents = [
                {"Key": f"{number:06}", "Size": 1, "ETag": '"e"', "LastModified": moment}
                for number in range(first, first + 1000)
            ]
            return {"Contents": contents, "IsTruncated": first + 1000 < total}

    pages = Pages()
    monkeypatch.setattr(s3.S3Store, "_client", pages)
    entries = s3.S3Store(given).list_level("")
    assert len(list(itertools.islice(entries, 10))) == 10
    assert pages.asked == 1
    tracemalloc.start()
    rest = sum(1 for _ in entries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rest == total - 10
    assert pages.asked == total / 1000
    assert peak < 2_500_000  # All at once are more than twice that.


def test_a_large_local_folder_is_listed_in_little_memory(tmp_path: Path) -> None:
    from speechportal.storage.backends.confined import Root

    root = tmp_path / "root"
    root.mkdir()
    for number in range(5000):
        (root / f"a rather long name of a recording, number {number:06}.wav").touch()
    entries = LocalStore(Root(root), lambda *_: "").list_level("")
    tracemalloc.start()
    assert sum(1 for _ in entries) == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 5000  # Names only.


def unusable(store: ObjectStore, prefix: str) -> tuple[list[str], list[str]]:
    told: list[str] = []
    found = [
        entry.path if isinstance(entry, Folder) else entry.key
        for entry in store.list_level(prefix, told.append)
    ]
    return found, told


def test_names_that_cannot_be_keys_are_told_in_a_bucket(
    swift_store: Callable[..., ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PAGE", 1)
    store = swift_store()
    assert isinstance(store, s3.S3Store)
    for key in ("in/", "in/a.wav", "in//double.wav", "in//second.wav", "in/z/1.wav"):
        store._client.put_object(Bucket=store._given.bucket, Key=store._given.root + key, Body=b"x")
    assert unusable(store, "in/") == (["in/a.wav", "in/z/"], ["in//"])


def test_names_that_cannot_be_keys_are_told_in_a_folder(local_connection: Connection) -> None:
    root = Path(local_connection.place)
    (root / "good.wav").write_bytes(b"x")
    bad = os.fsencode(root) + b"/\xff.wav"
    Path(os.fsdecode(bad)).write_bytes(b"x")
    deep = "/".join(["x" * 200] * 5)
    (root / deep).mkdir(parents=True)
    (root / deep / f"{'y' * 100}.wav").write_bytes(b"x")
    store = local_connection.store()
    assert unusable(store, "") == (["good.wav", f"{'x' * 200}/"], ["\udcff.wav"])
    assert unusable(store, f"{deep}/") == ([], [f"{deep}/{'y' * 100}.wav"])
