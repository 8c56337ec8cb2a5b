"""Connections to collection.db: one writer's, and as many readers' as there are reads at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import apsw

from textkin.errors import CorruptStoreError, ReadOnlyError, StoreError
from textkin.stores.local.checksums import mark_of, read_mark, write_mark
from textkin.stores.local.rows import read_change
from textkin.stores.local.schema import COLLECTION, DATABASE
from textkin.stores.problems import translated
from textkin.stores.sqlite import (
    FileIdentity,
    FrozenState,
    connect,
    frozen_state,
    identity,
    migrate,
    transaction,
)

_Seen: TypeAlias = tuple[FileIdentity, FrozenState | None]


class Connections:
    """Lends connections to any thread; each is used by one read or write at a time.

    When another file has taken the database's name, the connections to the old one are closed and new ones opened,
    if it is the same collection (restored from a backup); another collection is refused.

    In a folder that can't be written and where nobody has the database open, it is opened as immutable; a change
    by somebody else meanwhile is noticed and refused instead of read halfway.
    """

    def __init__(self, folder: Path, *, timeout: float) -> None:
        self._path = folder / DATABASE
        self._timeout = timeout
        self._guard = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._writer: apsw.Connection | None = None
        self._written: FileIdentity | None = None
        self._closed = False
        self._seen: _Seen | None = None
        self._collection = b""

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """One consistent snapshot, whatever is written meanwhile.

        Raises:
            CorruptStoreError: damaged, or a change that was stored is not in it.
            StoreError: another collection has taken this one's place.
        """
        connection, seen = self._borrow()
        try:
            with translated(self._path, COLLECTION.cure):
                with transaction(connection, write=False):
                    yield connection
                if seen[1] is not None and seen != self._look():
                    raise StoreError(f"{self._path} was changed by another user while it was read; try again")
        finally:
            self._give_back(connection, seen)

    @contextmanager
    def changing(self) -> Iterator[apsw.Connection]:
        """One transaction that changes, and then says that it did; the caller holds the writer's lock.

        Raises:
            ReadOnlyError: the file can't be written.
        """
        if self._closed:
            raise _closed(self._path)
        connection = self._open_writer()
        with translated(self._path, COLLECTION.cure):
            if connection.readonly("main"):
                raise ReadOnlyError(f"{self._path} can't be written: it is read-only for you")
            with transaction(connection, write=True):
                yield connection
                owner, change = read_change(connection)
            write_mark(self._path, owner, change)

    @contextmanager
    def maintaining(self) -> Iterator[apsw.Connection]:
        """The writer's connection outside of a transaction, after a change; the caller still holds the lock."""
        if self._writer is not None:
            with translated(self._path, COLLECTION.cure):
                yield self._writer

    def close(self) -> None:
        """Close all; those lent out close when they come back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._writer is not None:
                idle.append(self._writer)
                self._writer = None
        for connection in idle:
            connection.close(True)

    def _open_writer(self) -> apsw.Connection:
        found = identity(self._path, COLLECTION)
        if self._writer is not None and self._written != found:
            self._writer.close(True)
            self._writer = None
        if self._writer is None:
            self._writer = connect(self._path, COLLECTION, write=True, timeout=self._timeout)
            self._written = found
            migrate(self._writer, self._path, COLLECTION)
            self._recognise(self._writer)
        return self._writer

    def _borrow(self) -> tuple[apsw.Connection, _Seen]:
        seen = self._look()
        stale: list[apsw.Connection] = []
        with self._guard:
            if self._closed:
                raise _closed(self._path)
            if seen != self._seen:
                stale, self._idle, self._seen = self._idle, [], seen
            connection = self._idle.pop() if self._idle else None
        for old in stale:
            old.close(True)
        if connection is None:
            connection = connect(
                self._path, COLLECTION, write=False, timeout=self._timeout, immutable=seen[1] is not None
            )
            try:
                self._recognise(connection)
            except BaseException:
                connection.close(True)
                raise
        return connection, seen

    def _recognise(self, connection: apsw.Connection) -> None:
        """Refuse another collection than the one that was opened, and one that lacks a change that was stored."""
        with translated(self._path, COLLECTION.cure):
            owner, _ = read_change(connection)
            told = read_mark(self._path, owner)  # before the number that it is compared with
            _, change = read_change(connection)
        if self._collection and owner and owner != self._collection:
            raise StoreError(
                f"another collection lies at {self._path.parent} now than the one that was opened; nothing of it "
                "was read or changed. Open it again to use it"
            )
        if owner and change < told:
            raise CorruptStoreError(
                f"{self._path} is damaged: {told - change:,} changes that were stored are missing; its -wal was "
                f"damaged or removed, or an older {DATABASE} put back alone. {COLLECTION.cure}. To go on with "
                f"what is there, delete {mark_of(self._path).name} beside it"
            )
        self._collection = self._collection or owner

    def _give_back(self, connection: apsw.Connection, seen: _Seen) -> None:
        with self._guard:
            if not self._closed and seen == self._seen:
                self._idle.append(connection)
                return
        connection.close(True)

    def _look(self) -> _Seen:
        return identity(self._path, COLLECTION), frozen_state(self._path, COLLECTION)


def _closed(path: Path) -> StoreError:
    return StoreError(f"{path.parent} has been closed; open it again")
