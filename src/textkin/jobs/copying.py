"""Copy a collection from one store to another: nothing is embedded, and what arrived is checked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from textkin._progress import progress_of
from textkin.errors import InputError, ModelMismatchError, StoreError, StoreNotFoundError
from textkin.jobs.adopting import adopt, refuse_other_width, require_named
from textkin.jobs.bulk.records import OutputRecords, output_records
from textkin.ledger import Ledger
from textkin.ledger.recognising import recognised
from textkin.models.fingerprint import same_files, same_vectors
from textkin.models.foretelling import refuse_other_name
from textkin.models.resolve import load_model
from textkin.stores.foreign import ForeignStore
from textkin.stores.resolve import open_store
from textkin.stores.sampling import Sample
from textkin.text.digest import record_digest
from textkin.types import Matrix, Progress, Record, Store, StoreHeader
from textkin.vectors.outputs import holds_output

TOLERANCE: Final = 1e-6
"""How far a number of a vector that was read back may be from the one that was sent."""
Source: TypeAlias = Store | OutputRecords
_BATCH: Final = 500
_TRIES: Final = 6


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did.

    Attributes:
        source: where the records come from.
        target: where they are now.
        records: in the source.
        copied: sent by this run; the others were there already.
        unchanged: there already, from an earlier run.
        compared: records that were read back at the end and compared with the source's, vectors included.
        largest_difference: between two numbers of a vector in both, among those.
        note: what is to be known of the source's vectors; empty where they are the model's.
    """

    source: str
    target: str
    records: int
    copied: int
    unchanged: int
    compared: int
    largest_difference: float
    note: str = ""

    def row(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def copy_collection(
    source: str | Path,
    target: str | Path,
    *,
    model: Any = None,
    base_url: str | None = None,
    merge: bool = False,
    ledger: bool = True,
    sample: int = 100,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> CopyReport:
    """Copy ids, texts, metadata, sources, passages, vectors and the model's facts into another store.

    Memory stays constant. A run that was ended goes on where it was when it is run again: a record whose digest is
    at the target already is not sent again. The order of the first insertion is kept in a new target.

    Args:
        source: where the collection is, as `Collection` takes it, or the folder that an embedding job wrote; it is
            only read.
        target: where it shall be; made when it isn't there.
        model: for another tool's collection, which doesn't say whose vectors it holds: the model that made them,
            as `Collection` takes it; checked by embedding some texts again, through the user's ledger.
        base_url: the server of that model, as in `load_model`.
        merge: the target may hold other records of the same model: they are kept, those with the same id replaced.
        ledger: False embeds those texts without it.
        sample: records to read back at the end and to compare with the source's.
        seed: of the choice of these.
        progress: called with (records done, records in all); True shows a bar.

    Raises:
        InputError: the source holds nothing, or the target other records and ``merge`` is False; or it is an
            embedding job's output of which no collection can be made: says why, and what to do.
        ModelMismatchError: the target holds another model's vectors, or ``model`` did not make the source's.
            Nothing was written.
        StoreError: what arrived differs from what was sent; names the record.
    """
    with _opened_source(source) as origin, ExitStack() as stack:
        if isinstance(origin, ForeignStore):
            require_named(origin, model)
            _refuse_in_vain(origin, target, model)
            _adopt(origin, model, base_url, ledger)
        elif model is not None:
            raise InputError(f"{origin.url} says itself which model its vectors are of; leave model out")
        goal = stack.enter_context(_opened(target))
        if origin.url == goal.url:
            raise InputError(f"{origin.url} can't be copied to itself; name another place")
        with progress_of(progress, "copying") as shown:
            return copy_store(origin, goal, merge=merge, sample=sample, seed=seed, progress=shown)


def copy_store(
    source: Source,
    target: Store,
    *,
    merge: bool = False,
    sample: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> CopyReport:
    """As `copy_collection`, from an open source to an open store."""
    header = source.header
    if header is None:
        raise InputError(f"{source.url} holds nothing to copy")
    known = target.header
    if known is not None and not merge:
        if isinstance(source, OutputRecords):
            _refuse_others_of_output(source, target)
        else:
            _refuse_others(source, target)
    if known is None or header.model.fingerprint != known.model.fingerprint:
        target.write_header(header)
    elif target.count():
        _refuse_other_vectors(source.url, header, target.url, known)
    total = source.count()
    done = copied = 0
    chosen = Sample(sample, seed)
    with target.writing("copy"):
        for records, vectors in source.scan_vectors(batch_size=_BATCH):
            copied += _send(target, records, vectors)
            done += len(records)
            chosen.look_at([record.id for record in records])
            if progress is not None:
                progress(done, total)
    _check_count(target, done, exact=not merge)
    difference = _compare(source, target, chosen.ids)
    note = source.note if isinstance(source, OutputRecords) else ""
    return CopyReport(source.url, target.url, done, copied, done - copied, len(chosen.ids), difference, note)


def _refuse_in_vain(source: ForeignStore, target: str | Path, model: Any) -> None:
    """Refuse a model that can't be the source's, or the target's, before it is fetched.

    Raises:
        ModelMismatchError: its name tells.
    """
    refuse_other_width(source, model)
    try:
        with closing(open_store(target, create=False, read_only=True)) as goal:
            header = goal.header if goal.count() else None
            if header is not None:
                refuse_other_name(model, header.model, goal.url, "Leave the model out")
    except StoreNotFoundError:
        return


def _adopt(source: ForeignStore, model: Any, base_url: str | None, keep: bool) -> None:
    with Ledger() if keep else nullcontext() as ledger:
        adopt(source, recognised(load_model(model, base_url=base_url), ledger), ledger)


def _opened(place: str | Path) -> closing[Store]:
    return closing(open_store(place))


def _opened_source(place: str | Path) -> closing[Source]:
    if holds_output(place):
        return closing(output_records(place))
    return closing(open_store(place, create=False, read_only=True))


def _refuse_others_of_output(source: OutputRecords, target: Store) -> None:
    """As `_refuse_others`, by one pass over the source: no index says where in its files an id is."""
    known = 0
    for records in source.scan(_BATCH):
        there = target.digests([record.id for record in records])
        known += len(there)
        changed = next((one for one in records if there.get(one.id) and there[one.id] != record_digest(one)), None)
        if changed is not None:
            raise _other_record(source.url, target.url, changed.id)
    more = target.count() - known
    if more > 0:
        raise InputError(
            f"{target.url} holds {more:,} record{'s' * (more != 1)} that {source.url} does not; name an empty "
            "place, or merge both (--merge)"
        )


def _refuse_others(source: Store, target: Store) -> None:
    ids = target.ids()
    while batch := list(islice(ids, _BATCH)):
        known, there = source.digests(batch), target.digests(batch)
        other = next((name for name in batch if name not in known), None)
        if other is not None:
            raise InputError(
                f"{target.url} holds record {other!r}, which {source.url} does not; name an empty place, or "
                "merge both (--merge)"
            )
        # One without a digest was being written when an earlier copy was ended.
        changed = next((name for name in batch if there.get(name) and there[name] != known[name]), None)
        if changed is not None:
            raise _other_record(source.url, target.url, changed)


def _refuse_other_vectors(source: str, header: StoreHeader, target: str, known: StoreHeader) -> None:
    """Refuse to mix vectors of two models of one name: a server's address doesn't tell which model runs there.

    Raises:
        ModelMismatchError: their canaries or their files differ.
    """
    other_files = same_files(header.model, known.model) is False
    if other_files or not same_vectors(header.canaries, known.canaries):
        why = "is of other files there" if other_files else "gave other vectors there"
        raise ModelMismatchError(
            f"{target} holds vectors of {known.model.name}, as {source} does, but the model of this name {why}: "
            "it is another model, and their vectors can't be compared. Copy into a new place, or index the texts "
            "of one of them into the other"
        )


def _other_record(source: str, target: str, name: str) -> InputError:
    return InputError(
        f"{target} holds another record {name!r} than {source}; name an empty place, or replace it (--merge)"
    )


def _send(target: Store, records: Sequence[Record], vectors: Matrix) -> int:
    known = target.digests([record.id for record in records])
    ends = np.cumsum([len(record.spans) for record in records])
    new = [place for place, record in enumerate(records) if known.get(record.id) != record_digest(record)]
    if new:
        rows = [vectors[ends[place] - len(records[place].spans) : ends[place]] for place in new]
        target.upsert([records[place] for place in new], np.concatenate(rows))
    return len(new)


def _check_count(target: Store, expected: int, *, exact: bool) -> None:
    found = -1
    for pause in _pauses():
        found = target.count()
        if found == expected or (not exact and found > expected):
            return
        time.sleep(pause)
    raise StoreError(
        f"{target.url} holds {found:,} records after {expected:,} were copied; run the same again: what is "
        "missing is sent"
    )


def _pauses() -> Iterator[float]:
    """Some databases show what they took a little later."""
    return (0.05 * 3**number for number in range(_TRIES))


def _compare(source: Source, target: Store, ids: Sequence[str]) -> float:
    largest = 0.0
    for start in range(0, len(ids), _BATCH):
        some = list(ids[start : start + _BATCH])
        arrived = {record.id: record for record in target.get(some)}
        for record, rows in zip(source.get(some), source.vectors(some), strict=True):
            if arrived.get(record.id) != record:
                raise StoreError(
                    f"{target.url}: record {record.id!r} is not what was sent; another program writes there? "
                    "Copy into an empty place"
                )
            found = target.vectors([record.id])[0]
            if found.shape != rows.shape:
                raise StoreError(
                    f"{target.url}: record {record.id!r} has vectors of shape {found.shape}, not {rows.shape}"
                )
            difference = float(np.abs(found - rows).max())
            if not difference <= TOLERANCE:
                raise StoreError(
                    f"{target.url}: a vector of record {record.id!r} differs by {difference:.2g} from the one "
                    f"that was sent (at most {TOLERANCE:g} is allowed)"
                )
            largest = max(largest, difference)
    return largest
