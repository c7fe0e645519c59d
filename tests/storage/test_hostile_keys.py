"""Object names: unusual ones that people and programs use, and dangerous ones that are refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechportal.storage import keys
from speechportal.storage.backends.base import Folder, ObjectStore
from speechportal.storage.errors import InvalidKey, StorageError

HANGUL = "한국어 녹음.wav"
KEYS = {
    "spaces": " two  spaces .wav ",
    "quotes": "\"double\" 'single' `back`.wav",
    "hangul composed": unicodedata.normalize("NFC", HANGUL),
    "hangul decomposed": unicodedata.normalize("NFD", HANGUL),
    "emoji": "🎙️👩‍👩‍👧.wav",
    "percent": "100%25%2F%.wav",
    "plus": "a+b c.wav",
    "hash and question": "a#b?c=d&e;f.wav",
    "ampersand and angle": "<a>&amp;.wav",
    "leading dash": "-rf.wav",
    "formula": '=HYPERLINK("http:x","y").csv',
    "backslash": "a\\b.wav",
    "colon and stars": "a:b*c|d.wav",
    "dots": "...wav",
    "hidden": ".hidden",
    "line breaks": "a\nb\tc\r.wav",
    "control": "bell\x07.wav",
    "curly": "{a}[b]~^$@!().wav",
    "folders": "a b/100%/가/c.wav",
    "right to left": "\u202ereversed.wav",
}
# By kind of storage. The address pattern of moto's web server stops at a line break, so that it answers
# 404 to a PUT. What is named here must really fail there, and cleanly.
CANNOT_HOLD = {"moto": {"line breaks"}, "azure": {"backslash", "line breaks", "control"}}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_comes_back_as_it_is(
    store: ObjectStore, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = KEYS[name]
    if name in CANNOT_HOLD.get(request.node.callspec.params["store"], ()):
        with pytest.raises(StorageError):
            store.put(key, b"x")
        assert list(store.list_level("")) == []
        return
    stored = store.put(key, key.encode())
    assert stored.key == key
    assert store.stat(key) == stored
    folder = keys.parent(key)
    assert [entry for entry in store.list_level(folder) if not isinstance(entry, Folder)] == [stored]
    assert store.download(key, tmp_path / "file", if_version=stored.version).size == len(key.encode())
    moved = store.move(key, f"moved/{key}")
    assert moved.key == f"moved/{key}"
    with store.open(moved.key) as stream:
        assert stream.read() == key.encode()
    assert store.stat(key) is None
    store.delete(moved.key)
    assert store.stat(moved.key) is None


def test_composed_and_decomposed_names_are_two_files(store: ObjectStore) -> None:
    composed, decomposed = KEYS["hangul composed"], KEYS["hangul decomposed"]
    assert composed != decomposed
    store.put(composed, b"composed")
    store.put(decomposed, b"decomposed")
    assert {entry.key for entry in store.list_level("") if not isinstance(entry, Folder)} == {
        composed,
        decomposed,
    }
    with store.open(composed) as stream:
        assert stream.read() == b"composed"


def test_a_key_of_1024_bytes_is_the_longest(store: ObjectStore) -> None:
    root = len(getattr(getattr(store, "_given", None), "root", ""))
    part = "가" * 80  # 240 bytes: file systems take at most 255.
    key = "/".join([part] * 4)
    key += "/" + "x" * (1024 - root - len(key.encode()) - 1)
    assert store.put(key, b"x").key == key
    assert store.stat(key) is not None
    moved = store.move(key, key[:-1])
    assert store.move(moved.key, key, if_version=moved.version).key == key
    assert [entry.key for entry in store.list_level(keys.parent(key)) if not isinstance(entry, Folder)] == [
        key
    ]
    with pytest.raises(InvalidKey):
        store.put(f"{key}x", b"x")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "a/..",
        "..",
        ".",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused_by_everything(
    store: ObjectStore, key: str, tmp_path: Path
) -> None:
    store.put("sound", b"x")
    for use in (
        lambda: store.stat(key),
        lambda: store.open(key),
        lambda: store.download(key, tmp_path / "file"),
        lambda: store.put(key, b"x"),
        lambda: store.delete(key),
        lambda: store.copy("sound", key),
        lambda: store.move("sound", key),
        lambda: store.copy(key, "target"),
        lambda: store.move(key, "target"),
        lambda: store.presign(key, expires=60),
    ):
        with pytest.raises(InvalidKey):
            use()
    assert store.stat("sound") is not None


@given(st.text(max_size=60))
def test_a_key_is_refused_or_stays_below_its_root(key: str) -> None:
    if not keys.is_valid_key(key):
        return
    full = keys.check_key(key, root="root/")
    parts = full.split("/")
    assert full == f"root/{key}"
    assert parts[0] == "root"
    assert not {"", ".", ".."} & set(parts)


@given(st.text(max_size=60))
def test_what_is_typed_as_a_folder_is_spelt_in_one_way(path: str) -> None:
    folder = keys.as_folder(path)
    assert keys.as_folder(folder) == folder
    assert folder == "" or (folder.endswith("/") and not folder.startswith("/") and "//" not in folder)


def test_the_parent_is_the_folder_above() -> None:
    assert keys.parent("a") == ""
    assert keys.parent("a/b") == "a/"
    assert keys.parent("a/b/") == "a/"
