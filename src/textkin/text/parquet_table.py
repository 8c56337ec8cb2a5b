"""Parquet: rows in batches, with types that fit into metadata."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from typing import Any, BinaryIO

from textkin import _optional
from textkin.errors import FileReadError
from textkin.text.tables import Row, Table, plain_scalar
from textkin.types import Scalar

_BATCH = 1024


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
    return Table(tuple(schema.names), texts, _rows(file, arrow, name), lambda _, value: _scalar(value))


def _values_type(kind: Any, arrow: Any) -> Any:
    return kind.value_type if arrow.types.is_dictionary(kind) else kind


def _rows(file: Any, arrow: Any, name: str) -> Iterator[Row]:
    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=_BATCH):
                names = batch.schema.names
                columns = [_values(column, arrow) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(names, row, strict=True))
        except (arrow.ArrowException, OSError) as error:
            raise FileReadError(f"{name} is damaged after row {number}: {error}") from error


def _values(column: Any, arrow: Any) -> list[Any]:
    """Python values; times beyond what Python can hold (nanoseconds, year 10000) as Arrow writes them."""
    if arrow.types.is_timestamp(column.type) or arrow.types.is_time(column.type):
        plain = column.cast(arrow.timestamp(column.type.unit)) if arrow.types.is_timestamp(column.type) else column
        zone = "+00:00" if getattr(column.type, "tz", None) else ""
        return [None if text is None else _iso(text, zone) for text in plain.cast(arrow.string()).to_pylist()]
    if arrow.types.is_duration(column.type):
        unit = column.type.unit
        return [None if n is None else f"{n} {unit}" for n in column.cast(arrow.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
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
