"""JSON Lines and JSON: rows that are objects or strings."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeAlias

from textkin.errors import FileReadError, InputError
from textkin.text.json_stream import Document, parse, rows_in
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow, Columns, Row, Rows, Table, damaged_row, holds_damage, plain_value

Open: TypeAlias = Callable[[], contextlib.AbstractContextManager[TextIO]]
_LOOK = 1000
"""Rows that are looked at to learn the columns."""


def jsonl_table(lines: Iterable[tuple[int, str | bytes | BadRow]], name: str, damaged: str = "") -> Table:
    """One row a line, numbered by line; a line that is not one is named, and the rest goes on.

    Args:
        damaged: the encoding that some bytes of lines which are decoded already don't fit, see `decode.MARK`.

    Raises:
        FileReadError: none of the first lines can be read.
        InputError: not one of the first lines is an object or a string.
    """
    table = _table(_parsed(lines, damaged), None, name)
    if not table.columns:
        raise InputError(f"{name} holds no JSON objects; expected one a line")
    return table


def json_table(open_text: Open, document: Document, name: str, options: ReadOptions, damaged: str = "") -> Table:
    """A list of objects or strings, an object with one such list in it, or such values behind each other.

    Args:
        open_text: opens the file from its start; it has to stay until the rows are read.
        document: what `look_at` found.
        damaged: the encoding that some bytes don't fit, see `decode.MARK`; rows with such are named.

    Raises:
        FileReadError: none of its first items can be read.
        InputError: no such list.
    """
    table = None
    if document.kind in ("array", "member", "values", "object"):
        table = _table(
            _checked(enumerate(_rows(open_text, document, options), start=1), damaged), document.count, name
        )
    if table is None or not table.columns:
        raise InputError(
            f"{name} holds no list of records; expected a list of objects or of strings, or an "
            "object with one such list"
        )
    return table


def _rows(open_text: Open, document: Document, options: ReadOptions) -> Iterator[Any]:
    with open_text() as file:
        yield from rows_in(file, document, options)


def _parsed(lines: Iterable[tuple[int, str | bytes | BadRow]], damaged: str) -> Iterator[Row]:
    for number, line in lines:
        if isinstance(line, BadRow):
            yield number, line
            continue
        if not line.strip():
            continue
        try:
            value = parse(line.decode("utf-8") if isinstance(line, bytes) else line)
        except UnicodeDecodeError as error:
            yield number, BadRow(f"line {number} is not UTF-8: {error.reason} at byte {error.start + 1}")
            continue
        except (ValueError, RecursionError) as error:
            yield number, BadRow(f"line {number} is not valid JSON: {error}")
            continue
        yield from _checked([(number, value)], damaged)


def _checked(items: Iterable[tuple[int, Any]], damaged: str) -> Iterator[Row]:
    for number, value in items:
        if isinstance(value, BadRow):
            yield number, BadRow(f"item {number}: {value.reason}")
        elif damaged and holds_damage(value):
            yield number, damaged_row(value if isinstance(value, dict) else {"text": value}, damaged)
        elif isinstance(value, str):
            yield number, {"text": value}
        elif isinstance(value, dict):
            yield number, value
        else:
            yield number, BadRow(f"item {number} is neither an object nor a string")


def _table(rows: Iterator[Row], count: int | None, name: str) -> Table:
    first = list(itertools.islice(rows, _LOOK))
    bad = [row.reason for _, row in first if isinstance(row, BadRow)]
    if bad and len(bad) == len(first):
        more = f"; nor can {len(bad) - 1:,} more" if len(bad) > 1 else ""
        raise FileReadError(f"{name}: {bad[0]}{more}. Nothing in it could be read")
    kinds: dict[str, set[bool]] = {}
    for _, values in first:
        if isinstance(values, dict):
            for column, value in values.items():
                seen = kinds.setdefault(column, set())
                if value is not None:
                    seen.add(isinstance(value, str))
    texts = tuple(column for column, seen in kinds.items() if seen == {True})

    def read(columns: Columns, _: bool) -> Rows:
        every = itertools.chain(first, rows)
        chosen = every if columns.every else _only(every, columns.needed)
        return Rows(chosen, dict.fromkeys(columns.others), lambda _, value: plain_value(value), count)

    return Table(tuple(kinds), lambda: texts, read)


def _only(rows: Iterator[Row], needed: frozenset[str]) -> Iterator[Row]:
    for number, values in rows:
        if isinstance(values, BadRow):
            yield number, values
        else:
            yield number, {column: value for column, value in values.items() if column in needed}
