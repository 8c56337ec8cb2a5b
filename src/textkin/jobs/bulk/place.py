"""The folder that a job writes to: each file appears whole or not at all, on a disk or in an object store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from urllib.request import url2pathname

import filelock

from textkin._places import absolute
from textkin.errors import CorruptStoreError, InputError, StoreError, StoreLockedError
from textkin.jobs.bulk.remote_place import RemotePlace
from textkin.jobs.bulk.written import Counting, Written
from textkin.stores.problems import from_system
from textkin.text.urls import is_url, parse_url
from textkin.vectors.sealed import SealError, sealed, unsealed
from textkin.vectors.writing import flush, flush_folder, put_in_place

WORK: Final = "_textkin"
"""Where a job keeps what only it needs. Readers of Parquet pass over names that begin with an underscore."""
_CURE: Final = "remove it and run the job again with --resume: what is whole is kept"
_TEMPORARY: Final = f"{WORK}/tmp"


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

    def read_many(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """Contents of small files by name, fetched side by side where that pays; None where there is no file."""
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

    def move(self, name: str, to: str) -> None:
        """Give a file another name, in place of one that is there."""
        ...

    def holding(self, what: str) -> AbstractContextManager[None]:
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
    if isinstance(given, Path):
        return LocalPlace(given, owner)
    if not given:
        raise InputError("the output has no name; say which folder")
    if given.lower().startswith("file://"):
        return LocalPlace(_path_of(given), owner)
    if is_url(given):
        return RemotePlace(parse_url(given))
    if "::" in given and "://" in given:
        raise InputError("a URL inside a URL (…::…://) can't be written to; name the place itself")
    return LocalPlace(Path(given), owner)


def _path_of(url: str) -> Path:
    """The path of a ``file://`` URL, with its drive on Windows."""
    host, _, path = url.partition("://")[2].partition("/")
    if host.lower() in ("", "localhost"):
        return Path(url2pathname(f"/{path}"))
    if os.name == "nt":
        return Path(url2pathname(f"//{host}/{path}"))
    raise InputError(
        f"{url}: a file:// URL has a whole path, as in file:///{host}/{path}; or name the path itself"
    )


def write_json(place: Place, name: str, facts: Mapping[str, Any]) -> Written:
    """Write one JSON object that people can read, with its digest."""
    data = sealed(
        json.dumps(facts, ensure_ascii=False, indent=1, default=dict).encode("utf-8", "backslashreplace")
    )
    return place.write(name, lambda file: _fill(file, data))


def read_json(place: Place, name: str) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file.

    Raises:
        CorruptStoreError: it is something else.
    """
    data = place.read(name)
    if data is None:
        return None
    try:
        facts = unsealed(data)
    except SealError as error:
        raise CorruptStoreError(f"{place.name}/{name} is damaged: {error}; {_CURE}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptStoreError(f"{place.name}/{name} is damaged: not valid JSON ({error}); {_CURE}") from error
    if not isinstance(facts, dict):
        raise CorruptStoreError(f"{place.name}/{name} is damaged: it holds no JSON object; {_CURE}")
    return facts


class LocalPlace:
    """A folder on a disk: a temporary file, flushed, then renamed, and the folder flushed."""

    def __init__(self, folder: Path, owner: str = "0") -> None:
        self._folder = absolute(folder)
        self._owner = owner
        self.name = str(folder)

    @property
    def folder(self) -> Path:
        """Absolute."""
        return self._folder

    @property
    def owner(self) -> str:
        """Whose temporary files are whose."""
        return self._owner

    def write(self, name: str, fill: Callable[[BinaryIO], None]) -> Written:
        target = self._folder / name
        temporary = self._folder / _TEMPORARY / f"{self._owner}-{target.name}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    hashing = Counting(file)
                    fill(hashing)  # type: ignore[arg-type]
                    flush(file)
                put_in_place(temporary, target)
            except BaseException:
                # Of a disk that fails, the first error is the one to tell.
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            flush_folder(target.parent)
        except OSError as error:
            raise self._problem(error, target) from error
        return Written(hashing.bytes, hashing.digest.hexdigest())

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._problem(error, self._folder / name) from error

    def read_many(self, names: Sequence[str]) -> dict[str, bytes | None]:
        return {name: self.read(name) for name in names}

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
        except OSError as error:
            raise self._problem(error, self._folder / folder) from error

    def remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise from_system(error, self._folder / name) from error

    def move(self, name: str, to: str) -> None:
        try:
            put_in_place(self._folder / name, self._folder / to)
            flush_folder((self._folder / to).parent)
        except OSError as error:
            raise from_system(error, self._folder / to) from error

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        path = self._folder / WORK / what
        lock = filelock.FileLock(path, timeout=0, thread_local=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise StoreLockedError(f"another process is writing {self.name}; wait until it is done") from None
        except OSError as error:
            raise self._problem(error, path) from error
        # What fails from here on is the block's, and named there.
        try:
            yield
        finally:
            lock.release()

    def tidy(self) -> None:
        above = self._folder / _TEMPORARY
        try:
            with os.scandir(above) as found:
                left = [entry for entry in found if entry.name.startswith(f"{self._owner}-")]
            for entry in left:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._problem(error, above) from error

    def _problem(self, error: OSError, path: Path) -> InputError | StoreError:
        if isinstance(error, NotADirectoryError) or os.path.isfile(self._folder):  # noqa: PTH113  of a name that is too long, too
            return InputError(f"{self.name} is a file; the output of a bulk job is a folder")
        return from_system(error, path)


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
