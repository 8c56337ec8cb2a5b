"""The store contract over an .npy with its .json: exact search in a memory-mapped matrix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from textkin._places import absolute
from textkin.errors import InputError, ReadOnlyError, RecordNotFoundError, StoreError, StoreNotFoundError
from textkin.stores.arrays.encoding import record_from
from textkin.stores.arrays.live import Live
from textkin.stores.arrays.pair import files_of
from textkin.stores.arrays.state import Kept, Searchable, delete_change, header_change, upsert_change
from textkin.stores.checks import check_batch_size, checked_queries, checked_records, checked_vectors
from textkin.stores.headers import checked_canaries, refuse_other_model
from textkin.stores.local.exact import best_records
from textkin.stores.lock import WriterLock
from textkin.stores.problems import from_system
from textkin.stores.problems import read_only as read_only_error
from textkin.text.digest import record_digest
from textkin.types import Hit, Matrix, Record, StoreHeader
from textkin.where import Condition, check, matches


class ArrayStore:
    """A collection in ``vectors.npy`` (one float32 row a passage) and ``vectors.json`` (records and model).

    Each change goes to a journal first and is on the disk when a call returns; at the end of `writing`, or of a
    call outside of it, both files are written anew. Texts and metadata of all records lie in memory, vectors are
    mapped but for those that were written since.

    Files of `textkin.vectors.files.save_vectors` open too, when they have texts and the model's fingerprint; the
    first change rewrites them in this store's format.

    Any number of threads may use one object. It must not be carried across a fork.

    Args:
        path: of the .npy.
        create: make it on the first write where there is none; False refuses to open nothing.
        read_only: refuse changes and write no file at all.
        timeout: seconds to wait for another writer.

    Raises:
        StoreNotFoundError: nothing there, and ``create`` is False or ``read_only`` True.
        ForeignFileError: something else is there, or vectors whose texts or model aren't known.
        CorruptStoreError: a file is damaged, or the two don't belong together.
        NewerVersionError: made by a newer textkin.
    """

    def __init__(self, path: Path, *, create: bool = True, read_only: bool = False, timeout: float = 10.0) -> None:
        self._shown = str(files_of(Path(path)).numbers)
        self._files = files_of(absolute(path))
        self._read_only = read_only
        self._lock = WriterLock(self._files.numbers.parent, timeout, file=self._files.numbers.name)
        self._live = Live(self._files, timeout)
        self._holds = 0
        if not self._live.exists and (read_only or not create):
            raise StoreNotFoundError(
                f"there is no collection at {self.url}; make one: textkin index PATH --to {self.url}"
            )

    def __repr__(self) -> str:
        return f"<ArrayStore {self.url}>"

    @property
    def url(self) -> str:
        return self._shown

    @property
    def location(self) -> str:
        return str(self._files.numbers)

    @property
    def exact(self) -> bool:
        return True

    def close(self) -> None:
        self._live.forget()

    # -- header --------------------------------------------------------------------------------------------

    @property
    def header(self) -> StoreHeader | None:
        with self._live.now() as state:
            return state.header

    def write_header(self, header: StoreHeader) -> None:
        canaries = checked_canaries(header)
        new = StoreHeader(header.model, np.array(canaries, dtype=np.float32), header.accepted)
        with self.writing("write the header"):
            with self._live.now() as state:
                if len(state):
                    refuse_other_model(state.header, header, self.url)
            self._live.change(header_change(new), lambda state: setattr(state, "header", new))

    # -- writing -------------------------------------------------------------------------------------------

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        """As `Store.upsert`. A replaced record keeps its place in the order of insertion.

        Raises:
            InputError: a record that can't be kept, or no header yet.
            ModelMismatchError: vectors of another length than the model's.
            BadVectorsError: a vector that is not finite or not of unit length.
        """
        checked_records(records)
        with self.writing("upsert"):
            header = self.header
            if header is None:
                raise InputError(f"{self.url} has no header yet: a vector is never kept without its model")
            rows = np.array(checked_vectors(records, vectors, header.model), dtype=np.float32)
            if not records:
                return
            change = upsert_change(records, rows)
            own = [record_from(facts) for facts in change.facts["upsert"]]
            self._live.change(change, lambda state: state.upsert(own, rows))

    def delete(self, ids: Sequence[str]) -> int:
        if not self._live.exists:
            return 0
        with self.writing("delete"):
            known = [one.record.id for one in self._of(dict.fromkeys(ids))]
            if known:
                self._live.change(delete_change(known), lambda state: state.delete(known))
        return len(known)

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        self._check_writable()
        folder = self._files.numbers.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_system(error, folder) from error
        with self._lock.hold(what):
            if not self._holds:
                self._live.begin()
            self._holds += 1
            try:
                yield
            finally:
                self._holds -= 1
                if not self._holds:
                    self._live.fold()

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> list[Record]:
        return [_copy(one.record) for one in self._of(ids)]

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        with self._live.now() as state:
            found = [state.get(name) for name in ids]
        missing = next((name for name, one in zip(ids, found, strict=True) if one is None), None)
        if missing is not None:
            raise RecordNotFoundError(f"{self.url} has no record {missing!r}")
        return [np.array(one.vectors) for one in found if one is not None]

    def count(self, where: Condition | None = None) -> int:
        if where is None:
            with self._live.now() as state:
                return len(state)
        return len(self._matching(check(where)))

    def scan(self, where: Condition | None = None, batch_size: int = 1000) -> Iterator[list[Record]]:
        check_batch_size(batch_size)
        rest = iter(self._matching(None if where is None else check(where)))
        return iter(lambda: [_copy(one.record) for one in islice(rest, batch_size)], [])

    def scan_vectors(
        self, where: Condition | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[Record], Matrix]]:
        check_batch_size(batch_size)
        return _with_vectors(self._matching(None if where is None else check(where)), batch_size)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        return {one.record.id: record_digest(one.record) for one in self._of(ids)}

    def ids(self, source: str | None = None) -> Iterator[str]:
        kept = self._matching(None)
        return iter([one.record.id for one in kept if source is None or one.record.source == source])

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
        checked = None if where is None else check(where)
        with self._live.now() as state:
            if state.header is None:
                return [[] for _ in range(len(queries))]
            unit = checked_queries(queries, state.header.model)
            found = state.searchable()
        selected = None
        if checked is not None:
            wanted = (matches(checked, one.record.metadata) for one in found.kept)
            selected = np.flatnonzero(np.fromiter(wanted, dtype=bool, count=len(found.kept))).astype(np.int64)
        matrix = found.wholes if whole else found.matrix
        answers = best_records(matrix, unit, k, selected)
        return [[_hit(found, int(matrix.passages[row]), score) for row, score in answer] for answer in answers]

    def check(self) -> None:
        """Read everything once.

        Raises:
            CorruptStoreError: naming the first thing that is wrong.
        """
        self._live.forget()
        with self._live.now():
            pass

    # -- inside --------------------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self.url} was opened read-only; open it for writing to change it")
        folder = self._files.numbers.parent
        if folder.exists() and not os.access(folder, os.W_OK):
            raise read_only_error(self._files.numbers)
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder} is a file, so {self._files.numbers.name} can't be kept in it")

    def _of(self, ids: Sequence[str] | dict[str, None]) -> list[Kept]:
        with self._live.now() as state:
            found = (state.get(name) for name in ids)
            return [one for one in found if one is not None]

    def _matching(self, where: Condition | None) -> list[Kept]:
        with self._live.now() as state:
            kept = state.all()
        return kept if where is None else [one for one in kept if matches(where, one.record.metadata)]


def _with_vectors(kept: list[Kept], batch_size: int) -> Iterator[tuple[list[Record], Matrix]]:
    for start in range(0, len(kept), batch_size):
        some = kept[start : start + batch_size]
        yield [_copy(one.record) for one in some], np.concatenate([one.vectors for one in some])


def _copy(record: Record) -> Record:
    """The record with metadata that the caller may change."""
    return Record(record.id, record.text, dict(record.metadata), record.source, record.spans)


def _hit(found: Searchable, row: int, score: float) -> Hit:
    place = int(np.searchsorted(found.matrix.firsts, row, side="right")) - 1
    record = found.kept[place].record
    span = record.spans[row - int(found.matrix.firsts[place])]
    return Hit(record.id, score, record.text[span.start : span.end], dict(record.metadata), span)
