"""The embedded store: records, passages and vectors in one folder; many readers, one writer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import apsw
import numpy as np

from textkin._places import absolute
from textkin.errors import (
    ForeignFileError,
    InputError,
    RecordNotFoundError,
    StoreNotFoundError,
)
from textkin.stores.checks import check_batch_size, checked_queries, checked_records, checked_vectors
from textkin.stores.local import removal, rows
from textkin.stores.local.connections import Connections
from textkin.stores.local.exact import best_records
from textkin.stores.local.filter_sql import filter_sql
from textkin.stores.local.matrix import FILE, PassageMatrix, chunks, forget_matrix, load_matrix, whole_records
from textkin.stores.local.schema import COLLECTION, DATABASE, DERIVED
from textkin.stores.lock import HOLDER, LOCK, WriterLock
from textkin.stores.problems import read_only as read_only_error
from textkin.stores.problems import translated
from textkin.stores.sqlite import check_file, create, remove_unfinished, unfinished, version_of
from textkin.text.digest import record_digest
from textkin.types import Hit, Matrix, Record, Scalar, StoreHeader
from textkin.vectors.own_files import make_private_folder
from textkin.where import Condition

_FREED_PAGES_KEPT: Final = 1000


class LocalStore:
    """One folder: ``collection.db`` is the truth, ``matrix.bin`` derived from it and deletable.

    Any number of threads may use one object: each read has a connection and a snapshot of its own, writes come one
    after the other. It must not be carried across a fork.

    Args:
        path: the folder, by convention ``….kin``.
        create: make it on the first write where there is none; False refuses to open nothing.
        read_only: refuse changes and write no file at all.
        timeout: seconds to wait for another writer.

    Raises:
        StoreNotFoundError: nothing there, and ``create`` is False or ``read_only`` True.
        ForeignFileError: something else is there.
        CorruptStoreError: the database is damaged.
        NewerVersionError: made by a newer textkin.
    """

    def __init__(self, path: Path, *, create: bool = True, read_only: bool = False, timeout: float = 10.0) -> None:
        self._shown = str(Path(path))
        self._folder = absolute(path)
        self._read_only = read_only
        self._timeout = timeout
        self._lock = WriterLock(self._folder, timeout)
        self._connections = Connections(self._folder, timeout=timeout)
        self._matrix: PassageMatrix | None = None
        self._wholes: PassageMatrix | None = None
        self._matrix_guard = threading.Lock()
        self._seen = False
        self._check_place(create and not read_only)
        if self._exists():
            self._bring_up_to_date()

    def __repr__(self) -> str:
        return f"<LocalStore {self._shown}>"

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return self._shown

    @property
    def location(self) -> str:
        return str(self._folder)

    @property
    def exact(self) -> bool:
        return True

    @property
    def folder(self) -> Path:
        """Where it lies, whatever the working directory is; derived files may be put beside the database."""
        return self._folder

    @property
    def read_only(self) -> bool:
        """Whether it was opened without the right to write."""
        return self._read_only

    def close(self) -> None:
        self._connections.close()
        self._matrix = self._wholes = None

    # -- header --------------------------------------------------------------------------------------------

    @property
    def header(self) -> StoreHeader | None:
        with self._reading() as connection:
            return None if connection is None else rows.read_header(connection)

    def write_header(self, header: StoreHeader) -> None:
        with self._changing("write the header") as connection:
            rows.write_header(connection, header, self.url)

    # -- writing -------------------------------------------------------------------------------------------

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        """As `Store.upsert`. A replaced record keeps its place in the order of insertion.

        Raises:
            InputError: a record that can't be kept, or no header yet.
            ModelMismatchError: vectors of another length than the model's.
            BadVectorsError: a vector that is not finite or not of unit length.
        """
        metadata = checked_records(records)
        digests = [record_digest(record) for record in records]
        with self.writing("upsert"):
            with self._changing("upsert") as connection:
                header = rows.read_header(connection)
                if header is None:
                    raise InputError(f"{self.url} has no header yet: a vector is never kept without its model")
                data = checked_vectors(records, vectors, header.model)
                if not records:
                    return
                replaced = rows.upsert(connection, records, metadata, digests, data)
            if replaced:
                self._after_removal()

    def delete(self, ids: Sequence[str]) -> int:
        if not self._exists():
            return 0
        with self.writing("delete"):
            with self._changing("delete") as connection:
                gone = rows.delete(connection, ids)
            if gone:
                self._after_removal()
        return gone

    def delete_undoably(self, ids: Sequence[str], what: str) -> int:
        """As `delete`, in one transaction that also keeps what goes, in place of what the last such call kept."""
        with self.writing(what):
            with self._changing(what) as connection:
                gone = removal.remove(connection, ids, what)
            if gone:
                forget_matrix(self._folder)
        return gone

    def undo_delete(self) -> int:
        """Take back the last `delete_undoably`: records, vectors, metadata and order as they were.

        Returns:
            How many records came back.

        Raises:
            InputError: nothing is kept, or an id is in use again.
            ModelMismatchError: the collection holds vectors of another model now.
        """
        with self._changing("undo") as connection:
            return removal.restore(connection, self.url)

    def forget_deleted(self) -> int:
        """Drop what `delete_undoably` kept. Returns how many records it were."""
        with self.writing("forget"):
            with self._changing("forget") as connection:
                forgotten = removal.forget(connection)
            if forgotten:
                self._after_removal()
        return forgotten

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        self._check_writable()
        if not self._exists():
            with translated(self._folder, COLLECTION.cure):
                make_private_folder(self._folder)
        with self._lock.hold(what):
            if not self._exists():
                create(self._folder / DATABASE, COLLECTION)
                self._seen = True
            elif unfinished(self._folder / DATABASE):
                remove_unfinished(self._folder / DATABASE)
            yield

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> list[Record]:
        with self._reading() as connection:
            if connection is None:
                return []
            found = (rows.read_record(connection, name) for name in ids)
            return [record for record in found if record is not None]

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        with self._reading() as connection:
            return [self._vectors_of(connection, name) for name in ids]

    def count(self, where: Condition | None = None) -> int:
        condition, parameters = filter_sql(where)
        with self._reading() as connection:
            if connection is None:
                return 0
            return int(connection.execute(f"SELECT count(*) FROM records WHERE {condition}", parameters).get)

    def scan(self, where: Condition | None = None, batch_size: int = 1000) -> Iterator[list[Record]]:
        check_batch_size(batch_size)
        condition, parameters = filter_sql(where)
        return self._scan(condition, parameters, batch_size)

    def scan_vectors(
        self, where: Condition | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[Record], Matrix]]:
        check_batch_size(batch_size)
        condition, parameters = filter_sql(where)
        return self._scan_vectors(condition, parameters, batch_size)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        with self._reading() as connection:
            if connection is None:
                return {}
            found = ((name, rows.read_digest(connection, name)) for name in ids)
            return {name: digest for name, digest in found if digest is not None}

    def ids(self, source: str | None = None) -> Iterator[str]:
        with self._reading() as connection:
            if connection is not None:
                yield from rows.read_ids(connection, source)

    def search(
        self, queries: Matrix, k: int, where: Condition | None = None, *, whole: bool = False
    ) -> list[list[Hit]]:
        """As `Store.search`; ranked by the product in float64, which, cut to -1 … 1, is also the hit's score.

        Raises:
            InputError: ``k`` under 1, or queries that are not unit rows.
            ModelMismatchError: queries of another length than the model's.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        condition, parameters = filter_sql(where)
        with self._reading() as connection:
            header = None if connection is None else rows.read_header(connection)
            if connection is None or header is None:
                return [[] for _ in range(len(queries))]
            unit = checked_queries(queries, header.model)
            matrix = self._current_matrix(connection, header.model.dimensions)
            if whole:
                matrix = self._whole_records(matrix)
            selected = None
            if where is not None:
                found = rows.read_numbers(connection, condition, parameters)
                selected = np.searchsorted(matrix.records, found).astype(np.int64)
            answers = best_records(matrix, unit, k, selected)
            fetched: dict[int, tuple[str, str, dict[str, Any]]] = {}
            return [
                [rows.read_hit(connection, int(matrix.passages[row]), score, fetched) for row, score in answer]
                for answer in answers
            ]

    def prepare(self) -> None:
        """Build now what the next search would build first."""
        with self._reading() as connection:
            header = None if connection is None else rows.read_header(connection)
            if connection is not None and header is not None:
                self._current_matrix(connection, header.model.dimensions)

    def check(self) -> None:
        """Read everything once.

        Raises:
            CorruptStoreError: naming the first thing that is wrong.
        """
        with self._reading() as connection:
            if connection is None:
                return
            problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
            problem = rows.first_inconsistency(connection) if problems == ["ok"] else problems[0]
            if problem is not None:
                raise rows.damaged(connection, problem)
            rows.read_stamp(connection)
            header = rows.read_header(connection)
            if header is not None:
                for _ in chunks(connection, header.model.dimensions):
                    pass  # each vector is compared with its checksum

    # -- inside --------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        """Whether there is anything yet.

        Raises:
            StoreNotFoundError: there was, and it is gone.
        """
        there = (self._folder / DATABASE).exists()
        if self._seen and not there:
            raise StoreNotFoundError(
                f"the collection {self._shown} is no longer at {self._folder}: it was moved or deleted after it "
                "was opened. Open it where it is now"
            )
        self._seen = there
        return there

    def _check_place(self, create: bool) -> None:
        if self._exists():
            check_file(self._folder / DATABASE, COLLECTION)
            return
        if self._folder.exists() and not self._folder.is_dir():
            raise ForeignFileError(f"{self._shown} is a file; a collection is a folder. Name another place")
        if not create:
            raise StoreNotFoundError(
                f"there is no collection at {self._shown}; make one: textkin index PATH --to {self._shown}"
            )
        if self._folder.is_dir():
            with translated(self._folder, COLLECTION.cure):
                own = (LOCK, HOLDER, FILE, DATABASE, *DERIVED)
                other = next((item for item in self._folder.iterdir() if not item.name.startswith(own)), None)
            if other is not None:
                raise ForeignFileError(
                    f"{self._shown} is a folder with other things in it ({other.name}), not a collection; "
                    "name a folder that doesn't exist yet, such as notes.kin"
                )

    def _bring_up_to_date(self) -> None:
        with self._connections.reading() as connection:
            old = version_of(connection) < COLLECTION.version
        if old and not self._read_only and os.access(self._folder, os.W_OK):
            with self._lock.hold("bring an older collection up to date"), self._connections.changing():
                pass  # opening to write migrates

    def _check_writable(self) -> None:
        if self._read_only:
            raise read_only_error(self._folder)
        if self._folder.exists() and not os.access(self._folder, os.W_OK):
            raise read_only_error(self._folder)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection | None]:
        """A snapshot; None while nothing has been written yet."""
        if not self._exists():
            yield None
            return
        with self._connections.reading() as connection:
            yield connection

    @contextmanager
    def _changing(self, what: str) -> Iterator[apsw.Connection]:
        with self.writing(what), self._connections.changing() as connection:
            yield connection
            rows.renew_stamp(connection)

    def _scan(self, condition: str, parameters: list[Scalar], batch_size: int) -> Iterator[list[Record]]:
        with self._reading() as connection:
            if connection is not None:
                yield from rows.read_batches(connection, condition, parameters, batch_size)

    def _scan_vectors(
        self, condition: str, parameters: list[Scalar], batch_size: int
    ) -> Iterator[tuple[list[Record], Matrix]]:
        with self._reading() as connection:
            if connection is not None:
                yield from rows.read_vector_batches(connection, condition, parameters, batch_size)

    def _vectors_of(self, connection: apsw.Connection | None, id: str) -> Matrix:
        found = None if connection is None else rows.read_vectors(connection, id)
        if found is None:
            raise RecordNotFoundError(f"{self.url} has no record {id!r}")
        return found

    def _current_matrix(self, connection: apsw.Connection, dimensions: int) -> PassageMatrix:
        stamp = rows.read_stamp(connection)
        with self._matrix_guard:
            matrix = self._matrix
            if matrix is None or matrix.stamp != stamp:
                matrix = load_matrix(self._folder, connection, stamp, dimensions, keep=not self._read_only)
                self._matrix = matrix
            return matrix

    def _whole_records(self, matrix: PassageMatrix) -> PassageMatrix:
        kept = self._wholes
        if kept is None or kept.stamp != matrix.stamp:
            kept = self._wholes = whole_records(matrix)
        return kept

    def _after_removal(self) -> None:
        """Leave nothing of what was removed in derived files, and give freed space back; the lock is held."""
        forget_matrix(self._folder)
        with self._connections.maintaining() as connection:
            freed = int(connection.pragma("freelist_count"))
            if freed > max(_FREED_PAGES_KEPT, int(connection.pragma("page_count")) // 4):
                connection.execute("PRAGMA incremental_vacuum").fetchall()  # one page a step
