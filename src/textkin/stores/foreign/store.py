"""The reading half of the store contract over another tool's collection; the writing half refuses."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from textkin._places import located
from textkin.errors import InputError, ModelMismatchError, ReadOnlyError, RecordNotFoundError
from textkin.stores.foreign.reader import ForeignFacts, Noted, Reader, Row
from textkin.stores.local import LocalStore
from textkin.stores.sampling import Sample
from textkin.text.digest import well_formed
from textkin.types import Hit, Matrix, ModelInfo, Record, Span, StoreHeader
from textkin.vectors.similarity import normalize
from textkin.where import Condition

SAMPLE: Final = 32
"""Records that are embedded again to check the model."""


class ForeignStore:
    """Another tool's collection, read once into a temporary store that answers exactly.

    The copy belongs to this object and goes with it. Nothing is answered before `adopt` has said whose vectors
    these are.

    Args:
        reader: the collection.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._location = located(reader.url)
        self._copy: LocalStore | None = None
        self._remove_copy: weakref.finalize[[str, bool], ForeignStore] | None = None
        self._guard = threading.Lock()
        self._header: StoreHeader | None = None
        self._facts: ForeignFacts | None = None
        self._chosen: list[str] = []
        self.dimensions = 0
        self.left_out = Noted()
        self.without_text = Noted()

    def __repr__(self) -> str:
        return f"<ForeignStore {self.url}>"

    @property
    def url(self) -> str:
        return self._reader.url

    @property
    def location(self) -> str:
        return self._location

    @property
    def exact(self) -> bool:
        return True

    @property
    def unread(self) -> tuple[str, ...]:
        """Columns that can't be metadata."""
        return self._reader.unread

    @property
    def facts(self) -> ForeignFacts | None:
        """What was found out about it; None before `adopt`."""
        return self._facts

    def close(self) -> None:
        """As `Store.close`; whoever goes on reading reads the other tool's collection anew."""
        self._reader.close()
        with self._guard:
            self._drop_copy()

    # -- the model -----------------------------------------------------------------------------------------

    @property
    def header(self) -> StoreHeader | None:
        return self._header

    def sample(self) -> tuple[list[Record], Matrix]:
        """Up to `SAMPLE` records that have a text, at random but the same each time, and their unit vectors."""
        kept = self._kept()
        if not self._chosen:
            return [], np.zeros((0, self.dimensions), dtype=np.float32)
        return kept.get(self._chosen), np.concatenate(kept.vectors(self._chosen))

    def adopt(self, header: StoreHeader, facts: ForeignFacts) -> None:
        """Take a model for the one that made the vectors; called by who has compared it."""
        self._header, self._facts = header, facts

    # -- writing: nothing ----------------------------------------------------------------------------------

    def write_header(self, header: StoreHeader) -> None:
        self._refuse()

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        self._refuse()

    def delete(self, ids: Sequence[str]) -> int:
        self._refuse()

    def writing(self, what: str) -> AbstractContextManager[None]:
        """Refuse.

        Raises:
            ReadOnlyError: always, and before anything is sent.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyError(
            f"{self.url} was made by another program, so textkin only reads it. Copy it, with its vectors: "
            f"textkin export '{self.url}' notes.kin --model NAME; or name another place to write to"
        )

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> list[Record]:
        return self._kept().get(ids)

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        known = self.digests(ids)
        missing = next((name for name in ids if name not in known), None)
        if missing is not None:
            raise RecordNotFoundError(f"{self.url} has no record {missing!r}")
        return self._kept().vectors(ids)

    def count(self, where: Condition | None = None) -> int:
        return self._kept().count(where)

    def scan(self, where: Condition | None = None, batch_size: int = 1000) -> Iterator[list[Record]]:
        return self._kept().scan(where, batch_size)

    def scan_vectors(
        self, where: Condition | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[Record], Matrix]]:
        return self._kept().scan_vectors(where, batch_size)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        return self._kept().digests(ids)

    def ids(self, source: str | None = None) -> Iterator[str]:
        return self._kept().ids(source)

    def search(
        self, queries: Matrix, k: int, where: Condition | None = None, *, whole: bool = False
    ) -> list[list[Hit]]:
        """As `Store.search`, exact whatever index the other tool has; scores are cosines of the stored vectors.

        Raises:
            InputError: ``k`` under 1, or queries that are not unit rows.
            ModelMismatchError: queries of another length than the stored vectors.
        """
        return self._kept().search(queries, k, where, whole=whole)

    # -- inside --------------------------------------------------------------------------------------------

    def _kept(self) -> LocalStore:
        with self._guard:
            if self._copy is None:
                folder = tempfile.mkdtemp(prefix="textkin-")
                self._remove_copy = weakref.finalize(self, shutil.rmtree, folder, True)
                self._copy = LocalStore(Path(folder) / "copy.kin")
                self.left_out, self.without_text = Noted(), Noted()
                try:
                    with self._copy.writing("read another tool's collection"):
                        self._read_into(self._copy)
                except BaseException:
                    self._drop_copy()
                    raise
            return self._copy

    def _drop_copy(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        if self._remove_copy is not None:
            self._remove_copy()

    def _read_into(self, copy: LocalStore) -> None:
        picked = Sample(SAMPLE)
        for rows in self._reader.batches():
            records: list[Record] = []
            vectors: list[Matrix] = []
            for row in rows:
                vector = self._usable(row)
                if vector is None:
                    continue
                record = _record(row)
                records.append(record)
                vectors.append(vector)
                if row.text is None:
                    self.without_text.add(repr(row.id))
                if record.text.strip():
                    picked.look_at([record.id])
            if not records:
                continue
            self._refuse_twins(copy, records)
            if copy.header is None:
                # Whose vectors they are is asked of `header`, never of the copy.
                unknown = ModelInfo("not known yet", self.dimensions, None, "0" * 64)
                copy.write_header(StoreHeader(unknown, np.zeros((16, self.dimensions), dtype=np.float32)))
            copy.upsert(records, np.stack(vectors))
        self._chosen = picked.ids

    def _usable(self, row: Row) -> Matrix | None:
        """The row's vector at unit length, or None for one that was left out and noted."""
        problem = row.problem
        if not problem and row.vector is None:
            problem = "no vector"
        if problem or row.vector is None:
            self.left_out.add(f"{row.id!r} ({problem})")
            return None
        wide = np.asarray(row.vector, dtype=np.float64)
        if self.dimensions and len(wide) != self.dimensions:
            raise ModelMismatchError(
                f"{self.url}: the vector of record {row.id!r} has {len(wide)} dimensions, those before it "
                f"{self.dimensions}; vectors of two models can't be compared"
            )
        if not np.isfinite(wide).all():
            self.left_out.add(f"{row.id!r} (NaN or infinity in its vector)")
            return None
        if not wide.any():
            self.left_out.add(f"{row.id!r} (a zero vector)")
            return None
        self.dimensions = len(wide)
        # Divided by the largest first: squares of tiny or huge numbers would leave the range of floats.
        unit: Matrix = normalize(wide / np.abs(wide).max()).astype(np.float32)
        return unit

    def _refuse_twins(self, copy: LocalStore, records: Sequence[Record]) -> None:
        ids = [record.id for record in records]
        seen = set(copy.digests(ids))
        for name in ids:
            if name in seen or not name:
                what = "comes twice" if name else "is empty"
                raise InputError(f"{self.url}: the id {name!r} {what}; name a column of ids that differ")
            seen.add(name)


def _record(row: Row) -> Record:
    text = well_formed(row.text or "")
    return Record(row.id, text, row.metadata, None, (Span(0, len(text)),))
