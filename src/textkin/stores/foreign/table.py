"""A PostgreSQL table (or view) of another application, with a column of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from textkin._optional import require
from textkin.errors import InputError, StoreError, StoreNotFoundError
from textkin.stores.foreign.reader import Row
from textkin.text.tables import plain_value
from textkin.types import MetadataValue

_PAGE: Final = 1000
_VECTORS: Final = ("vector", "halfvec", "_float4", "_float8")
_TEXTS: Final = ("text", "content", "contents", "body", "document", "chunk", "passage", "description")
_NATIVE: Final = ("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar")
_JSON: Final = ("json", "jsonb")


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which column of a table is what; None: found by its name or its type.

    Attributes:
        table: its name, with or without its schema.
        id: the column of ids.
        text: of texts.
        vector: of vectors: ``vector``, ``halfvec``, ``real[]`` or ``double precision[]``.
        metadata: a JSON column whose first level is taken for metadata.
    """

    table: str
    id: str = "id"
    text: str | None = None
    vector: str | None = None
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    category: str
    shown: str


class TableReader:
    """The rows of a table, ordered by their ids: a table knows no order of insertion.

    Args:
        address: a libpq URL.
        url: as the user names it, without a password.
        columns: which column is what.
        timeout: seconds to wait for a connection.
    """

    def __init__(self, address: str, *, url: str, columns: TableColumns, timeout: float = 10.0) -> None:
        self.url = url
        self.unread: tuple[str, ...] = ()
        self._address = address
        self._asked = columns
        self._timeout = timeout

    def close(self) -> None:
        """Nothing is held between two calls."""

    def batches(self) -> Iterator[list[Row]]:
        """Rows of one state of the table."""
        with self._connection() as connection:
            schema, table = self._find(connection)
            columns = self._columns(connection, schema, table)
            ids, text, vector = self._chosen(columns)
            rest = self._metadata(columns, {ids.name, text.name, vector.name})
            sql = require("psycopg.sql", extra="postgresql")
            selected = [
                sql.SQL("{}::text").format(sql.Identifier(ids.name)),
                sql.SQL("{}::text").format(sql.Identifier(text.name)),
                sql.SQL("{}::real[]" if vector.type != "_float8" else "{}").format(sql.Identifier(vector.name)),
                *(sql.SQL(_form(column)).format(sql.Identifier(column.name)) for column in rest),
            ]
            query = sql.SQL("SELECT {} FROM {} AS source ORDER BY source.{}").format(
                sql.SQL(", ").join(selected), sql.Identifier(schema, table), sql.Identifier(ids.name)
            )
            with connection.cursor(name="textkin", binary=True) as cursor:
                cursor.execute(query)
                while found := cursor.fetchmany(_PAGE):
                    yield [self._row(values, rest) for values in found]

    def _row(self, values: tuple[Any, ...], rest: list[_Column]) -> Row:
        name, text, vector, *others = values
        if name is None:
            raise InputError(
                f"{self.url}: a row has no id in column {self._asked.id!r}; name another column (id=NAME)"
            )
        metadata: dict[str, MetadataValue] = {}
        spread: dict[str, Any] = {}
        for column, value in zip(rest, others, strict=True):
            if column.name == self._asked.metadata and isinstance(value, Mapping):
                spread = dict(value)
            else:
                metadata[column.name] = _plain(value)
        for key, value in spread.items():
            own = f"{self._asked.metadata}.{key}" if key in metadata else key
            metadata[own] = plain_value(value)
        if vector is not None and (not vector or isinstance(vector[0], list)):
            return Row(name, text, metadata, None, "its array is empty or nested")
        return Row(name, text, metadata, None if vector is None else _numbers(vector))

    # -- the table -----------------------------------------------------------------------------------------

    def _find(self, connection: Any) -> tuple[str, str]:
        rows = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') "
            "AND ((c.relname = %(name)s AND pg_table_is_visible(c.oid)) "
            "OR n.nspname || '.' || c.relname = %(name)s) ORDER BY c.relname <> %(name)s",
            {"name": self._asked.table},
        ).fetchall()
        if not rows:
            raise StoreNotFoundError(
                f"{self.url}: there is no table {self._asked.table!r} in this database that the user can see; "
                "write table=SCHEMA.NAME for one in another schema"
            )
        return str(rows[0][0]), str(rows[0][1])

    def _columns(self, connection: Any, schema: str, table: str) -> list[_Column]:
        rows = connection.execute(
            "SELECT a.attname, t.typname, t.typcategory::text, format_type(a.atttypid, a.atttypmod) "
            "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s "
            "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [schema, table],
        ).fetchall()
        return [_Column(*map(str, row)) for row in rows]

    def _chosen(self, columns: list[_Column]) -> tuple[_Column, _Column, _Column]:
        """The columns of ids, texts and vectors.

        Raises:
            InputError: one is not there, is of another type, or can't be told from others.
        """
        asked = self._asked
        by_name = {column.name: column for column in columns}
        text = asked.text or next((name for name in _TEXTS if name in by_name), None)
        if asked.vector is None:
            vectors = [column.name for column in columns if column.type in _VECTORS[:2]]
        else:
            vectors = [asked.vector]
        for option, name in (("id", asked.id), ("text", text), ("vector", vectors[0] if vectors else None)):
            if name not in by_name or (option == "vector" and len(vectors) > 1):
                told = ", ".join(f"{column.name} ({column.shown})" for column in columns)
                which = f"there is no column {name!r}" if name and name not in by_name else "it can't be told"
                raise InputError(
                    f"{self.url}: {which} for {option}={name or 'NAME'}; say which column holds the {option}. "
                    f"Its columns: {told}"
                )
        found = by_name[vectors[0]]
        if found.type not in _VECTORS:
            raise InputError(
                f"{self.url}: the column {found.name!r} is of type {found.shown}; vectors are read from "
                "vector, halfvec, real[] and double precision[]"
            )
        return by_name[asked.id], by_name[text or ""], found

    def _metadata(self, columns: list[_Column], used: set[str]) -> list[_Column]:
        wanted = self._asked.metadata
        spread = next((column for column in columns if column.name == wanted), None)
        if wanted is not None and (spread is None or spread.type not in _JSON):
            raise InputError(f"{self.url}: metadata={wanted} names no column of type json or jsonb")
        rest = [column for column in columns if column.name not in used]
        skipped = [column for column in rest if column.type in ("vector", "halfvec", "sparsevec", "bytea")]
        self.unread = tuple(f"{column.name} ({column.shown})" for column in skipped)
        kept = [column for column in rest if column not in skipped]
        return [
            _Column(column.name, "spread", column.category, column.shown) if column.name == wanted else column
            for column in kept
        ]

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A transaction that sees one state and may write nothing: the server itself refuses."""
        psycopg = require("psycopg", extra="postgresql")
        try:
            options = {"connect_timeout": max(2, int(self._timeout)), "prepare_threshold": None}  # poolers
            with psycopg.connect(self._address, **options) as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute("SET LOCAL TIME ZONE 'UTC'")
                yield connection
        except psycopg.Error as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise StoreError(f"{self.url}: PostgreSQL answered: {line}") from None


def _form(column: _Column) -> str:
    """The SQL by which a column becomes what metadata can hold, whatever the server's settings."""
    if column.type in _NATIVE:
        return "{}"
    if column.type == "spread":
        return "{}::jsonb"
    if column.category in ("D", "T"):
        return "to_jsonb({}) #>> '{{}}'"  # ISO 8601
    if column.category == "A":
        return "to_jsonb({})"
    return "{}::text"


def _plain(value: Any) -> MetadataValue:
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        value = int(value) if whole else float(value)
    return plain_value(value)


def _numbers(vector: list[float | None]) -> Any:
    return np.array([np.nan if number is None else number for number in vector], dtype=np.float64)
