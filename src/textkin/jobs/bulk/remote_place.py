"""The prefix of an object store that a job writes to, by fsspec: what fails for a moment is tried again."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final

from textkin.errors import InputError, ReadOnlyError, StorageFullError, StoreError, TextkinError
from textkin.jobs.bulk.written import Gathered, Written
from textkin.text.failures import denied, translated, tried
from textkin.text.remote_file import RemoteFile
from textkin.text.systems import system_of
from textkin.text.urls import Url

_FLAT: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "wasb", "wasbs", "oss", "oci", "memory"}
)
"""Schemes without folders: there, asking for one asks for a bucket."""
_BATCH: Final = 256
"""Files that are read at a time."""


class RemotePlace:
    """A prefix of an object store: there a file appears when it is whole, so nothing is renamed.

    Nothing keeps two jobs from writing to one prefix at the same time.

    Args:
        url: what is secret in it goes to the file system, and nowhere else.

    Raises:
        InputError: nothing can be written to such URLs.
        MissingDependencyError: a package for them is not installed.
        StoreError: the store can't be reached.
    """

    def __init__(self, url: Url) -> None:
        self.name = url.shown.rstrip("/")
        self._url = url
        if url.is_web:
            raise InputError(
                f"{self.name}: web servers are only read from; write to a folder, or to an object store, as in "
                "s3://bucket/out/"
            )
        if url.pattern:
            raise InputError(f"{self.name}: a place to write can't have a wildcard; name it")
        with self._told("", writing=True):
            self._system = system_of(url)
        self._root = str(self._system._strip_protocol(url.raw)).rstrip("/")
        if "?" in self._root:
            raise InputError(f"{self.name}: a place to write can't have a query; leave out what follows the ?")
        self._folders: set[str] = set()

    def write(self, name: str, fill: Callable[[BinaryIO], None]) -> Written:
        # Gathered first: whatever fails while it is made, no upload has begun.
        gathered = Gathered()
        fill(gathered)  # type: ignore[arg-type]
        data = bytes(gathered.data)
        with self._told(name, writing=True):
            self._make_folder(self._path(name).rpartition("/")[0])
            tried(lambda: self._system.pipe_file(self._path(name), data))
        return Written(len(data), hashlib.sha256(data).hexdigest())

    def read(self, name: str) -> bytes | None:
        with self._told(name):
            try:
                found: bytes = tried(lambda: self._system.cat_file(self._path(name)))
            except FileNotFoundError:
                return None
            return found

    def read_many(self, names: Sequence[str]) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for start in range(0, len(names), _BATCH):
            some = names[start : start + _BATCH]
            paths = [self._path(name) for name in some]
            with self._told(""):
                answers = self._system.cat(paths, on_error="return")
            for name, path in zip(some, paths, strict=True):
                answer = answers.get(path)
                if isinstance(answer, FileNotFoundError):
                    found[name] = None
                else:
                    # What failed is read alone, with patience, and told if that fails too.
                    found[name] = answer if isinstance(answer, bytes) else self.read(name)
        return found

    def open(self, name: str) -> BinaryIO:
        shown = f"{self.name}/{name}"
        return RemoteFile(self._system, self._url, self._path(name), shown, None, _of_reading).open()

    def sizes(self, folder: str = "") -> dict[str, int]:
        path = self._path(folder).rstrip("/")

        def listed() -> list[dict[str, Any]]:
            self._system.invalidate_cache()
            found: list[dict[str, Any]] = self._system.ls(path, detail=True)
            return found

        with self._told(folder):
            try:
                found = tried(listed)
            except FileNotFoundError:
                return {}
        return {
            item["name"].rpartition("/")[2]: int(item["size"] or 0)
            for item in found
            if item["type"] == "file" and item["name"].rstrip("/") != path
        }

    def remove(self, name: str) -> None:
        with self._told(name, writing=True), suppress(FileNotFoundError):
            tried(lambda: self._system.rm_file(self._path(name)))

    def move(self, name: str, to: str) -> None:
        with self._told(to, writing=True):
            tried(lambda: self._system.mv(self._path(name), self._path(to)))

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        yield

    def tidy(self) -> None:
        """An upload that was not completed is not there."""

    def _make_folder(self, folder: str) -> None:
        if self._url.scheme not in _FLAT and folder not in self._folders:
            tried(lambda: self._system.makedirs(folder, exist_ok=True))
            self._folders.add(folder)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextmanager
    def _told(self, name: str, *, writing: bool = False) -> Iterator[None]:
        shown = f"{self.name}/{name}" if name else self.name
        missing = "there is no such bucket or folder; make it first" if writing else "no such file or folder"
        try:
            with translated(self._url, shown, _of_writing if writing else _of_reading, missing):
                yield
        except NotImplementedError:
            raise InputError(f"{self.name}: {self._url.scheme}:// URLs can't be written to") from None
        except ValueError as error:
            if isinstance(error, TextkinError):
                raise
            raise StoreError(f"{shown}: {self._url.scrub(str(error))}") from None


def _of_reading(_: BaseException) -> type[StoreError]:
    return StoreError


def _of_writing(error: BaseException) -> type[StoreError]:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError
    return ReadOnlyError if denied(error) else StoreError
