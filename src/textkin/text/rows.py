"""Rows of any table into records: the text, the id, the rest as metadata; a row that can't be one is named."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from textkin.errors import InputError
from textkin.text.digest import well_formed
from textkin.text.options import OnRow, OnSkip, Skipped
from textkin.text.tables import BadRow, Columns, Rows, plain_value
from textkin.types import MetadataValue, Record

_SHOWN = 80


class SeenIds:
    """The ids that tables have given so far, as 64-bit digests: about 100 bytes an id."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, record_id: str) -> bool:
        """Returns whether the id is new."""
        before = len(self._seen)
        self._seen.add(int.from_bytes(blake2b(record_id.encode(), digest_size=8).digest(), "little"))
        return len(self._seen) > before


def records_of(
    table: Rows,
    columns: Columns,
    name: str,
    source: str,
    on_skip: OnSkip,
    seen: SeenIds,
    on_row: OnRow,
    max_text: int,
) -> Iterator[Record]:
    """One record a row that has a text; the others are named.

    Raises:
        InputError: a row without an id, or with one that came before.
    """
    own_id = columns.id is not None
    metadata_of = _metadata_of(table, columns)
    number = 0
    for number, values in table.rows:
        if isinstance(values, BadRow):
            # What the row would have been is not known, nor whether the rest of the file is whole.
            record_id, _ = _id(values.values, columns.id, name, number)
            on_skip(Skipped(name, values.reason, "failed", number, source, own_id, record_id or None))
            continue
        record_id, problem = _id(values, columns.id, name, number)
        text, reason = _text(values, columns.texts)
        if reason:
            on_skip(Skipped(name, reason, row=number, source=source, id=record_id or None))
            continue
        reason = too_long(text, max_text)
        if reason:
            on_skip(Skipped(name, reason, "failed", number, source, own_id, record_id or None))
            continue
        if problem:
            raise InputError(
                f"{name}, row {number}: {problem}; every row needs one: fill it in, choose another --id-column, "
                "or leave it out"
            )
        if own_id and not seen.add(record_id):
            raise InputError(
                f"{name}, row {number}: the id {record_id!r} in column {columns.id!r} was used before; ids "
                "must be unique: choose another --id-column, or leave it out"
            )
        on_row(record_id, values, (name, number))
        yield Record(id=record_id, text=text, metadata=metadata_of(values), source=source)
    if number == 0:
        on_skip(Skipped(name, "a table without rows", source=source))


def bulk_records_of(
    table: Rows, columns: Columns, name: str, source: str, on_skip: OnSkip, on_row: OnRow, max_text: int
) -> Iterator[Record]:
    """One record a row, or its number with the reason why there is none; nothing that grows with the rows."""
    metadata_of = _metadata_of(table, columns)
    number = 0
    for number, values in table.rows:
        known = values.values if isinstance(values, BadRow) else values
        record_id, problem = _id(known, columns.id, name, number)
        if isinstance(values, BadRow):
            own_id = columns.id is not None
            on_skip(Skipped(name, values.reason, "failed", number, source, own_id, record_id or None))
            continue
        text, reason = _text(values, columns.texts)
        reason = _not_a_text(values, columns.texts) or reason or problem or too_long(text, max_text)
        if reason:
            on_skip(Skipped(name, reason, row=number, source=source, id=record_id or None))
            continue
        on_row(record_id, known, (name, number))
        yield Record(id=record_id, text=text, metadata=metadata_of(known), source=source)
    if number == 0:
        on_skip(Skipped(name, "a table without rows", source=source))


def too_long(text: str, max_text: int) -> str:
    """Why a text is not taken; empty when it is."""
    if len(text) <= max_text:
        return ""
    return f"over-long: {len(text):,} characters, where {max_text:,} is the limit of one text (--max-text)"


def _metadata_of(table: Rows, columns: Columns) -> Callable[[Mapping[str, Any]], dict[str, MetadataValue]]:
    plain = table.scalar
    if not columns.every:
        others = [(column, _field(column)) for column in columns.others]
        return lambda values: {name: plain(column, values[column]) for column, name in others if column in values}
    used = {*columns.texts, columns.id}
    return lambda values: {
        _field(column): plain(column, value) for column, value in values.items() if column not in used
    }


def _field(column: str) -> str:
    """The name of a metadata field: one that is empty, or holds a zero byte, no store takes."""
    return well_formed(column).replace("\0", "\ufffd") or "column"


def _not_a_text(values: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    for column in columns:
        value = values.get(column)
        if value is None or isinstance(value, str | bytes | list | dict | tuple):
            continue
        if isinstance(value, float) and math.isnan(value):
            continue
        what = "true or false" if isinstance(value, bool) else "a number"
        if not isinstance(value, int | float):
            what = f"a {type(value).__name__}"
        return f"the value of {column!r} is {what}, not a text"
    return ""


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


def _id(values: Mapping[str, Any], column: str | None, name: str, number: int) -> tuple[str, str]:
    """The id and an empty reason, or the reason why there is none."""
    if column is None:
        return f"{name}:{number}", ""
    value = values.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers with gaps arrives as floats
    elif isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            value = value.decode("utf-8")
    elif isinstance(value, decimal.Decimal | datetime.date | datetime.time):
        value = plain_value(value)
    if isinstance(value, str | int) and not isinstance(value, bool):
        record_id = well_formed(str(value)).strip()
        if record_id:
            return record_id, ""
    shown = repr(value) if len(repr(value)) <= _SHOWN else f"{repr(value)[:_SHOWN]}…"
    what = "empty" if value is None or isinstance(value, str) else f"{shown}, not a string or whole number"
    return "", f"the id in column {column!r} is {what}"
