"""Parquet: rows in batches, with types that fit into metadata."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from textkin import _optional
from textkin.errors import FileReadError
from textkin.text.tables import BadRow, Columns, Row, Rows, Table, plain_scalar
from textkin.types import Scalar

_BATCH = 1024
_NOT_UTF8 = object()
"""Stands for a string whose bytes are not UTF-8: not all that write Parquet check, nor does Arrow."""


def parquet_table(source: BinaryIO, name: str) -> Table:
    """Look into an open Parquet file.

    Dates and times become ISO strings, decimals strings, nested values compact JSON; bytes are taken as UTF-8, or
    named by their number when they are not.

    Raises:
        FileReadError: not a whole Parquet file.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow = _optional.require("pyarrow", extra="parquet")
    parquet = _optional.require("pyarrow.parquet", extra="parquet")
    try:
        file = parquet.ParquetFile(source, pre_buffer=False)
    except arrow.ArrowException as error:
        raise FileReadError(f"{name} is not a whole Parquet file: {error}") from error
    schema = file.schema_arrow
    texts = tuple(
        field.name
        for field in schema
        if any(
            test(_values_type(field.type, arrow)) for test in (arrow.types.is_string, arrow.types.is_large_string)
        )
    )

    def read(columns: Columns, bulk: bool) -> Rows:
        types = {field.name: _plain(field.type, arrow) for field in schema}
        chosen = [column for column in dict.fromkeys(schema.names) if column in columns.needed]
        wanted = None if columns.every else chosen
        convert = _numbers if bulk else _values
        return Rows(
            _rows(file, arrow, name, wanted, convert),
            {column: types[column] for column in columns.others},
            _scalars(types, arrow) if bulk else lambda _, value: _scalar(value),
            file.metadata.num_rows,
        )

    return Table(tuple(schema.names), lambda: texts, read)


def column_scalars(column: Any) -> list[Scalar]:
    """An Arrow column as metadata values, as `parquet_table` gives them."""
    arrow = _optional.require("pyarrow", extra="parquet")
    return [_scalar(value) for value in _values(column, arrow)]


def _values_type(kind: Any, arrow: Any) -> Any:
    return kind.value_type if arrow.types.is_dictionary(kind) else kind


def _rows(
    file: Any, arrow: Any, name: str, wanted: list[str] | None, convert: Callable[[Any, Any], list[Any]]
) -> Iterator[Row]:
    """Rows with the wanted columns, which alone are read; None: all."""
    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                # Asked for "a", Arrow also gives a column named "a.b".
                places = {column: at for at, column in enumerate(batch.schema.names)}
                names = list(places) if wanted is None else wanted
                columns, broken = [], set()
                for column in names:
                    cells, bad = _decoded(batch.column(places[column]), arrow, convert)
                    columns.append(cells)
                    broken |= bad
                for at, row in enumerate(zip(*columns, strict=True)):
                    number += 1
                    values = dict(zip(names, row, strict=True))
                    yield number, _broken(values) if at in broken else values
        except (arrow.ArrowException, OSError) as error:
            raise FileReadError(f"{name} is damaged after row {number}: {error}") from error


def _decoded(column: Any, arrow: Any, convert: Callable[[Any, Any], list[Any]]) -> tuple[list[Any], set[int]]:
    """Python values, and the places of those that hold bytes that should be UTF-8 and are not."""
    try:
        return convert(column, arrow), set()
    except UnicodeDecodeError:
        pass
    values: list[Any] = []
    broken: set[int] = set()
    for at in range(len(column)):
        try:
            values += convert(column.slice(at, 1), arrow)
        except UnicodeDecodeError:
            values.append(_NOT_UTF8)
            broken.add(at)
    return values, broken


def _broken(values: dict[str, Any]) -> BadRow:
    names = [column for column, value in values.items() if value is _NOT_UTF8]
    quoted = " and of ".join(repr(column) for column in names)
    known = {column: value for column, value in values.items() if column not in names}
    return BadRow(f"the value of {quoted} is bytes that are not UTF-8", known)


def _plain(kind: Any, arrow: Any) -> Any:
    """The type that a column's Python values are of."""
    if isinstance(kind, arrow.BaseExtensionType):
        return _plain(kind.storage_type, arrow)
    return _values_type(kind, arrow)


def _numbers(column: Any, arrow: Any) -> list[Any]:
    """Python values from which Arrow makes the same column again: dates, times and durations are whole numbers."""
    if isinstance(column.type, arrow.BaseExtensionType):
        column = column.storage
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    counted = _counted(kind, arrow)
    values: list[Any] = (column if counted == kind else column.cast(counted)).to_pylist()
    return values


def _counted(kind: Any, arrow: Any) -> Any:
    """A type with the whole numbers that Arrow keeps in place of dates, times and durations, at any depth."""
    types = arrow.types
    if types.is_date32(kind) or types.is_time32(kind):
        return arrow.int32()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return arrow.int64()
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_counted(field.type, arrow)) for field in kind])
    if types.is_map(kind):
        item = kind.item_field.with_type(_counted(kind.item_type, arrow))
        return arrow.map_(_counted(kind.key_type, arrow), item)
    if types.is_fixed_size_list(kind):
        return arrow.list_(kind.value_field.with_type(_counted(kind.value_type, arrow)), kind.list_size)
    if types.is_list(kind):
        return arrow.list_(kind.value_field.with_type(_counted(kind.value_type, arrow)))
    if types.is_large_list(kind):
        return arrow.large_list(kind.value_field.with_type(_counted(kind.value_type, arrow)))
    return kind


def _scalars(types: dict[str, Any], arrow: Any) -> Callable[[str, Any], Scalar]:
    """Metadata from `_numbers`: the same as from `_values`."""
    changed = {column: kind for column, kind in types.items() if _counted(kind, arrow) != kind}

    def scalar(column: str, value: Any) -> Scalar:
        if value is not None and column in changed:
            value = _values(arrow.array([value], changed[column]), arrow)[0]
        return _scalar(value)

    return scalar


def _values(column: Any, arrow: Any) -> list[Any]:
    """Python values; times beyond what Python can hold (nanoseconds, year 10000) as Arrow writes them."""
    if arrow.types.is_timestamp(column.type) or arrow.types.is_time(column.type):
        plain = column.cast(arrow.timestamp(column.type.unit)) if arrow.types.is_timestamp(column.type) else column
        zone = "+00:00" if getattr(column.type, "tz", None) else ""
        return [None if text is None else _iso(text, zone) for text in plain.cast(arrow.string()).to_pylist()]
    if arrow.types.is_duration(column.type):
        unit = column.type.unit
        return [None if n is None else f"{n} {unit}" for n in column.cast(arrow.int64()).to_pylist()]
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raise
    except (OverflowError, ValueError):  # such times inside of something
        return (
            column.cast(arrow.string()).to_pylist()
            if arrow.types.is_date(column.type)
            else _numbers(column, arrow)
        )
    return values


def _iso(text: str, zone: str) -> str:
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return whole.replace(" ", "T") + (dot + fraction if fraction else "") + zone


def _scalar(value: Any) -> Scalar:
    if isinstance(value, datetime.date | datetime.time | datetime.datetime):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return f"<{len(value)} bytes>"
    return plain_scalar(value)
