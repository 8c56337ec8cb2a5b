"""Where the vectors of a job go, shard by shard: Parquet files, or a collection in any store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np

from textkin.errors import InputError
from textkin.jobs.bulk.distinct import DistinctIds
from textkin.jobs.bulk.manifest import NEW, Marker, file_name, read_markers, rejects_name, whole, write_marker
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
            refused = self.shard.rows[row]
            yield Reject(refused.path, refused.number, refused.id, reason)


class Sink(Protocol):
    """Where shards go."""

    def missing(self, shard: Shard) -> list[int] | None:
        """The rows that need vectors, ascending; None where the shard is complete.

        May turn rows into rejects. Called in one thread, before `write` of the same shard.
        """
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
        published: whether a manifest stands: then its files stay alone until the next one is complete.
        again: whether a shard with texts that a provider refused is made again.

    Attributes:
        markers: of the shards that are complete, by number.
    """

    def __init__(
        self,
        place: Place,
        schema: ShardSchema,
        kind: Kind,
        dimensions: int,
        before_first: Callable[[Matrix], None] | None = None,
        *,
        published: bool = False,
        again: bool = False,
    ) -> None:
        self._place = place
        self._published = published
        self._again = again
        self._schema = schema
        self._kind: Kind = kind
        self._dimensions = dimensions
        self._before_first = before_first
        self.markers: dict[int, Marker] = {marker.number: marker for marker in read_markers(place)}
        self._had_rows = any(marker.rows for marker in self.markers.values())
        self._readable = False

    def missing(self, shard: Shard) -> list[int] | None:
        known = self.markers.get(shard.number)
        same = known is not None and known.digest == shard.digest and not (self._again and known.failed)
        if same and known is not None and whole(self._place, known):
            self._readable = self._readable or bool(shard.rows)
            return None
        self._readable = self._readable or bool(shard.rows)
        if not self._readable and self._had_rows:
            raise InputError(
                f"not one of the first {len(shard.rejects):,} rows can be used now ({shard.rejects[0].reason}), "
                f"and {self._place.name} has vectors of earlier ones: it stays as it is. Is the input what it "
                "was? If this is meant, write to another folder"
            )
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
            name = file_name(shard.number, shard.digest, finished.failed)
            path = f"{NEW}/{name}" if self._published else name
            try:
                written = self._place.write(path, lambda file: self._schema.write(file, rows, cut, stored))
            except self._schema.errors as error:
                raise InputError(
                    f"rows from {rows[0].id!r} to {rows[-1].id!r} can't be written as Parquet: {error}; keep the "
                    "column that it names as text: --column NAME:string"
                ) from error
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
        before = self.markers.get(shard.number)
        self.markers[shard.number] = marker
        # Of another input; beside the new one it would show rows twice.
        if not self._published and before is not None and before.file not in (None, marker.file):
            self._place.remove(before.file or "")

    def holding(self) -> AbstractContextManager[None]:
        return nullcontext()


class StoreSink:
    """Records in a collection: one vector over the whole text of each.

    What is in the collection already, text and metadata the same, is not embedded again. A row whose id came
    before in the same run is set aside, so that the same input always gives the same collection.

    Args:
        store: with its header.
        names: of the columns, which become metadata.
        rejects: takes the rows without a vector, as they come.
        ids: tells which came before; None where all differ anyhow.

    Attributes:
        rows: that were written.
        unchanged: that were there already.
        rejected: that could not be used.
        failed: that the model's provider refused.
        truncated: that were written, and of which the model read only the beginning.
    """

    def __init__(
        self,
        store: Store,
        names: Sequence[str],
        rejects: Callable[[Sequence[Reject]], None],
        ids: DistinctIds | None = None,
    ) -> None:
        self._store = store
        self._names = tuple(names)
        self._rejects = rejects
        self._ids = ids
        self.rows = self.unchanged = self.rejected = self.failed = self.truncated = 0

    def missing(self, shard: Shard) -> list[int] | None:
        if self._ids is not None:
            new = self._ids.new([row.id for row in shard.rows])
            shard.rejects += [
                Reject(
                    row.path, row.number, row.id, "an earlier row has this id; ids must be unique in a collection"
                )
                for row, first in zip(shard.rows, new, strict=True)
                if not first
            ]
            shard.rows = [row for row, first in zip(shard.rows, new, strict=True) if first]
        known = self._store.digests([row.id for row in shard.rows])
        return [
            place for place, row in enumerate(shard.rows) if known.get(row.id) != record_digest(self._record(row))
        ]

    def write(self, finished: Finished) -> None:
        shard = finished.shard
        kept = [(place, row) for place, row in enumerate(finished.places) if row not in finished.failed]
        records = [self._record(shard.rows[row]) for _, row in kept]
        if records:
            self._store.upsert(records, np.ascontiguousarray(finished.vectors[[place for place, _ in kept]]))
        self.rows += len(records)
        self.unchanged += len(shard.rows) - len(finished.places)
        self.rejected += len(shard.rejects)
        self.failed += len(finished.failed)
        self.truncated += len(finished.truncated - finished.failed.keys())
        rejects = list(finished.rejects())
        if rejects:
            self._rejects(rejects)

    def holding(self) -> AbstractContextManager[None]:
        return self._store.writing("embed")

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
