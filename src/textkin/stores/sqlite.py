"""Creating, checking and opening textkin's SQLite files: the collection's and the ledger's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import apsw

from textkin.errors import CorruptStoreError, ForeignFileError, NewerVersionError
from textkin.stores.problems import translated
from textkin.vectors.own_files import PRIVATE, create_file
from textkin.vectors.writing import flush_folder

_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = 8192
_SIDE_FILES = ("-wal", "-shm", "-journal")
_WAL_KEPT_BYTES = 64 * 1024 * 1024
FileIdentity: TypeAlias = tuple[int, int]
FrozenState: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of database that textkin keeps.

    Attributes:
        name: for messages.
        application_id: written into the file's header.
        migrations: SQL scripts; the n-th one brings version n to n + 1.
        older: SQL that lets an older version be read as if it were this one, by temporary views.
        functions: that the scripts and checks use, by name.
        cure: what to do with a damaged one, as a sentence.
    """

    name: str
    application_id: int
    migrations: tuple[str, ...]
    older: str
    functions: tuple[tuple[str, Callable[..., Any]], ...]
    cure: str

    @property
    def version(self) -> int:
        """What this textkin writes."""
        return len(self.migrations)


def create(path: Path, kind: FileKind) -> None:
    """Make a new database, for its owner only: complete under its name, or not there at all.

    The caller holds a lock, so that nobody else creates the same file now. What a database that was moved away
    left beside it goes: SQLite would replay the other one's log into the new one.
    """
    unfinished = path.with_name(path.name + ".new")
    with translated(path, kind.cure):
        remove_unfinished(path)
        os.close(create_file(unfinished, PRIVATE))  # SQLite gives the files beside it the same mode
        connection = apsw.Connection(str(unfinished))
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            _set_up(connection, kind)
            with transaction(connection, write=True):
                connection.execute(f"PRAGMA application_id = {kind.application_id}")
                _migrate_inside(connection, kind)
            # Closing would do this too, but say nothing when the disk fails, and leave the pages in the log.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except BaseException:
            connection.close(True)
            remove_unfinished(path)
            raise
        connection.close()
        _forget(path, *_SIDE_FILES)
        unfinished.replace(path)
        with suppress(OSError):  # where the system can
            flush_folder(path.parent)
        remove_unfinished(path)


def unfinished(path: Path) -> bool:
    """Whether somebody makes this database now, or died while it was made."""
    return any(path.with_name(f"{path.name}.new{ending}").exists() for ending in ("", *_SIDE_FILES))


def remove_unfinished(path: Path) -> None:
    """Remove what a process that died while it made this database left; the caller holds the lock of `create`."""
    _forget(path.with_name(path.name + ".new"), "", *_SIDE_FILES)


def check_file(path: Path, kind: FileKind) -> None:
    """Refuse what is clearly no database of this kind, before SQLite touches it."""
    with translated(path, kind.cure):
        if path.is_dir():
            raise ForeignFileError(f"{path} is a folder where textkin's {kind.name} file was expected")
        if path.exists() and not path.is_file():
            raise ForeignFileError(f"{path} is a device or a pipe where textkin's {kind.name} file was expected")
        with path.open("rb") as file:
            start = file.read(100)
    if not start.strip(b"\0"):
        raise CorruptStoreError(f"{path} is damaged: it is empty or begins with zeros. {kind.cure}")
    if not start.startswith(_MAGIC[: len(start)]):
        raise ForeignFileError(
            f"{path} is not a textkin {kind.name} (not an SQLite database, or its beginning is overwritten); "
            "nothing in it was touched"
        )
    if len(start) < 100:
        raise CorruptStoreError(f"{path} is damaged: only its first {len(start)} bytes are left. {kind.cure}")
    if int.from_bytes(start[68:72], "big") != kind.application_id:
        raise ForeignFileError(
            f"{path} is an SQLite database, but not a textkin {kind.name}; nothing in it was touched"
        )
    page = int.from_bytes(start[16:18], "big") or 1
    wal = path.with_name(path.name + "-wal")
    # SQLite would read a page that was cut as if it went on with zeros.
    if path.stat().st_size % page and not wal.exists():
        raise CorruptStoreError(f"{path} is damaged: its last page is cut. {kind.cure}")


def connect(
    path: Path, kind: FileKind, *, write: bool, timeout: float, immutable: bool = False
) -> apsw.Connection:
    """Open an existing database of this kind whose version is not newer than this textkin.

    Args:
        path: an existing file.
        kind: what it should be.
        write: False refuses changes through this connection.
        timeout: seconds to wait for SQLite's own locks.
        immutable: promise that nobody writes it meanwhile (a read-only place without a pending WAL).

    Raises:
        ForeignFileError: not a database of this kind.
        CorruptStoreError: damaged.
        NewerVersionError: made by a newer textkin.
    """
    check_file(path, kind)
    with translated(path, kind.cure):
        uri = path.absolute().as_uri() + ("?immutable=1" if immutable else "")
        flags = apsw.SQLITE_OPEN_READONLY if immutable else apsw.SQLITE_OPEN_READWRITE
        connection = apsw.Connection(uri, flags=flags | apsw.SQLITE_OPEN_URI)
        try:
            connection.set_busy_timeout(int(timeout * 1000))
            _set_up(connection, kind)
            version = version_of(connection)
            if version > kind.version:
                raise NewerVersionError(
                    f"{path} was made by a newer textkin (format {version}, this one knows {kind.version}); "
                    "update: pip install -U textkin"
                )
            if version < kind.version and (not write or connection.readonly("main")):
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.execute(kind.older)
            if not write:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close(True)
            raise
    return connection


def identity(path: Path, kind: FileKind) -> FileIdentity:
    """Which file has this name now; no other file can have the same while a connection holds it open."""
    with translated(path, kind.cure):
        state = path.stat()
    return (state.st_dev, state.st_ino)


def frozen_state(path: Path, kind: FileKind) -> FrozenState | None:
    """None where SQLite's own locks work; where nothing can be written and no WAL is pending, the file's state.

    SQLite can read such a place only on the promise that nobody writes it. Others may still have the right to, so
    whoever reads compares this before and after.
    """
    if os.access(path.parent, os.W_OK):
        return None
    if any(path.with_name(path.name + ending).exists() for ending in ("-wal", "-shm")):
        return None
    with translated(path, kind.cure):
        state = path.stat()
    return (state.st_ino, state.st_size, state.st_mtime_ns)


def version_of(connection: apsw.Connection) -> int:
    """The format's version; reading it also makes SQLite look at the file."""
    return int(connection.pragma("user_version"))


def migrate(connection: apsw.Connection, path: Path, kind: FileKind) -> None:
    """Bring an older database to this textkin's version, all or nothing; one that can't be written stays older."""
    if version_of(connection) >= kind.version or connection.readonly("main"):
        return
    with translated(path, kind.cure), transaction(connection, write=True):
        _migrate_inside(connection, kind)


@contextmanager
def transaction(connection: apsw.Connection, *, write: bool) -> Iterator[None]:
    """One snapshot to read from, or one change: committed at the end, undone on any error."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise
    try:
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _set_up(connection: apsw.Connection, kind: FileKind) -> None:
    for name, function in kind.functions:
        connection.create_scalar_function(name, function, deterministic=True)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
    connection.execute("PRAGMA cache_size = -32768")


def _migrate_inside(connection: apsw.Connection, kind: FileKind) -> None:
    for script in kind.migrations[version_of(connection) :]:
        connection.execute(script)
    connection.execute(f"PRAGMA user_version = {kind.version}")


def _roll_back(connection: apsw.Connection) -> None:
    # SQLite has already undone the transaction after some errors (a full disk).
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _forget(path: Path, *endings: str) -> None:
    for ending in endings:
        path.with_name(path.name + ending).unlink(missing_ok=True)
