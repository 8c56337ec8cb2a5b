"""A collection in memory: its records, and where each one's vectors lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from textkin.errors import TextkinError
from textkin.stores.arrays.encoding import checked_upsert, header_facts, header_of, record_facts
from textkin.stores.arrays.journal import Change
from textkin.stores.checks import checked_vectors
from textkin.stores.local.matrix import PassageMatrix, whole_records
from textkin.types import Matrix, Record, StoreHeader


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A record, and the rows ``first`` … of ``block`` that are its passages' vectors."""

    record: Record
    block: Matrix
    first: int

    @property
    def vectors(self) -> Matrix:
        """``(passages, dimensions)``, a view."""
        return self.block[self.first : self.first + len(self.record.spans)]


@dataclass(frozen=True, slots=True, eq=False)
class Searchable:
    """One state, ready for exact search; rows of the matrices are numbered as ``passages`` says.

    Attributes:
        kept: in the order of insertion.
        matrix: all passages.
        wholes: one row a record.
    """

    kept: list[Kept]
    matrix: PassageMatrix
    wholes: PassageMatrix


class State:
    """Records in the order of insertion. Not for several threads at once.

    Args:
        header: None while nothing has been written.
        records: those of the files.
        rows: theirs, all passages in order.
    """

    def __init__(self, header: StoreHeader | None, records: Sequence[Record], rows: Matrix) -> None:
        self.header = header
        self._base = rows
        self._untouched = True
        self._kept: dict[str, Kept] = {}
        self._searchable: Searchable | None = None
        self.rest_on(records, rows)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, id: str) -> Kept | None:
        """One record."""
        return self._kept.get(id)

    def all(self) -> list[Kept]:
        """Those of now, in the order of insertion."""
        return list(self._kept.values())

    def rest_on(self, records: Iterable[Record], rows: Matrix) -> None:
        """Let the records' vectors be the rows of one matrix."""
        first = 0
        kept = {}
        for record in records:
            kept[record.id] = Kept(record, rows, first)
            first += len(record.spans)
        self._kept, self._base, self._untouched, self._searchable = kept, rows, True, None

    def apply(self, change: Change, place: str) -> None:
        """Do what a change says.

        Raises:
            TextkinError, KeyError, TypeError, ValueError: it says nothing that can be done.
        """
        facts = change.facts
        if "header" in facts:
            self.header = header_of(facts["header"], place)
        elif "upsert" in facts:
            if self.header is None:
                raise ValueError("records without a header")
            records = checked_upsert(facts["upsert"])
            rows = change.vectors.reshape(-1, self.header.model.dimensions)
            self.upsert(records, checked_vectors(records, rows, self.header.model))
        else:
            self.delete([str(name) for name in facts["delete"]])

    def upsert(self, records: Sequence[Record], rows: Matrix) -> None:
        """Insert or replace; a replaced record keeps its place."""
        first = 0
        for record in records:
            self._kept[record.id] = Kept(record, rows, first)
            first += len(record.spans)
        self._changed()

    def delete(self, ids: Iterable[str]) -> None:
        """Remove; unknown ids are ignored."""
        for name in ids:
            self._kept.pop(name, None)
        self._changed()

    def searchable(self) -> Searchable:
        """The matrix of now: the files' own, mapped, unless there were changes since."""
        if self._searchable is None:
            kept = self.all()
            lengths = np.array([len(one.record.spans) for one in kept], dtype=np.int64)
            firsts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
            rows = self._base
            if not self._untouched:
                rows = np.concatenate([one.vectors for one in kept]) if kept else rows[:0]
            matrix = PassageMatrix(
                b"", rows, np.arange(len(rows), dtype=np.int64), np.arange(len(kept), dtype=np.int64), firsts
            )
            self._searchable = Searchable(kept, matrix, whole_records(matrix))
        return self._searchable

    def _changed(self) -> None:
        self._untouched, self._searchable = False, None


def header_change(header: StoreHeader) -> Change:
    """Another header."""
    return Change({"header": header_facts(header)}, _NOTHING)


def upsert_change(records: Sequence[Record], rows: Matrix) -> Change:
    """Records with their passages' vectors."""
    return Change({"upsert": [record_facts(record) for record in records]}, rows)


def delete_change(ids: Sequence[str]) -> Change:
    """Ids to remove."""
    return Change({"delete": list(ids)}, _NOTHING)


_NOTHING = np.zeros(0, dtype=np.float32)
UNUSABLE = (TextkinError, KeyError, TypeError, ValueError)
"""What `State.apply` raises for a change that another program wrote."""
