from __future__ import annotations
import os, shutil, uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from speechportal.storage.backends.base import *
from speechportal.storage.backends.base import (
    Changed,
    Folder,
    FolderMissing,
    NotFound,
    ObjectStore,
    StoredFile,
)


class LocalStore(ObjectStore):
    def __init__(self, root: Path) -> None:
        self.root = root

    def _file(self, key, st):
        return StoredFile(
            key,
            st.st_size,
            f"{st.st_size}-{st.st_mtime_ns}-{st.st_ino}",
            datetime.fromtimestamp(st.st_mtime, UTC),
        )

    def list_level(self, prefix):
        try:
            entries = sorted(os.scandir(self.root / prefix), key=lambda e: e.name)
        except FileNotFoundError:
            raise FolderMissing(prefix) from None
        for e in entries:
            if e.name.startswith(".sp-"):
                continue
            if e.is_dir():
                yield Folder(prefix + e.name + "/")
            else:
                yield self._file(prefix + e.name, e.stat())

    def server_time(self):
        return datetime.now(UTC)

    def stat(self, key):
        try:
            st = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._file(key, st)

    def open(self, key):
        return (self.root / key).open("rb")

    def download(self, key, path, *, if_version=None, on_progress=None):
        s = self.stat(key)
        if s is None:
            raise NotFound(key)
        if if_version and s.version != if_version:
            raise Changed(key)
        shutil.copyfile(self.root / key, path)
        return s

    def put(self, key, data, content_type="application/octet-stream"):
        t = self.root / key
        t.parent.mkdir(parents=True, exist_ok=True)
        d = t.parent / f".sp-{uuid.uuid4().hex}"
        d.write_bytes(data if isinstance(data, bytes) else data.read_bytes())
        d.rename(t)
        return self.stat(key)

    def copy(self, source, target, *, if_version=None):
        return self.put(target, self.root / source)

    def move(self, source, target, *, if_version=None):
        s = self.stat(source)
        if s is None:
            raise NotFound(source)
        if if_version and s.version != if_version:
            raise Changed(source)
        t = self.root / target
        t.parent.mkdir(parents=True, exist_ok=True)
        (self.root / source).rename(t)
        return self.stat(target)

    def delete(self, key):
        (self.root / key).unlink(missing_ok=True)

    def presign(self, key, *, expires, method="get", filename=None):
        return ""

    def create_folder(self, path):
        (self.root / path).mkdir(parents=True, exist_ok=True)
