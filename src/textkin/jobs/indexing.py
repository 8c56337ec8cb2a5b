"""Bring a store up to date with its inputs: embed what is new or changed, drop what is gone."""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from textkin.errors import InputError
from textkin.jobs.embedding import embed_records
from textkin.ledger import Ledger
from textkin.text.digest import record_digest, well_formed
from textkin.text.options import Skipped
from textkin.types import MetadataValue, Model, Progress, Record, Scalar, Store
from textkin.where.conditions import plain

_BATCH_RECORDS = 256
_BATCH_CHARACTERS = 300_000
_LARGEST = 16
_QUICK = 1.0
_CURES = {
    "dict": "flatten it, e.g. {'a.b': 1} for {'a': {'b': 1}}, or keep it as a string: json.dumps(value)",
    "list": "lists hold plain values; keep it as a string: json.dumps(value)",
    "set": "give a list: sorted(value)",
    "frozenset": "give a list: sorted(value)",
    "bytes": "decode it: value.decode()",
    "Decimal": "give float(value), or str(value) to keep every digit",
    "NAType": "use None for a missing value",
    "timedelta": "give a number: value.total_seconds()",
}


@dataclass(slots=True)
class IndexReport:
    """What indexing did, in records unless said otherwise.

    Attributes:
        added: were not there before.
        changed: were there with another text, metadata or source.
        unchanged: were there as they are.
        removed: no longer in their source, dropped.
        missing: didn't come from their source, yet kept: because that was asked for, or because what
            they came from could not be read this time.
        split: longer than the model reads, so kept as several passages.
        truncated: cut by a model that doesn't tell its tokens beforehand; their ids.
        unread: ids of stored records in which the model can read nothing (another script, an emoji): their vectors
            say nothing of them, so no search finds them but by chance.
        embedded: texts that the model was really asked for.
        from_ledger: texts whose vectors were there already.
        failed: id to why the model's provider gave no vector; such a record is not stored (one that was there
            stays as it was), and indexing again tries it again.
        seconds: wall-clock time.
        skipped: files and rows that gave no record, with the reason.
        notes: files of which something was decided that could be otherwise, such as a guessed encoding, and what.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    missing: int = 0
    split: int = 0
    truncated: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    embedded: int = 0
    from_ledger: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Added and changed."""
        return self.added + self.changed


def index(
    store: Store,
    model: Callable[[], Model],
    ledger: Callable[[], Ledger | None],
    records: Iterable[Record],
    *,
    sources: Sequence[str] = (),
    unread: Callable[[str, str], bool] | None = None,
    keep_missing: bool = False,
    total: int | None = None,
    progress: Progress | None = None,
    on_stored: Callable[[Sequence[str]], None] | None = None,
    ready: Callable[[], object] | None = None,
) -> IndexReport:
    """Index records, batch by batch; each batch is one transaction.

    Killed at any moment, what ``on_stored`` was told is in the store, every vector that was made is in
    the ledger, and running again does the rest.

    Args:
        store: where to.
        model: called once, when the first text needs a vector.
        ledger: called once too; where vectors are looked up and kept, None embeds everything anew.
        records: ids unique; read once, as a stream.
        sources: those that ``records`` were read from: records of theirs that didn't come are gone.
        unread: asked at the end with the id and source of what didn't come: True keeps it, because the
            file that it may have come from could not be read this time.
        keep_missing: keep what is gone.
        total: number of records, when it is known, for the progress.
        progress: called with (records done, records in all).
        on_stored: called with the ids of a batch when they are safely on disk.
        ready: called, where the store is new, when the first records were read and before anything is made: what
            it raises leaves no empty collection behind.

    Raises:
        InputError: an id that came twice or belongs to another source, or metadata that can't be kept; names
            the record. What was stored before stays.
    """
    start = time.monotonic()
    report = IndexReport()
    seen: set[str] = set()
    batches = _batches(_checked(records, seen))
    first: list[list[Record]] = []
    if store.header is None:
        kept = ledger()
        if kept is not None:
            kept.require_writable()
        first = list(islice(batches, 1))
        if first and ready is not None:
            ready()
    with store.writing("index"):
        done = 0
        for batch in chain(first, batches):
            digests = store.digests([record.id for record in batch])
            fresh = [record for record in batch if digests.get(record.id) != record_digest(record)]
            fresh = _without_same(store, fresh, digests)
            report.unchanged += len(batch) - len(fresh)
            if fresh:
                fresh = _store(store, model(), ledger(), fresh, report, _shifted(progress, done, total))
                known = sum(record.id in digests for record in fresh)
                report.changed += known
                report.added += len(fresh) - known
                if on_stored is not None and fresh:
                    on_stored([record.id for record in fresh])
            done += len(batch)
            if progress is not None:
                progress(done, total)
        _drop_gone(store, seen, sources, unread, keep_missing, report)
    report.seconds = time.monotonic() - start
    return report


def _store(
    store: Store,
    model: Model,
    ledger: Ledger | None,
    records: Sequence[Record],
    report: IndexReport,
    progress: Progress | None,
) -> list[Record]:
    """Embed and store; returns the records that were stored."""
    embedded = embed_records(model, records, ledger, progress)
    if embedded.records:
        store.upsert(embedded.records, embedded.vectors)
    report.failed.update(embedded.failed)
    report.split += sum(len(record.spans) > 1 for record in embedded.records)
    report.truncated.extend(embedded.truncated)
    report.unread.extend(embedded.unread)
    report.embedded += embedded.embedded
    report.from_ledger += embedded.from_ledger
    return list(embedded.records)


def remove_source(store: Store, source: str) -> int:
    """Remove all records of a source and of the sources inside it; returns how many went."""
    with store.writing("remove"):
        gone = [record.id for batch in store.scan() for record in batch if _inside(source, record.source)]
        return store.delete(gone) if gone else 0


def _inside(outer: str, inner: str | None) -> bool:
    return inner is not None and _contains(outer, inner)


def _without_same(store: Store, fresh: Sequence[Record], known: Mapping[str, str]) -> list[Record]:
    """Leave out what is there with the same text and metadata from a source that contains the new one.

    Indexing ``docs/`` and then ``docs/sub/`` must not take the records from ``docs/``, which would no longer
    notice when they are gone.

    Raises:
        InputError: an id that another source gave, which is still there: one would hide the other.
    """
    stored = {record.id: record for record in store.get([one.id for one in fresh if one.id in known])}
    changed = []
    for record in fresh:
        before = stored.get(record.id)
        if before is not None and before.source is not None and record.source is not None:
            came_from, comes_from = before.source, record.source
            if _contains(came_from, comes_from):
                record = dataclasses.replace(record, source=came_from)
                if before.text == record.text and before.metadata == record.metadata:
                    continue
            elif not _contains(comes_from, came_from) and Path(came_from).exists():
                raise InputError(
                    f"the id {record.id!r} came from {came_from} before and comes from {comes_from} now; "
                    "one would hide the other. Index them from a folder where their paths differ, choose another "
                    "--id-column, or use a collection for each"
                )
        changed.append(record)
    return changed


def _contains(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _drop_gone(
    store: Store,
    seen: set[str],
    sources: Sequence[str],
    unread: Callable[[str, str], bool] | None,
    keep_missing: bool,
    report: IndexReport,
) -> None:
    gone: list[str] = []
    for source in dict.fromkeys(sources):
        for known in store.ids(source):
            if known in seen:
                continue
            if keep_missing or (unread is not None and unread(known, source)):
                report.missing += 1
            else:
                gone.append(known)
    if gone:
        report.removed = store.delete(gone)


def _shifted(progress: Progress | None, done: int, total: int | None) -> Progress | None:
    if progress is None:
        return None
    return lambda more, _: progress(done + more, total)


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Batches, twice as large while one takes under a second, so that a provider has enough to do side by side."""
    batch: list[Record] = []
    characters, size = 0, 1
    for record in records:
        batch.append(record)
        characters += len(record.text)
        if len(batch) >= size * _BATCH_RECORDS or characters >= size * _BATCH_CHARACTERS:
            given = time.monotonic()
            yield batch
            batch, characters = [], 0
            if time.monotonic() - given < _QUICK:
                size = min(2 * size, _LARGEST)
    if batch:
        yield batch


def _checked(records: Iterable[Record], seen: set[str]) -> Iterator[Record]:
    """Records made well-formed and checked; their ids go to ``seen``."""
    for record in records:
        if not isinstance(record, Record):
            raise InputError(f"index takes Records, not a {type(record).__name__}; add takes texts")
        clean = dataclasses.replace(
            record,
            id=well_formed(record.id),
            text=well_formed(record.text),
            metadata=clean_metadata(record.id, record.metadata),
        )
        if not clean.id:
            raise InputError(f"a record has an empty id (its text begins with {clean.text[:60]!r})")
        if clean.id in seen:
            raise InputError(f"the id {clean.id!r} came twice; ids must be unique (--id-column chooses another)")
        seen.add(clean.id)
        yield clean


def clean_metadata(owner: str, metadata: Any) -> dict[str, MetadataValue]:
    """Metadata as it is kept: str keys; values are str, int, float, bool or None, or lists of these.

    NumPy's values become Python's, tuples and arrays lists, dates and times ISO 8601 strings, UUIDs strings.

    Raises:
        InputError: anything else; names the record and the field.
    """
    if not hasattr(metadata, "items"):
        raise InputError(f"metadata of {owner!r} must be a mapping, not a {type(metadata).__name__}")
    clean: dict[str, MetadataValue] = {}
    for key, value in metadata.items():
        if not isinstance(key, str) or not key:
            raise InputError(f"metadata of {owner!r}: field names must be non-empty strings, not {key!r}")
        what = f"metadata of {owner!r}: {key}"
        if isinstance(value, list | tuple) or getattr(value, "ndim", None) == 1:
            clean[well_formed(key)] = [_clean_value(f"{what}, item {at}", item) for at, item in enumerate(value)]
        else:
            clean[well_formed(key)] = _clean_value(what, value)
    return clean


def _clean_value(what: str, value: Any) -> Scalar:
    """One value, with the cure for what has no single obvious form."""
    moment = isinstance(value, datetime.date) or getattr(getattr(value, "dtype", None), "kind", "") == "M"
    if moment and value != value:
        raise InputError(f"{what} is {value}; use None for a missing date")
    value = plain(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return well_formed(str(value))
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{what} = {value} does not fit 64 bits; keep it as a string")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{what} is {value}; use None for a missing number")
        return value
    kind = type(value).__name__
    cure = _CURES.get(kind, "keep it as a string: str(value)")
    raise InputError(
        f"{what} is a {kind}; values are str, int, float, bool, None, a date, or a list of these: {cure}"
    )
