"""What must hold after a kill and at the end: nothing acknowledged lost, nothing foreign, nothing paid twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np

from textkin.errors import TextkinError
from textkin.models.fingerprint import CANARIES
from textkin.stores.resolve import open_store
from textkin.text.digest import text_digest
from textkin.types import Matrix, Record

TOLERANCE = 1e-5
_SEARCHED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All of a collection: records in order, and each record's passage vectors."""

    records: tuple[Record, ...]
    vectors: Mapping[str, Matrix]


def snapshot(place: Path) -> Snapshot:
    """Read a whole collection."""
    with closing(open_store(place, create=False)) as store:
        records = tuple(record for batch in store.scan() for record in batch)
        ids = [record.id for record in records]
        return Snapshot(records, dict(zip(ids, store.vectors(ids), strict=True)))


def after_kill(
    place: Path, data: Path, scratch: Path, acknowledged: Sequence[str], wanted: Snapshot, before: Snapshot | None
) -> tuple[list[str], set[str]]:
    """Check a copy of what the killed process left, so that the next process meets it untouched.

    Args:
        place: the collection.
        data: the folder of the ledger.
        scratch: where the copy goes; emptied first.
        acknowledged: ids that the process said were stored.
        wanted: what an undisturbed run gives.
        before: what the collection was before the first process.

    Returns:
        What is wrong, and the ids that are in their final state.
    """
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    problems: list[str] = []
    for name, folder in (("collection", place), ("ledger", data)):
        if folder.exists():
            shutil.copytree(folder, scratch / name)
    for file in sorted(scratch.rglob("*.db")):
        problems += [f"{file.name}: {line}" for line in _integrity(file)]
    copy = scratch / "collection"
    if not (copy / "collection.db").exists():
        if acknowledged or before is not None:
            problems.append(f"there is no collection.db, but {len(acknowledged)} records were acknowledged")
        return problems, set()
    try:
        left = snapshot(copy)
        problems += _searches(copy, left, acknowledged)
    except TextkinError as error:
        return [*problems, f"what was left can't be opened: {type(error).__name__}: {error}"], set()
    final = _final(left, wanted)
    problems += [
        f"{name!r} was acknowledged and is not there as it was stored"
        for name in acknowledged
        if name not in final
    ]
    problems += _foreign(left, wanted, before, final)
    return problems, final


def _integrity(file: Path) -> Iterator[str]:
    connection = apsw.Connection(str(file))
    try:
        for row in connection.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield f"integrity_check says {row[0]}"
    except apsw.Error as error:
        yield f"integrity_check fails: {error}"
    finally:
        connection.close(True)


def _final(left: Snapshot, wanted: Snapshot) -> set[str]:
    """Ids whose record and vectors are those of the undisturbed run."""
    goal = {record.id: record for record in wanted.records}
    return {
        record.id
        for record in left.records
        if record == goal.get(record.id) and _near(left.vectors[record.id], wanted.vectors[record.id])
    }


def _foreign(left: Snapshot, wanted: Snapshot, before: Snapshot | None, final: set[str]) -> Iterator[str]:
    """Records that are neither as they were before nor as they should become: half-written ones."""
    old = {} if before is None else {record.id: record for record in before.records}
    for record in left.records:
        if record.id in final:
            continue
        if record != old.get(record.id):
            yield f"{record.id!r} is neither the old nor the new record"
        elif before is not None and not _near(left.vectors[record.id], before.vectors[record.id]):
            yield f"{record.id!r} is the old record with other vectors"
    present = {record.id for record in left.records}
    kept = {record.id for record in wanted.records}
    for name in old:
        if name in kept and name not in present:
            yield f"{name!r} was there before, belongs to the result, and is gone in between"


def _searches(place: Path, left: Snapshot, acknowledged: Sequence[str]) -> Iterator[str]:
    """Whether search finds what is stored: the derived matrix must not be behind the database."""
    with closing(open_store(place, create=False)) as store:
        for name in list(acknowledged)[-_SEARCHED:]:
            if name in left.vectors:
                best = store.search(left.vectors[name][:1], 1)[0]
                if not best or abs(best[0].score - 1) > TOLERANCE:
                    yield f"search does not find {name!r} by its own vector"


def _near(a: Matrix, b: Matrix) -> bool:
    return a.shape == b.shape and bool(np.abs(a.astype(np.float64) - b).max(initial=0.0) <= TOLERANCE)


def at_end(place: Path, wanted: Snapshot) -> list[str]:
    """Compare the finished collection with the undisturbed run's: ids, their order, texts, metadata, vectors."""
    try:
        got = snapshot(place)
    except TextkinError as error:
        return [f"the finished collection can't be opened: {type(error).__name__}: {error}"]
    ids, wanted_ids = [record.id for record in got.records], [record.id for record in wanted.records]
    if ids != wanted_ids:
        more, less = set(ids) - set(wanted_ids), set(wanted_ids) - set(ids)
        return [
            f"ids differ: {len(more)} too many, {len(less)} missing" if more or less else "ids in another order"
        ]
    problems = [
        f"{one.id!r} differs from the undisturbed run's record"
        for one, other in zip(got.records, wanted.records, strict=True)
        if one != other
    ]
    problems += [
        f"{name!r} has other vectors" for name in ids if not _near(got.vectors[name], wanted.vectors[name])
    ]
    return problems


def largest_difference(place: Path, wanted: Snapshot) -> float:
    """The largest difference of any coordinate of the vectors that both have."""
    got = snapshot(place)
    both = [name for name in got.vectors if name in wanted.vectors]
    return max(
        (float(np.abs(got.vectors[name].astype(np.float64) - wanted.vectors[name]).max()) for name in both),
        default=0.0,
    )


def embedded_twice(log: Path, killed: set[int]) -> tuple[list[str], int, int]:
    """Look through what the model was asked for.

    A text may come again only if the order that had it before was the last one of a killed process: the
    block that was in flight.

    Args:
        log: as `_kill_child.CountedModel` writes it.
        killed: processes that were killed.

    Returns:
        What is wrong; how many texts were sent in all; how many of them again.
    """
    canaries = {text_digest(text).hex()[:16] for text in CANARIES}
    orders: list[tuple[int, list[str]]] = []
    for line in log.read_text(encoding="ascii").splitlines() if log.exists() else []:
        process, *digests = line.split()
        texts = [digest for digest in digests if digest not in canaries]
        if texts:
            orders.append((int(process), texts))
    last = {process: number for number, (process, _) in enumerate(orders)}
    settled: set[str] = set()
    twice: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for number, (asked_by, texts) in enumerate(orders):
        twice.update(text for text in texts if text in settled)
        sent.update(texts)
        if not (asked_by in killed and last[asked_by] == number):
            settled.update(texts)
    problems = [f"{len(twice)} texts were embedded again though their block was finished"] if twice else []
    return problems, sent.total(), sent.total() - len(sent)
