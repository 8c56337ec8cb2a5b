"""Where the vectors of a job go, shard by shard: Parquet files, or a collection in any store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np

from textkin.jobs.bulk.ids import SeenIds
from textkin.jobs.bulk.manifest import Marker, file_name, read_markers, rejects_name, write_marker
from textkin.jobs.bulk.parquet import ShardSchema
from textkin.jobs.bulk.place import Place
from textkin.jobs.bulk.shards import Reject, Row, Shard
from textkin.text.digest import record_digest
from textkin.types import Matrix, Record, Span, Store
from textkin.vectors.quantize import Kind, quantize, truncate


@dataclass(slots=True, eq=False)
class Finished:
    """A shard with its vectors.

    Attributes:
        shard: its rows.
        places: the rows that were embedded, ascending.
        vectors: ``(len(places), dimensions)`` unit rows.
        truncated: rows of which the model read only the beginning.
        failed: row to why the model's provider refused it; its vector is zero.
        embedded: different texts that were sent to the model.
        from_ledger: different texts whose vector was known.
        tokens: of the texts that were embedded.
    """

    shard: Shard
    places: Sequence[int]
    vectors: Matrix
    truncated: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    embedded: int = 0
    from_ledger: int = 0
    tokens: int = 0

    def rejects(self) -> Iterator[Reject]:
        """All rows without a vector: those that could not be used, then those that were refused."""
        yield from self.shard.rejects
        for row, reason in sorted(self.failed.items()):
            yield Reject("", None, self.shard.rows[row].id, reason)


class Sink(Protocol):
    """Where shards go."""

    def missing(self, shard: Shard) -> list[int] | None:
        """The rows that need vectors, ascending; None where the shard is complete. Called in one thread."""
        ...

    def write(self, finished: Finished) -> None:
        """Keep a shard: all of it is on the disk when this returns. Called in another thread, inside `holding`."""
        ...

    def holding(self) -> AbstractContextManager[None]:
        """What has to be held while shards are written."""
        ...


class ShardSink:
    """Parquet files in a folder.

    Args:
        place: the folder; its writer's place is held by the caller.
        schema: of the files.
        kind: how numbers are kept.
        dimensions: of the vectors that are written; fewer than the model's are cut off and scaled anew.
        before_first: called with the vectors of the first shard that this run makes, before any is written.
    """

    def __init__(
        self,
        place: Place,
        schema: ShardSchema,
        kind: Kind,
        dimensions: int,
        before_first: Callable[[Matrix], None] | None = None,
    ) -> None:
        self._place = place
        self._schema = schema
        self._kind: Kind = kind
        self._dimensions = dimensions
        self._before_first = before_first
        self.markers: dict[int, Marker] = {marker.number: marker for marker in read_markers(place)}

    def missing(self, shard: Shard) -> list[int] | None:
        known = self.markers.get(shard.number)
        if known is not None and known.digest == shard.digest:
            return None
        return list(range(len(shard.rows)))

    def write(self, finished: Finished) -> None:
        shard = finished.shard
        kept = [row for row in range(len(shard.rows)) if row not in finished.failed]
        rejects = list(finished.rejects())
        if rejects:
            self._place.write(rejects_name(shard.number, shard.digest), lambda file: write_rejects(file, rejects))
        name, size, digest = None, 0, ""
        if kept:
            vectors = finished.vectors if len(kept) == len(shard.rows) else finished.vectors[kept]
            if self._before_first is not None:
                self._before_first(vectors)
                self._before_first = None
            stored = quantize(truncate(vectors, self._dimensions), self._kind)
            rows: list[Row] = [shard.rows[row] for row in kept]
            cut = [row in finished.truncated for row in kept]
            name = file_name(shard.number, shard.digest)
            written = self._place.write(name, lambda file: self._schema.write(file, rows, cut, stored))
            size, digest = written.bytes, written.sha256
        marker = Marker(
            number=shard.number,
            digest=shard.digest,
            file=name,
            rows=len(kept),
            bytes=size,
            sha256=digest,
            truncated=len(finished.truncated - finished.failed.keys()),
            rejected=len(shard.rejects),
            failed=len(finished.failed),
            embedded=finished.embedded,
            from_ledger=finished.from_ledger,
            tokens=finished.tokens,
        )
        write_marker(self._place, marker)
        self.markers[shard.number] = marker

    def holding(self) -> AbstractContextManager[None]:
        return nullcontext()


class StoreSink:
    """Records in a collection: one vector over the whole text of each.

    What is in the collection already, text and metadata the same, is not embedded again.

    Args:
        store: with its header.
        names: of the columns, which become metadata.
        rejects: takes the rows without a vector, as they come.
        seen: notes the ids, where they may come twice: then the last row stays.
    """

    def __init__(
        self,
        store: Store,
        names: Sequence[str],
        rejects: Callable[[Sequence[Reject]], None],
        seen: SeenIds | None = None,
    ) -> None:
        self._store = store
        self._names = tuple(names)
        self._rejects = rejects
        self._seen = seen
        self.rows = self.unchanged = self.rejected = self.failed = self.truncated = 0

    def missing(self, shard: Shard) -> list[int] | None:
        ids = [row.id for row in shard.rows]
        if self._seen is not None:
            self._seen.add(ids)
        known = self._store.digests(ids)
        wanted = [
            place for place, row in enumerate(shard.rows) if known.get(row.id) != record_digest(self._record(row))
        ]
        self.unchanged += len(shard.rows) - len(wanted)
        if wanted:
            return wanted
        self._note(list(shard.rejects))
        return None

    def write(self, finished: Finished) -> None:
        last: dict[str, tuple[int, int]] = {}
        for place, row in enumerate(finished.places):
            if row not in finished.failed:
                last[finished.shard.rows[row].id] = (place, row)
        kept = list(last.values())
        records = [self._record(finished.shard.rows[row]) for _, row in kept]
        if records:
            self._store.upsert(records, np.ascontiguousarray(finished.vectors[[place for place, _ in kept]]))
        self.rows += len(records)
        self.failed += len(finished.failed)
        self.truncated += len(finished.truncated - finished.failed.keys())
        self._note(list(finished.rejects()))

    def holding(self) -> AbstractContextManager[None]:
        return self._store.writing("embed")

    def _note(self, rejects: list[Reject]) -> None:
        self.rejected += len(rejects)
        if rejects:
            self._rejects(rejects)

    def _record(self, row: Row) -> Record:
        return record_of(row, self._names)


def record_of(row: Row, names: Sequence[str]) -> Record:
    """A row as a record of a collection, with one passage: all of its text."""
    metadata = dict(zip(names, row.values, strict=True))
    return Record(row.id, row.text, metadata, None, (Span(0, len(row.text)),))


def write_rejects(file: BinaryIO, rejects: Sequence[Reject]) -> None:
    """One JSON object a line."""
    for reject in rejects:
        line = json.dumps(reject.to_dict(), ensure_ascii=False) + "\n"
        file.write(line.encode("utf-8", "backslashreplace"))
