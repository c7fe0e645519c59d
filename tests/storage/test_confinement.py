"""Confinement of connections: no operation leaves the connection's root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError

from speechportal.accounts.models import Account
from speechportal.storage.backends import confined
from speechportal.storage.backends.base import Folder, ObjectStore
from speechportal.storage.errors import ForbiddenFolder, NotFound, StorageError, TargetExists
from speechportal.storage.local_folders import allowed_root
from speechportal.storage.models import Connection


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Folder of this machine that no account may access."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def root(local_connection: Connection) -> Path:
    return Path(local_connection.place)


@pytest.fixture
def folder_store(local_connection: Connection) -> ObjectStore:
    return local_connection.store()


def names(store: ObjectStore) -> list[str]:
    return [entry.path if isinstance(entry, Folder) else entry.key for entry in store.list_level("")]


def test_links_are_not_there(folder_store: ObjectStore, root: Path, outside: Path, tmp_path: Path) -> None:
    (root / "file link").symlink_to(outside / "secret")
    (root / "folder link").symlink_to(outside)
    (root / "link inside").symlink_to(root)
    assert names(folder_store) == []
    for key in ("file link", "folder link/secret", "link inside/file link"):
        assert folder_store.stat(key) is None
        for use in (
            lambda key=key: folder_store.open(key),
            lambda key=key: folder_store.download(key, tmp_path / "file"),
            lambda key=key: folder_store.copy(key, "copied"),
            lambda key=key: folder_store.move(key, "moved"),
        ):
            with pytest.raises(NotFound):
                use()
        folder_store.delete(key)
    assert (outside / "secret").read_bytes() == b"secret"
    assert not (tmp_path / "file").exists()


def test_nothing_is_written_through_a_link(folder_store: ObjectStore, root: Path, outside: Path) -> None:
    (root / "file link").symlink_to(outside / "secret")
    (root / "folder link").symlink_to(outside)
    folder_store.put("source", b"x")
    for use in (
        lambda: folder_store.put("folder link/new", b"x"),
        lambda: folder_store.copy("source", "folder link/new"),
        lambda: folder_store.move("source", "folder link/new"),
        lambda: folder_store.create_folder("folder link/new/"),
    ):
        with pytest.raises(TargetExists):
            use()
    folder_store.put("file link", b"own")  # Takes the link's place.
    assert not (root / "file link").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_pipe_is_no_file_and_nobody_waits_for_it(folder_store: ObjectStore, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert names(folder_store) == []
    assert folder_store.stat("pipe") is None
    with pytest.raises(NotFound):
        folder_store.open("pipe")


@pytest.mark.parametrize("action", ["open", "put", "delete", "move", "list"])
def test_a_folder_that_becomes_a_link_between_two_looks_leads_nowhere(
    folder_store: ObjectStore, root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Race condition: the path is swapped between its check and its opening."""
    folder_store.put("inner/secret", b"own")
    original = confined._open_part

    def swap_then_open(above: int, part: str, path: str, *, create: bool) -> int:
        if part == "inner" and not (root / "inner").is_symlink():
            (root / "inner").rename(root / "aside")
            (root / "inner").symlink_to(outside)
        return original(above, part, path, create=create)

    monkeypatch.setattr(confined, "_open_part", swap_then_open)
    uses: dict[str, Callable[[], object]] = {
        "open": lambda: folder_store.open("inner/secret"),
        "put": lambda: folder_store.put("inner/secret", b"x"),
        "move": lambda: folder_store.move("inner/secret", "target"),
        "list": lambda: list(folder_store.list_level("inner/")),
    }
    if action == "delete":
        folder_store.delete("inner/secret")  # What is not there counts as deleted.
    else:
        with pytest.raises(StorageError):
            uses[action]()
    assert (root / "inner").is_symlink()
    assert (outside / "secret").read_bytes() == b"secret"
    assert (root / "aside" / "secret").read_bytes() == b"own"


def test_a_folder_that_is_open_stays_the_one_it_was(
    folder_store: ObjectStore, local_connection: Connection, root: Path, outside: Path
) -> None:
    """The folder is swapped after it was opened: the open one is still inside."""
    folder_store.put("inner/file", b"own")
    confined_root = allowed_root(local_connection.place, local_connection.account.uid)
    with confined.folder(confined_root, "inner/") as above:
        (root / "inner").rename(root / "aside")
        (root / "inner").symlink_to(outside)
        assert confined.Place(above, "secret").stat() is None
        assert confined.Place(above, "file").stat() is not None


@pytest.mark.parametrize(
    "folder",
    [
        "{root}",
        "{root}/..",
        "{root}/{own}/../{other}/files",
        "{root}/{other}",
        "{root}/{other}/files",
        "{outside}",
        "{root}/{own}/link",
        "/",
        "/etc",
        "relative/folder",
        "{root}/{own}/a\0b",
    ],
)
def test_only_the_account_s_own_folders_are_allowed(
    local_connection: Connection, tmp_path: Path, outside: Path, folder: str
) -> None:
    own = local_connection.account.uid
    other = Account.objects.create(name="Other").uid
    root = tmp_path / "storage"
    (root / other / "files").mkdir(parents=True)
    (root / own / "link").symlink_to(outside)
    wanted = folder.format(root=root, own=own, other=other, outside=outside)
    with pytest.raises(ForbiddenFolder):
        allowed_root(wanted, own)
    connection = Connection(
        account=local_connection.account, name="x", provider="local", parameters={"local_folder": wanted}
    )
    with pytest.raises(ValidationError):
        connection.full_clean()


def test_two_accounts_never_share_a_folder(local_connection: Connection, tmp_path: Path) -> None:
    """Below the operator's root, but in no account's folder: the first one has it."""
    shared = tmp_path / "storage" / "shared"
    (shared / "deeper").mkdir(parents=True)
    first = Connection(
        account=local_connection.account,
        name="First",
        provider="local",
        parameters={"local_folder": str(shared)},
    )
    first.full_clean()
    first.save()
    other = Account.objects.create(name="Other")
    for folder in (shared, shared / "deeper"):
        parameters = {"local_folder": str(folder)}
        second = Connection(account=other, name="Second", provider="local", parameters=parameters)
        with pytest.raises(ValidationError, match="Another account uses this folder"):
            second.full_clean()


def test_a_root_that_the_operator_takes_back_is_closed(
    local_connection: Connection, tmp_path: Path, settings: pytest.FixtureRequest
) -> None:
    local_connection.store().put("key", b"x")
    settings.STORAGE_LOCAL_ROOTS = [tmp_path / "elsewhere"]  # type: ignore[attr-defined] # pytest-django's
    with pytest.raises(ForbiddenFolder):
        local_connection.store()


@pytest.mark.parametrize("server", ["moto", "swift"])
def test_a_path_in_a_bucket_is_all_there_is(server: str, request: pytest.FixtureRequest) -> None:
    open_store: Callable[..., ObjectStore] = request.getfixturevalue(f"{server}_store")
    one, near, above = open_store(root_path="a/"), open_store(root_path="ab/"), open_store(root_path="")
    one.put("key", b"one")
    near.put("near", b"near")
    above.put("above", b"above")
    assert names(one) == ["key"]
    assert names(near) == ["near"]
    assert names(above) == ["a/", "ab/", "above"]
    assert one.stat("near") is None
    assert one.stat("above") is None
    assert "/a/key?" in one.presign("key", expires=60)
