"""Where SQLite's and the operating system's errors become textkin's: one place for stores and ledger."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from textkin.errors import (
    CorruptStoreError,
    ForeignFileError,
    ReadOnlyError,
    StorageFullError,
    StoreError,
    StoreLockedError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_SCHEMA_DAMAGE = ("no such", "malformed", "duplicate column", "table ", "index ", "unsupported", "near ")


@contextmanager
def translated(path: Path, cure: str) -> Iterator[None]:
    """Raise a textkin error, naming ``path``, for whatever SQLite or the system reports inside.

    Args:
        path: the database file.
        cure: what to do when it is damaged, as a sentence.
    """
    try:
        yield
    except apsw.Error as error:
        raise from_sqlite(error, path, cure) from error
    except UnicodeDecodeError as error:
        raise CorruptStoreError(f"{path} is damaged: a text in it is not valid UTF-8. {cure}") from error
    except OSError as error:
        raise from_system(error, path) from error


def from_sqlite(error: apsw.Error, path: Path, cure: str) -> StoreError:
    """The textkin error for one of SQLite's."""
    if isinstance(error, apsw.CorruptError) or _means_damage(error):
        return CorruptStoreError(f"{path} is damaged ({error}). {cure}")
    if isinstance(error, apsw.NotADBError):
        return ForeignFileError(f"{path} is not an SQLite database, or its beginning is damaged. {cure}")
    if isinstance(error, apsw.FullError):
        return full(path)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreLockedError(f"{path} is locked by another program; wait until it is done, then try again")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError):
        return read_only(path)
    if isinstance(error, apsw.CantOpenError):
        return StoreError(f"{path} can't be opened ({error}); check that it is there and may be read")
    if isinstance(error, apsw.IOError):
        code = getattr(error, "extendedresult", 0)
        if code in (apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA):
            return CorruptStoreError(f"{path} is damaged ({error}). {cure}")
        if code in (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_TRUNCATE):
            return full(path)
        return StoreError(f"the disk under {path} reports an error ({error}); nothing that was stored is lost")
    return StoreError(f"{path}: {type(error).__name__}: {error}")


def _means_damage(error: apsw.Error) -> bool:
    """Whether only damage can be the reason: what textkin asks and stores fits the tables that it makes."""
    if isinstance(error, apsw.ConstraintError | apsw.MismatchError | apsw.FormatError | apsw.TooBigError):
        return True
    return isinstance(error, apsw.SQLError) and str(error).startswith(_SCHEMA_DAMAGE)


def from_system(error: OSError, path: Path) -> StoreError:
    """The textkin error for one of the operating system's."""
    if error.errno in _FULL:
        return full(path)
    if error.errno in _DENIED:
        return read_only(path)
    return StoreError(f"{path}: {error.strerror or error}")


def is_there(path: Path) -> bool:
    """Whether a file or folder is there.

    Raises:
        StoreError: this user may not look.
    """
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"{path} can't be looked for: {error.strerror}") from error


def make_folder(folder: Path) -> None:
    """Make the folder of a database; one that is there is fine.

    Raises:
        StoreError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_system(error, folder) from error


def require_writable(folder: Path, program: str) -> None:
    """Refuse, by name, a folder of a program that writes into it as soon as it opens it.

    Raises:
        ReadOnlyError: it, or what is directly in it, is read-only for this user.
    """
    try:
        found = [folder, *folder.iterdir()]
    except OSError as error:
        raise from_system(error, folder) from error
    closed = next((path for path in found if not os.access(path, os.W_OK)), None)
    if closed is not None:
        raise ReadOnlyError(
            f"{closed} is read-only for you, and {program} writes into its folder even to read it; copy {folder} "
            "to a place of yours and open the copy, or export it to a textkin collection where it can be written"
        )


def full(path: Path) -> StorageFullError:
    """No room to write ``path``."""
    return StorageFullError(
        f"no room left to write {path} (disk, quota or file size limit). The unfinished step was undone, "
        "everything before it is kept; make room and run it again"
    )


def read_only(path: Path) -> ReadOnlyError:
    """``path`` can't be written."""
    return ReadOnlyError(f"{path} can't be written: the folder, the file or the file system is read-only for you")


def from_client(error: sqlite3.Error, path: Path, cure: str) -> StoreError:
    """The textkin error for one of SQLite's, met by a client of a database that uses Python's own SQLite."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what makes it an extended one
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG):
        return full(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return read_only(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLockedError(f"{path} is locked by another program; wait until it is done, then try again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, error, cure)
    return StoreError(f"the disk under {path} reports an error ({error}); run it again when it works")


def damaged(place: Path, why: Exception, cure: str) -> CorruptStoreError:
    """What a client of a database can't read."""
    return CorruptStoreError(f"{place} is damaged ({why}). {cure}")
