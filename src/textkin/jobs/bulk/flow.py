"""The shards between reading and writing: which texts are sent next, and where answers belong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from textkin.jobs.bulk.shards import Shard
from textkin.jobs.bulk.sinks import Finished, Sink
from textkin.jobs.bulk.threads import Reader, Writer
from textkin.ledger import LedgerResult
from textkin.text.digest import text_digest


@dataclass(slots=True)
class Tally:
    """What a run has done so far.

    Attributes:
        rows: read and dealt with, those without a vector included.
        kept: of these, in shards that were complete before.
        embedded: different texts that were sent to the model.
        from_ledger: different texts whose vector was known.
        rejected: rows that could not be used.
        failed: rows that the model's provider refused.
        truncated: rows of which the model read only the beginning.
        tokens: of the texts that were embedded.
        shards: dealt with.
        position: bytes of the inputs that were dealt with, and of all; None: not known.
    """

    rows: int = 0
    kept: int = 0
    embedded: int = 0
    from_ledger: int = 0
    rejected: int = 0
    failed: int = 0
    truncated: int = 0
    tokens: int = 0
    shards: int = 0
    position: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class Chunk:
    """Different texts that are embedded together: each with the rows of its shard that have it."""

    work: Pending
    digests: list[bytes]
    texts: list[str]
    ids: list[str]
    rows: list[list[int]]
    began: float = 0.0


@dataclass(slots=True, eq=False)
class Pending:
    """A shard that is being embedded.

    Attributes:
        finished: what becomes of it.
        todo: different texts that nobody has been asked for, each with its places among the vectors.
        late: those that are on their way for another shard: then the ledger knows them.
        span: bytes of the inputs that it takes.
        pending: texts that have not come back.
    """

    finished: Finished
    todo: deque[tuple[bytes, list[int]]]
    late: deque[tuple[bytes, list[int]]] = field(default_factory=deque)
    span: float = 0.0
    pending: int = 0


class Flow:
    """The shards between reading and writing."""

    def __init__(
        self, sink: Sink, writer: Writer, mine: Callable[[int], bool], dimensions: int, ahead: int
    ) -> None:
        self._ahead = ahead
        self._sink = sink
        self._dimensions = dimensions
        self._writer = writer
        self._mine = mine
        self._flying: set[bytes] = set()
        self.active: deque[Pending] = deque()
        self.digests: list[str] = []
        self._read = self._total = 0
        self._passed = 0.0
        self.tally = Tally()

    def admit(self, reader: Reader) -> None:
        """Take the next shard where all texts of those at work have been sent."""
        while len(self.active) < self._ahead and not any(work.todo for work in self.active):
            shard = reader.next()
            if shard is None:
                return
            self.digests.append(shard.digest)
            span = self._span(shard)
            if not self._mine(shard.number):
                self._pass(span)
                return
            places = self._sink.missing(shard)
            self.tally.rejected += len(shard.rejects)
            if places is None:
                self.tally.kept += len(shard.rows)
                self.tally.rows += len(shard.rows) + len(shard.rejects)
                self.tally.shards += 1
                self._pass(span)
                return
            self._begin(shard, places, span)

    def next_chunk(self, size: int) -> Chunk | None:
        """Texts of the oldest shard that has some to send; none of them is on its way already."""
        for work in self.active:
            if not work.todo and work.late:
                ready = [item for item in work.late if item[0] not in self._flying]
                work.late = deque(item for item in work.late if item[0] in self._flying)
                work.todo.extend(ready)
            shard, places = work.finished.shard, work.finished.places
            chunk = Chunk(work, [], [], [], [])
            while work.todo and len(chunk.texts) < size:
                digest, rows = work.todo.popleft()
                if digest in self._flying:
                    work.late.append((digest, rows))
                    continue
                self._flying.add(digest)
                row = shard.rows[places[rows[0]]]
                chunk.digests.append(digest)
                chunk.texts.append(row.text)
                chunk.ids.append(row.id)
                chunk.rows.append(rows)
            if chunk.texts:
                return chunk
        return None

    def take(self, chunk: Chunk, result: LedgerResult) -> None:
        """Put an answer where it belongs; hand on the shard that it completes."""
        work = chunk.work
        finished = work.finished
        cut = frozenset(result.truncated)
        for number, rows in enumerate(chunk.rows):
            finished.vectors[rows] = result.vectors[number]
            owned = [finished.places[row] for row in rows]
            if number in result.failed:
                finished.failed.update(dict.fromkeys(owned, result.failed[number]))
            elif number in cut:
                finished.truncated.update(owned)
        self._flying.difference_update(chunk.digests)
        finished.embedded += result.embedded
        finished.from_ledger += result.from_ledger
        finished.tokens += result.tokens
        self.tally.embedded += result.embedded
        self.tally.from_ledger += result.from_ledger
        self.tally.tokens += result.tokens
        work.pending -= len(chunk.texts)
        count = sum(map(len, chunk.rows))
        self.tally.rows += count
        self._pass(work.span * count / len(finished.places))
        if not work.pending:
            self.active.remove(work)
            self._complete(work)

    def _begin(self, shard: Shard, places: Sequence[int], span: float) -> None:
        owners: dict[bytes, list[int]] = {}
        for number, row in enumerate(places):
            owners.setdefault(text_digest(shard.rows[row].text), []).append(number)
        self.tally.rows += len(shard.rows) - len(places) + len(shard.rejects)
        self.tally.kept += len(shard.rows) - len(places)
        finished = Finished(shard, places, np.empty((len(places), self._dimensions), dtype=np.float32))
        work = Pending(finished, deque(owners.items()), span=span, pending=len(owners))
        if work.pending:
            self.active.append(work)
        else:
            self._pass(span)
            self._complete(work)

    def _complete(self, work: Pending) -> None:
        finished = work.finished
        self.tally.failed += len(finished.failed)
        self.tally.truncated += len(finished.truncated - finished.failed.keys())
        self.tally.shards += 1
        self._writer.put(finished)

    def _span(self, shard: Shard) -> float:
        """Bytes of the inputs that a shard takes; 0 where that is not known."""
        if shard.position is None:
            return 0.0
        reached, self._total = shard.position
        before, self._read = self._read, reached
        return float(reached - before)

    def _pass(self, span: float) -> None:
        """So many bytes more have been dealt with."""
        self._passed += span
        if self._total:
            self.tally.position = (round(self._passed), self._total)
