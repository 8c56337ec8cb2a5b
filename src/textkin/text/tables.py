"""What a table is: its columns, which of them are the text and the id, and its rows one at a time."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from textkin.errors import InputError
from textkin.text.decode import damage, mended
from textkin.text.digest import well_formed
from textkin.text.options import ReadOptions
from textkin.types import MetadataValue, Scalar

USUAL = (
    *("text", "content", "contents", "body", "document", "sentence", "passage", "title", "question", "review"),
    *("comment", "message", "description", "abstract", "summary"),
)
_LARGEST = 2**63 - 1
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be used: why, and those of its values that could be read."""

    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)


Row: TypeAlias = tuple[int, Mapping[str, Any] | BadRow]
"""The row's number (from 1) and its values."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that were chosen.

    Attributes:
        texts: joined, they are the text.
        id: None: ids are made.
        others: what rows carry beside them.
        every: ``others`` is all that there is; a row may then have more (JSON).
    """

    texts: tuple[str, ...]
    id: str | None
    others: tuple[str, ...] = ()
    every: bool = False

    @property
    def needed(self) -> frozenset[str]:
        """All that has to be read."""
        return frozenset({*self.texts, *self.others, *([] if self.id is None else [self.id])})


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table with the columns that were chosen.

    Attributes:
        rows: may be gone through once.
        types: of the other columns; see `OnTable`.
        scalar: (column, value as it was read) to a metadata value.
        count: how many there are, where that is known before they are read.
    """

    rows: Iterator[Row]
    types: Mapping[str, Any]
    scalar: Callable[[str, Any], MetadataValue]
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose columns are known and whose rows are not read yet.

    Attributes:
        columns: names in order (for JSON Lines those of the first rows).
        texts: gives the columns that hold strings; may cost a pass over the file.
        read: (columns, bulk) to the rows; once.
        notes: what was decided about the file and could be otherwise, for people.
        folders: those of the columns that come from the file's path.
    """

    columns: tuple[str, ...]
    texts: Callable[[], tuple[str, ...]]
    read: Callable[[Columns, bool], Rows]
    notes: tuple[str, ...] = ()
    folders: frozenset[str] = frozenset()


def damaged_row(values: Mapping[str, Any], encoding: str) -> BadRow:
    """A row of which some value, decoded with `decode.MARK`, holds bytes that could not be decoded."""
    bad = {column for column, value in values.items() if _damage(value) or _damage(column)}
    column = next(name for name in values if name in bad)
    found = _damage(values[column]) or _damage(column)
    return BadRow(
        f"the value of {mended(column)[0]!r} is not {encoding} ({found}); mend it, or say the file's own encoding "
        "with --encoding",
        {column: value for column, value in values.items() if column not in bad},
    )


def holds_damage(value: Any) -> bool:
    """Whether a value, also inside a list or an object, holds bytes that could not be decoded."""
    return bool(_damage(value))


def _damage(value: Any) -> str:
    if isinstance(value, str):
        return damage(value)
    if isinstance(value, list):
        return next((found for found in map(_damage, value) if found), "")
    if isinstance(value, dict):
        return next((found for pair in value.items() for found in map(_damage, pair) if found), "")
    return ""


def choose_columns(table: Table, options: ReadOptions, name: str) -> Columns:
    """Find the text and id columns, and what else rows carry.

    Raises:
        InputError: a column that is not there, or no way to tell which one holds the text.
    """
    id_column = None if options.id_column is None else _named(options.id_column, table, name, "--id-column")
    texts = _texts(table, options, name, id_column)
    if options.columns is None:
        others = tuple(column for column in table.columns if column != id_column and column not in texts)
        return Columns(texts, id_column, others, every=True)
    for column in options.columns:
        if column not in table.columns:
            raise InputError(f"{name} has no column {column!r} (--column). {_listed(table)}")
    return Columns(texts, id_column, tuple(dict.fromkeys(options.columns)))


def unique_names(given: Iterable[str]) -> tuple[str, ...]:
    """Names of columns, each once and none empty: ``column 2`` for one without, ``a (2)`` for a second ``a``."""
    names: dict[str, None] = {}
    for number, name in enumerate(given, start=1):
        base = (name.strip() and name) or f"column {number}"
        column, copy = base, 2
        while column in names:
            column, copy = f"{base} ({copy})", copy + 1
        names[column] = None
    return tuple(names)


def plain_value(value: Any) -> MetadataValue:
    """A value of a table as metadata: a list of plain ones stays a list, what nests deeper becomes compact JSON.

    NaN is None, integers beyond 64 bits and decimals are strings, dates and times ISO strings; bytes are taken as
    UTF-8, or named by their number when they are not.
    """
    if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | dict) for item in value):
        return [_plain_scalar(item) for item in value]
    if isinstance(value, list | tuple | dict):
        return compact_json(value)
    return _plain_scalar(value)


def compact_json(value: Any) -> str:
    """`json_value` as text."""
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_value(value: Any) -> Any:
    """A value of a table, of any depth, as strict JSON has it: what it has no form for is as in `plain_value`."""
    if isinstance(value, dict):
        return {well_formed(str(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value if isinstance(value, int) else _plain_scalar(value)


def _plain_scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, int):
        return value if -_LARGEST - 1 <= value <= _LARGEST else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return f"<{len(value)} bytes>"
    return well_formed(str(value))


def with_folders(table: Table, name: str) -> Table:
    """A table with a column more for each folder in its path that is called ``key=value``.

    That is how Hive, Spark, DuckDB and others write the columns by which they part a table. Whole numbers are read
    as such, like they do; a column that the table has itself counts.
    """
    folders: dict[str, int | str | None] = {}
    for part in name.split("/")[:-1]:
        key, sign, value = (unquote(piece) for piece in part.partition("="))
        if key and sign and key not in table.columns:
            whole = re.fullmatch(r"-?[0-9]{1,18}", value)
            folders[key] = None if value == _HIVE_NULL else int(value) if whole else value
    if not folders:
        return table

    def read(columns: Columns, bulk: bool) -> Rows:
        wanted = {key: value for key, value in folders.items() if columns.every or key in columns.needed}
        own = dataclasses.replace(columns, others=tuple(one for one in columns.others if one not in folders))
        rows = table.read(own, bulk)

        def scalar(column: str, value: Any) -> MetadataValue:
            return folders[column] if column in folders else rows.scalar(column, value)

        def joined() -> Iterator[Row]:
            for number, values in rows.rows:
                if isinstance(values, BadRow):
                    yield number, BadRow(values.reason, {**values.values, **wanted})
                else:
                    yield number, {**values, **wanted}

        types = {
            key: None if value is None else "int64" if isinstance(value, int) else "string"
            for key, value in wanted.items()
        }
        kept = {**rows.types, **{key: kind for key, kind in types.items() if key in columns.others}}
        return Rows(joined(), kept, scalar, rows.count)

    return Table((*table.columns, *folders), table.texts, read, table.notes, frozenset(folders))


def _texts(table: Table, options: ReadOptions, name: str, id_column: str | None) -> tuple[str, ...]:
    if options.text_columns:
        return tuple(_named(column, table, name, "--text-column") for column in options.text_columns)
    lower = {
        column.lower(): column for column in reversed(table.columns) if column not in (id_column, *table.folders)
    }
    usual = next((lower[column] for column in USUAL if column in lower), None)
    if usual is not None:
        return (usual,)
    texts = [column for column in table.texts() if column != id_column]
    if len(texts) == 1:
        return (texts[0],)
    raise InputError(
        f"{name}: can't tell which column holds the text; say it with --text-column NAME. {_listed(table)}"
    )


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
