"""Rows of any table into records: which column is the text, which the id, and the rest as metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

from textkin.errors import InputError
from textkin.text.digest import well_formed
from textkin.text.options import OnRow, OnSkip, ReadOptions, Skipped, ignore_row
from textkin.types import Record, Scalar

Row: TypeAlias = tuple[int, Mapping[str, Any] | str]
"""The row's number (from 1) and its values, or the reason why it has none."""

_USUAL = (
    *("text", "content", "contents", "body", "document", "sentence", "passage", "title", "question", "review"),
    *("comment", "message", "description", "abstract", "summary"),
)
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is ready to be read.

    Attributes:
        columns: names in order (for JSONL those of the first rows).
        texts: the columns that hold strings.
        rows: may be gone through once.
        scalar: (column, value) to a metadata value.
    """

    columns: tuple[str, ...]
    texts: tuple[str, ...]
    rows: Iterator[Row]
    scalar: Callable[[str, Any], Scalar]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that were chosen."""

    texts: tuple[str, ...]
    id: str | None


class SeenIds:
    """The ids that tables have given so far, as 64-bit digests: about 100 bytes an id."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, record_id: str) -> bool:
        """Returns whether the id is new."""
        before = len(self._seen)
        self._seen.add(int.from_bytes(blake2b(record_id.encode(), digest_size=8).digest(), "little"))
        return len(self._seen) > before


def choose_columns(table: Table, options: ReadOptions, name: str) -> Columns:
    """Find the text and id columns.

    Raises:
        InputError: a column that is not there, or no way to tell which one holds the text.
    """
    id_column = None if options.id_column is None else _named(options.id_column, table, name, "--id-column")
    if options.text_columns:
        return Columns(
            tuple(_named(column, table, name, "--text-column") for column in options.text_columns), id_column
        )
    lower = {column.lower(): column for column in reversed(table.columns) if column != id_column}
    usual = next((lower[column] for column in _USUAL if column in lower), None)
    if usual is not None:
        return Columns((usual,), id_column)
    texts = [column for column in table.texts if column != id_column]
    if len(texts) == 1:
        return Columns((texts[0],), id_column)
    raise InputError(
        f"{name}: can't tell which column holds the text; say it with --text-column NAME. {_listed(table)}"
    )


def records_of(
    table: Table,
    columns: Columns,
    name: str,
    source: str,
    on_skip: OnSkip,
    seen: SeenIds,
    on_row: OnRow = ignore_row,
) -> Iterator[Record]:
    """One record a row that has a text; the others are named.

    Raises:
        InputError: a row without an id, or with one that came before.
    """
    used = {*columns.texts, columns.id}
    number = 0
    for number, values in table.rows:
        if isinstance(values, str):
            # What the row would have been is not known, nor whether the rest of the file is whole.
            on_skip(Skipped(name, values, "failed", number, source, any_id=columns.id is not None))
            continue
        text, reason = _text(values, columns.texts)
        if reason:
            on_skip(Skipped(name, reason, row=number, source=source))
            continue
        record_id = f"{name}:{number}"
        if columns.id is not None:
            record_id = _id(values.get(columns.id), columns.id, name, number)
            if not seen.add(record_id):
                raise InputError(
                    f"{name}, row {number}: the id {record_id!r} in column {columns.id!r} was used before; ids "
                    "must be unique: choose another --id-column, or leave it out"
                )
        metadata = {
            well_formed(column): table.scalar(column, value)
            for column, value in values.items()
            if column not in used
        }
        on_row(record_id, values)
        yield Record(id=record_id, text=text, metadata=metadata, source=source)
    if number == 0:
        on_skip(Skipped(name, "a table without rows", source=source))


def plain_scalar(value: Any) -> Scalar:
    """A JSON value as metadata: nested ones become compact JSON, NaN None, integers beyond 64 bits strings."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, int):
        return value if -_LARGEST - 1 <= value <= _LARGEST else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return well_formed(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def _named(wanted: str, table: Table, name: str, option: str) -> str:
    if wanted in table.columns:
        return wanted
    alike = [column for column in table.columns if column.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    raise InputError(f"{name} has no column {wanted!r} ({option}). {_listed(table)}")


def _listed(table: Table) -> str:
    shown = ", ".join(repr(column) for column in table.columns[:40])
    more = len(table.columns) - 40
    return f"Its columns: {shown or 'none'}" + (f" and {more} more" if more > 0 else "")


def _text(values: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, str]:
    """The text and an empty reason, or the reason why there is none."""
    parts: list[str] = []
    for column in columns:
        value = values.get(column)
        if isinstance(value, bytes):
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError:
                return "", f"the value of {column!r} is bytes that are not UTF-8"
        if isinstance(value, list | dict | tuple):
            return "", f"the value of {column!r} is a list or an object, not a text"
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        part = well_formed(value if isinstance(value, str) else str(value))
        if part and not part.isspace():
            parts.append(part)
    quoted = " and ".join(repr(column) for column in columns)
    return ("\n".join(parts), "") if parts else ("", f"no text in {quoted}")


def _id(value: Any, column: str, name: str, number: int) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers with gaps arrives as floats
    if isinstance(value, str | int) and not isinstance(value, bool):
        record_id = well_formed(str(value)).strip()
        if record_id:
            return record_id
    shown = "empty" if value is None or isinstance(value, str) else f"{value!r}, not a string or whole number"
    raise InputError(
        f"{name}, row {number}: the id in column {column!r} is {shown}; every row needs one: fill it in, choose "
        "another --id-column, or leave it out"
    )
