"""JSON Lines and JSON: rows that are objects or strings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from textkin.errors import FileReadError, InputError
from textkin.text.tables import BadRow, Columns, Row, Rows, Table, plain_value

_LOOK = 1000
"""Rows that are looked at to learn the columns."""


def jsonl_table(lines: Iterable[tuple[int, str | bytes | BadRow]], name: str) -> Table:
    """One row a line, numbered by line; a line that is not one is named, and the rest goes on.

    Raises:
        InputError: not one of the first lines is an object or a string.
    """
    table = _table(_parsed(lines))
    if not table.columns:
        raise InputError(f"{name} holds no JSON objects; expected one a line")
    return table


def json_table(text: str, name: str) -> Table:
    """A list of objects or strings, or an object with one such list in it.

    Raises:
        FileReadError: not valid JSON.
        InputError: no such list.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileReadError(f"{name} is not valid JSON: {error}") from error
    items = content if isinstance(content, list) else None
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list) and value and _is_row(value[0])]
        items = lists[0] if len(lists) == 1 else None
    if items is None or not any(_is_row(item) for item in items):
        raise InputError(
            f"{name} holds no list of records; expected a list of objects or of strings, or an "
            "object with one such list"
        )
    return _table(_checked(enumerate(items, start=1)), len(items))


def _is_row(value: Any) -> bool:
    return isinstance(value, dict | str)


def _parsed(lines: Iterable[tuple[int, str | bytes | BadRow]]) -> Iterator[Row]:
    for number, line in lines:
        if isinstance(line, BadRow):
            yield number, line
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8") if isinstance(line, bytes) else line)
        except UnicodeDecodeError as error:
            yield number, BadRow(f"line {number} is not UTF-8: {error.reason} at byte {error.start + 1}")
            continue
        except (ValueError, RecursionError) as error:
            yield number, BadRow(f"line {number} is not valid JSON: {error}")
            continue
        yield from _checked([(number, value)])


def _checked(items: Iterable[tuple[int, Any]]) -> Iterator[Row]:
    for number, value in items:
        if isinstance(value, str):
            yield number, {"text": value}
        elif isinstance(value, dict):
            yield number, value
        else:
            yield number, BadRow(f"item {number} is neither an object nor a string")


def _table(rows: Iterator[Row], count: int | None = None) -> Table:
    first = list(itertools.islice(rows, _LOOK))
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
