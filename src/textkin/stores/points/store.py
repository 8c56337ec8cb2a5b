"""The store contract over any vector database that keeps points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from itertools import islice

import numpy as np

from textkin._places import located
from textkin.errors import CorruptStoreError, InputError, ReadOnlyError, RecordNotFoundError
from textkin.stores.checks import check_batch_size, checked_queries, checked_records, checked_vectors
from textkin.stores.headers import checked_canaries, header_from_json, header_json, refuse_other_model
from textkin.stores.points.backend import HEADS, KIND, SOURCE, Points
from textkin.stores.points.encoding import (
    UNFINISHED,
    Read,
    head_point,
    key_of,
    next_orders,
    passage_keys,
    point_keys,
    read_point,
    to_points,
)
from textkin.stores.points.search import askable, search_points, stale, to_hit
from textkin.stores.points.spool import Spool
from textkin.text.digest import record_digest
from textkin.types import Hit, Matrix, Record, StoreHeader
from textkin.where import check, matches
from textkin.where.conditions import And, Compare, Condition

_FETCHED = 500


class PointStore:
    """Records as points of a vector database.

    A record of one passage is one point; one of several is a point for the whole, with the unit mean of its
    passages, and one a passage. What databases can't hold exactly lies in a JSON payload. Writes are ordered so
    that a killed one is seen as unfinished: the point that holds the record comes last; indexing again mends it.

    A scan copies the collection into a temporary file first; it is of one state as far as this object is the
    only writer.

    Args:
        points: the database.
        read_only: refuse changes.
    """

    def __init__(self, points: Points, *, read_only: bool = False) -> None:
        self._points = points
        self._location = located(points.url)
        self._read_only = read_only
        self._understood: tuple[str, StoreHeader] | None = None

    def __repr__(self) -> str:
        return f"<PointStore {self.url}>"

    @property
    def url(self) -> str:
        return self._points.url

    @property
    def location(self) -> str:
        return self._location

    @property
    def exact(self) -> bool:
        return self._points.exact

    def close(self) -> None:
        self._points.close()

    # -- header --------------------------------------------------------------------------------------------

    @property
    def header(self) -> StoreHeader | None:
        text = self._points.read_header()
        if text is None:
            return None
        understood = self._understood
        if understood is None or understood[0] != text:  # every search asks; the canaries take time to parse
            understood = self._understood = (text, header_from_json(text, self.url))
        return understood[1]

    def write_header(self, header: StoreHeader) -> None:
        checked_canaries(header)
        with self.writing("write the header"):
            known = self.header
            if known is not None and self._filled():
                refuse_other_model(known, header, self.url)
            self._points.write_header(header_json(header), header.model.dimensions)

    # -- writing -------------------------------------------------------------------------------------------

    def upsert(self, records: Sequence[Record], vectors: Matrix) -> None:
        """As `Store.upsert`; one record is replaced after the other, not all at once.

        Raises:
            InputError: a record that can't be kept, or no header yet.
            ModelMismatchError: vectors of another length than the model's.
            BadVectorsError: a vector that is not finite or not of unit length.
        """
        checked_records(records)
        digests = [record_digest(record) for record in records]
        with self.writing("upsert"):
            header = self.header
            if header is None:
                raise InputError(f"{self.url} has no header yet: a vector is never kept without its model")
            rows = checked_vectors(records, vectors, header.model)
            known = self._heads([record.id for record in records])
            orders = iter(next_orders(len(records)))
            passages, heads = [], []
            leftover: list[str] = []
            done = 0
            for record, digest in zip(records, digests, strict=True):
                old = known.get(record.id)
                order = next(orders) if old is None else old.order
                own = to_points(record, digest, order, rows[done : done + len(record.spans)])
                done += len(record.spans)
                passages += own[:-1]
                heads.append(own[-1])
                if old is not None:
                    leftover += sorted(set(point_keys(old)) - {point.key for point in own})
            self._points.check([*passages, *heads])
            self._mark_unfinished(known.values())
            self._points.remove(leftover)
            self._points.put(passages)
            self._points.put(heads)

    def delete(self, ids: Sequence[str]) -> int:
        with self.writing("delete"):
            known = self._heads(ids)
            passages = [key for read in known.values() if len(read.spans) > 1 for key in passage_keys(read)]
            self._mark_unfinished(known.values())
            self._points.remove(passages)
            self._points.remove([key_of(name) for name in known])
        return len(known)

    def writing(self, what: str) -> AbstractContextManager[None]:
        self._check_writable()
        return self._points.writing(what)

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> list[Record]:
        known = self._heads(ids)
        return [known[name].record for name in ids if name in known]

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        known = self._heads(ids)
        missing = next((name for name in ids if name not in known), None)
        if missing is not None:
            raise RecordNotFoundError(f"{self.url} has no record {missing!r}")
        return self._vectors_of([known[name] for name in ids])

    def count(self, where: Condition | None = None) -> int:
        if where is None:
            return self._points.count(HEADS)
        return sum(len(page) for page in self._head_pages(where, vectors=False))

    def scan(self, where: Condition | None = None, batch_size: int = 1000) -> Iterator[list[Record]]:
        check_batch_size(batch_size)
        checked = None if where is None else check(where)
        return self._scan(checked, batch_size)

    def scan_vectors(
        self, where: Condition | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[Record], Matrix]]:
        check_batch_size(batch_size)
        checked = None if where is None else check(where)
        return self._scan_vectors(checked, batch_size)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        return {name: read.digest for name, read in self._heads(ids).items()}

    def ids(self, source: str | None = None) -> Iterator[str]:
        asked = None if source is None else Compare(SOURCE, "=", source)
        found: list[tuple[int, str]] = []
        for page in self._read_pages(asked, vectors=False):
            found += [(read.order, read.id) for read in page if source is None or read.source == source]
        return iter([name for _, name in sorted(found)])

    def search(
        self, queries: Matrix, k: int, where: Condition | None = None, *, whole: bool = False
    ) -> list[list[Hit]]:
        """As `Store.search`, as exact as the database's own index (see `exact`); scores are float64 products of
        the stored vectors, whatever the database's own distance.

        Raises:
            InputError: ``k`` under 1, or queries that are not unit rows.
            ModelMismatchError: queries of another length than the model's.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        if where is not None:
            check(where)
        header = self.header
        if header is None:
            return [[] for _ in range(len(queries))]
        unit = checked_queries(queries, header.model)
        answers = []
        for query in unit:
            dropped: frozenset[str] = frozenset()
            while True:
                found = search_points(self._points, query, k, where, whole=whole, dropped=dropped)
                left = stale(self._points, [read for _, read in found])
                if not left:
                    break
                dropped |= left
            answers.append([to_hit(score, read) for score, read in found])
        return answers

    # -- inside --------------------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self.url} was opened read-only; open it for writing to change it")

    def _mark_unfinished(self, reads: Iterable[Read]) -> None:
        """Before points of a record of several are touched: killed meanwhile, it must not look whole."""
        whole = {read.point.key: read for read in reads if len(read.spans) > 1 and read.digest != UNFINISHED}
        points = self._points.fetch(list(whole), vectors=True) if whole else {}
        self._points.put(
            [
                head_point(whole[key].record, UNFINISHED, whole[key].order, one.vector)
                for key, one in points.items()
            ]
        )

    def _filled(self) -> bool:
        return any(page for page in self._points.pages(HEADS, vectors=False))

    def _heads(self, ids: Sequence[str]) -> dict[str, Read]:
        wanted = list(dict.fromkeys(ids))
        points = self._points.fetch([key_of(name) for name in wanted], vectors=False) if wanted else {}
        found = (points.get(key_of(name)) for name in wanted)
        reads = [read_point(point, self.url) for point in found if point is not None]
        return {read.id: read for read in reads}

    def _vectors_of(self, reads: Sequence[Read]) -> list[Matrix]:
        """Passage vectors of each; of a record of one passage its own, when it was read with it."""
        keys = [passage_keys(read) for read in reads]
        missing = [key for own, read in zip(keys, reads, strict=True) if not _has_own(read) for key in own]
        points = self._points.fetch(missing, vectors=True) if missing else {}
        matrices = []
        for own, read in zip(keys, reads, strict=True):
            if _has_own(read):
                matrices.append(read.point.vector[None, :])
                continue
            rows = [points[key].vector for key in own if key in points]
            if len(rows) < len(own):
                raise CorruptStoreError(
                    f"{self.url}: {len(own) - len(rows)} of {len(own)} passages of record {read.id!r} are missing "
                    "(a write was cut off, or another program removed them); index it again"
                )
            matrices.append(np.ascontiguousarray(np.stack(rows), dtype=np.float32))
        return matrices

    def _read_pages(self, asked: Condition | None, *, vectors: bool) -> Iterator[list[Read]]:
        where = HEADS if asked is None else And((HEADS, asked))
        for page in self._points.pages(where, vectors=vectors):
            yield [read_point(point, self.url) for point in page if point.fields[KIND] != "passage"]

    def _head_pages(self, where: Condition | None, *, vectors: bool) -> Iterator[list[Read]]:
        asked = None if where is None else askable(self._points, check(where))
        for page in self._read_pages(asked, vectors=vectors):
            yield [read for read in page if where is None or matches(where, read.metadata)]

    def _scan(self, where: Condition | None, batch_size: int) -> Iterator[list[Record]]:
        with closing(Spool()) as spool:
            for page in self._head_pages(where, vectors=False):
                spool.add(page)
            ordered = spool.ordered()
            while batch := list(islice(ordered, batch_size)):
                yield [read.record for read, _ in batch]

    def _scan_vectors(self, where: Condition | None, batch_size: int) -> Iterator[tuple[list[Record], Matrix]]:
        with closing(Spool()) as spool:
            for page in self._head_pages(where, vectors=True):
                for start in range(0, len(page), _FETCHED):
                    part = page[start : start + _FETCHED]
                    spool.add(part, self._vectors_of(part))
            ordered = spool.ordered()
            while batch := list(islice(ordered, batch_size)):
                yield [read.record for read, _ in batch], np.concatenate([rows for _, rows in batch])


def _has_own(read: Read) -> bool:
    return len(read.spans) == 1 and bool(len(read.point.vector))
