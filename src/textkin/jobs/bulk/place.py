"""The folder that a job writes to: each file appears whole or not at all, on a disk or in an object store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import filelock

from textkin._optional import require
from textkin.errors import InputError, StoreError, StoreLockedError
from textkin.stores.problems import from_system
from textkin.vectors.writing import HashingWriter, flush, flush_folder

WORK: Final = "_textkin"
"""Where a job keeps what only it needs. Readers of Parquet pass over names that begin with an underscore."""
_TEMPORARY: Final = f"{WORK}/tmp"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is in place: its size, and the SHA-256 of its bytes as hex digits."""

    bytes: int
    sha256: str


class Place(Protocol):
    """Files under names with ``/``. What was written is whole and stays, whatever happens next."""

    @property
    def name(self) -> str:
        """How a user names it."""
        ...

    def write(self, name: str, fill: Callable[[BinaryIO], None]) -> Written:
        """Make or replace a file; nobody ever sees half of it.

        Raises:
            StorageFullError: no room left.
            ReadOnlyError: it can't be written.
            StoreError: the disk or the server failed.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file to read from, at any position."""
        ...

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of each file directly in a folder, by its name there; empty where there is no folder."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def holding(self, what: str) -> Any:
        """Hold the one writer's place of ``what`` while the block runs.

        Raises:
            StoreLockedError: another process has it.
        """
        ...

    def tidy(self) -> None:
        """Remove what a killed process of the same owner left half-written; only while its place is held."""
        ...


def place_of(given: str | Path, owner: str = "0") -> Place:
    """The place of a path or URL; nothing is made yet.

    Args:
        given: by the user.
        owner: tells the temporary files of several processes that write to one folder apart.
    """
    text = str(given)
    if "://" in text and not text.startswith("file://"):
        return RemotePlace(text)
    return LocalPlace(Path(text.removeprefix("file://")), owner)


def write_json(place: Place, name: str, facts: Mapping[str, Any]) -> Written:
    """Write one JSON object that people can read."""
    data = (json.dumps(facts, ensure_ascii=False, indent=1, default=dict) + "\n").encode(
        "utf-8", "backslashreplace"
    )
    return place.write(name, lambda file: _fill(file, data))


def read_json(place: Place, name: str) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file.

    Raises:
        StoreError: it is something else.
    """
    data = place.read(name)
    if data is None:
        return None
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{place.name}/{name} is not valid JSON: {error}; remove it and run the job again"
        ) from error
    if not isinstance(facts, dict):
        raise StoreError(f"{place.name}/{name} holds no JSON object; remove it and run the job again")
    return facts


class LocalPlace:
    """A folder on a disk: a temporary file, flushed, then renamed, and the folder flushed."""

    def __init__(self, folder: Path, owner: str = "0") -> None:
        self._folder = folder.absolute()
        self._owner = owner
        self.name = str(folder)

    @property
    def folder(self) -> Path:
        """Absolute."""
        return self._folder

    def write(self, name: str, fill: Callable[[BinaryIO], None]) -> Written:
        target = self._folder / name
        temporary = self._folder / _TEMPORARY / f"{self._owner}-{target.name}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    hashing = _Counting(file)
                    fill(hashing)  # type: ignore[arg-type]
                    flush(file)
                temporary.replace(target)
            except BaseException:
                # Of a disk that fails, the first error is the one to tell.
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            flush_folder(target.parent)
        except OSError as error:
            raise from_system(error, target) from error
        return Written(hashing.bytes, hashing.digest.hexdigest())

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise from_system(error, self._folder / name) from error

    def open(self, name: str) -> BinaryIO:
        try:
            return (self._folder / name).open("rb")
        except OSError as error:
            raise from_system(error, self._folder / name) from error

    def sizes(self, folder: str = "") -> dict[str, int]:
        try:
            with os.scandir(self._folder / folder) as found:
                return {entry.name: entry.stat().st_size for entry in found if entry.is_file()}
        except FileNotFoundError:
            return {}
        except NotADirectoryError:
            raise InputError(f"{self.name} is a file; the output of a bulk job is a folder") from None
        except OSError as error:
            raise from_system(error, self._folder / folder) from error

    def remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise from_system(error, self._folder / name) from error

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        lock = self._folder / WORK / what
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(lock, timeout=0, thread_local=False):
                yield
        except filelock.Timeout:
            raise StoreLockedError(f"another process is writing {self.name}; wait until it is done") from None
        except OSError as error:
            raise from_system(error, lock) from error

    def tidy(self) -> None:
        for name in self.sizes(_TEMPORARY):
            if name.startswith(f"{self._owner}-"):
                self.remove(f"{_TEMPORARY}/{name}")


class RemotePlace:
    """A prefix of an object store, by fsspec: there a file appears when it is whole, so nothing is renamed.

    Nothing keeps two jobs from writing to one prefix at the same time.
    """

    def __init__(self, url: str) -> None:
        fsspec = require("fsspec", extra="bulk")
        try:
            self._system, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise InputError(f"{url}: {error}") from error
        self._root = self._root.rstrip("/")
        self.name = url.rstrip("/")

    def write(self, name: str, fill: Callable[[BinaryIO], None]) -> Written:
        with self._told(name):
            # A store without folders needs none; the others must have them before.
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            # Gathered first: whatever fails while it is made, no upload has begun.
            gathered = _Gathered()
            fill(gathered)  # type: ignore[arg-type]
            self._system.pipe_file(self._path(name), bytes(gathered.data))
        return Written(len(gathered.data), hashlib.sha256(gathered.data).hexdigest())

    def read(self, name: str) -> bytes | None:
        with self._told(name):
            try:
                found: bytes = self._system.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return found

    def open(self, name: str) -> BinaryIO:
        with self._told(name):
            file: BinaryIO = self._system.open(self._path(name), "rb")
            return file

    def sizes(self, folder: str = "") -> dict[str, int]:
        path = self._path(folder).rstrip("/")
        with self._told(folder):
            self._system.invalidate_cache()
            try:
                found = self._system.ls(path, detail=True)
            except FileNotFoundError:
                return {}
            return {
                item["name"].rpartition("/")[2]: int(item["size"] or 0)
                for item in found
                if item["type"] == "file" and item["name"].rstrip("/") != path
            }

    def remove(self, name: str) -> None:
        with self._told(name), suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        yield

    def tidy(self) -> None:
        """An upload that was not completed is not there."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else str(self._root)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.name}/{name}: {error.strerror or error}") from error


class _Counting(HashingWriter):
    """Also counts the bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return super().write(data)

    def flush(self) -> None:
        """The place flushes it once, at the end."""


class _Gathered:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
