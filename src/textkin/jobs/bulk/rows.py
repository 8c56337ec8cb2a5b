"""Inputs to rows and rejects, in their order, with the columns that are kept."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from textkin._optional import require
from textkin.errors import InputError
from textkin.jobs.bulk.columns import EVERY, Columns, Wanted, decide
from textkin.jobs.bulk.parquet import OWN
from textkin.jobs.bulk.shards import Reject, Row
from textkin.jobs.bulk.spill import Spill
from textkin.text.options import OnNote, ReadOptions, Skipped, ignore_note
from textkin.text.parquet_table import is_text
from textkin.text.read import read_inputs
from textkin.types import Record

_LOOK: Final = 1000
"""Rows that are looked at to learn the types of columns."""


_At: TypeAlias = tuple[str, int | None]
_Item: TypeAlias = tuple[Record, Mapping[str, Any], _At, Mapping[str, Any]]
_NO_TABLE: Final[Mapping[str, Any]] = {}


class RowReader:
    """Reads inputs once, as a stream.

    Args:
        paths: as in `read_inputs`.
        options: how to read; the columns are set here.
        wanted: columns to keep.
        known: columns with types, where an earlier run of the job has decided; else they are decided from the
            first rows.
        exact: keep values of types that only Parquet has as they are; else as metadata of a record.
        strict: whether the first row that can't be used ends the run.
        on_reject: told of each row that can't be used.
        on_note: as in `read_inputs`.
        stdin: read for ``-`` instead of the process's own.

    Raises:
        InputError: a column that is not there, or what `read_inputs` raises at the call.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        options: ReadOptions,
        wanted: Sequence[Wanted],
        known: Columns | None = None,
        *,
        exact: bool = True,
        strict: bool = False,
        on_reject: Callable[[Reject], None] | None = None,
        on_note: OnNote = ignore_note,
        stdin: BinaryIO | None = None,
    ) -> None:
        self.position: tuple[int, int] | None = None
        self._exact = exact
        self._strict = strict
        self._on_reject = on_reject
        self._typed = {one.name for one in wanted if one.type}
        self._types: dict[str, Any] = {}
        self._kinds: Mapping[str, Any] = {}
        self._values: Mapping[str, Any] = {}
        self._at: _At | None = None
        self._skipped = Spill()
        self._decided: Columns | None = None
        every = any(one.name == EVERY for one in wanted)
        options = dataclasses.replace(
            options, bulk=True, columns=None if every else tuple(one.name for one in wanted)
        )
        records = read_inputs(
            paths,
            options=options,
            on_skip=self._skip,
            on_note=on_note,
            on_row=self._row,
            on_table=self._table,
            on_position=self._place,
            stdin=stdin,
        )
        items = self._items(records)
        # Types are decided by what comes first, so it is read before anything is written.
        first = list(itertools.islice(items, _LOOK if wanted and known is None else 0))
        metadata = [item[0].metadata for item in first if isinstance(item, tuple)]
        self.columns = known or decide(wanted, self._types, metadata, OWN if exact else (), metadata=not exact)
        self._decided = self.columns
        self._stream = itertools.chain(first, items)

    def __iter__(self) -> Iterator[Row | Reject]:
        seen: Mapping[str, Any] | None = None
        as_read: frozenset[str] = frozenset()
        for item in self._stream:
            if isinstance(item, Skipped):
                yield self._checked(Reject(item.path, item.row, item.id, item.reason), item)
                continue
            record, values, (path, number), kinds = item
            if not self.columns.names:
                yield Row(record.id, record.text, (), path, number)
                continue
            if kinds is not seen:
                seen, as_read = kinds, self._read_as_is(kinds)
            found = {
                name: values.get(name) if name in as_read else record.metadata.get(name)
                for name in self.columns.sources
            }
            try:
                kept = self.columns.values(found)
            except InputError as error:
                yield self._checked(Reject(path, number, record.id, str(error)), None)
                continue
            yield Row(record.id, record.text, kept, path, number)

    def _read_as_is(self, kinds: Mapping[str, Any]) -> frozenset[str]:
        """The columns that a table has in the very type that is kept: their values need no turning."""
        return frozenset(
            name
            for name, field in zip(self.columns.sources, self.columns.schema, strict=True)
            if self._exact and name not in self._typed and kinds.get(name) == field.type
        )

    def _items(self, records: Iterator[Record]) -> Iterator[Skipped | _Item]:
        while True:
            self._values, self._at = {}, None
            record = next(records, None)
            yield from self._skipped.taken()
            if record is None:
                return
            if self._at is None:
                yield record, {}, (record.id, None), _NO_TABLE
            else:
                yield record, self._values, self._at, self._kinds

    def _checked(self, reject: Reject, skipped: Skipped | None) -> Reject:
        # A file of a folder that never was ours is no bad row.
        bad = skipped is None or skipped.row is not None or skipped.kind == "failed"
        if self._strict and bad:
            row = "" if reject.row is None else f", row {reject.row:,}"
            raise InputError(
                f"{reject.path}{row}{f' (id {reject.id!r})' if reject.id else ''}: {reject.reason}. Mend it, or "
                "leave out --strict: then such rows are set aside"
            )
        if self._on_reject is not None:
            self._on_reject(reject)
        return reject

    def _skip(self, skipped: Skipped) -> None:
        self._skipped.add(skipped)

    def _row(self, record_id: str, values: Mapping[str, Any], place: tuple[str, int]) -> None:
        self._values, self._at = values, place

    def _table(self, name: str, types: Mapping[str, Any]) -> None:
        """Learn the types that a table's format knows, and refuse those that don't fit what was decided."""
        types = {column: _arrow(kind) for column, kind in types.items()}
        self._kinds = types
        if not self._exact:
            types = {column: _of_metadata(kind) for column, kind in types.items()}
        if self._decided is None:
            for column, kind in types.items():
                self._types.setdefault(column, kind)
        before = self._decided
        for column, kind in types.items():
            if column in self._typed or kind is None:
                continue
            known = self._types.get(column) if before is None else before.type_of(column)
            if known is not None and known != kind and not _loose(known, kind, metadata=not self._exact):
                raise InputError(
                    f"{name}: the column {column!r} is {kind}, and {known} in what came before; keep it as text: "
                    f"--column {column}:string"
                )

    def _place(self, done: int, total: int | None) -> None:
        self.position = None if total is None else (done, total)


def _arrow(kind: Any) -> Any:
    """The Arrow type of a name."""
    return require("pyarrow", extra="bulk").type_for_alias(kind) if isinstance(kind, str) else kind


def _of_metadata(kind: Any) -> Any:
    """The type that numbers have as metadata, whatever their width in a table; others as they are."""
    arrow = require("pyarrow", extra="bulk")
    types = arrow.types
    if kind is None or types.is_uint64(kind):  # its largest numbers are text there
        return kind
    if types.is_integer(kind):
        return arrow.int64()
    return arrow.float64() if types.is_floating(kind) else kind


def _loose(known: Any, kind: Any, *, metadata: bool) -> bool:
    """Whether values of one type are checked, and turned, one by one into the other."""
    arrow = require("pyarrow", extra="bulk")
    types = arrow.types
    if is_text(known, arrow):
        return True
    if metadata and not (types.is_int64(known) or types.is_float64(known) or types.is_boolean(known)):
        return True  # kept as it was read
    return bool(types.is_float64(known) and (types.is_integer(kind) or types.is_floating(kind)))
