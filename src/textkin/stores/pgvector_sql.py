"""The SQL of the PostgreSQL store: tables, filters, rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from textkin.stores.points.backend import KIND, NO_VECTOR, SOURCE, Point
from textkin.types import Scalar
from textkin.where.conditions import And, Compare, Condition, In, Or

COLUMNS: Final = "key, text, payload, kind, source, fields"
_HNSW_VECTOR: Final = 2000
MOST_INDEXED: Final = 4000
"""Dimensions that an HNSW index takes: up to 2,000 as they are, above as half-precision numbers."""

STEPS: Final[list[Sequence[str]]] = [
    (
        "CREATE EXTENSION IF NOT EXISTS vector",
        "CREATE SCHEMA IF NOT EXISTS textkin",
        "CREATE TABLE textkin.version (number integer NOT NULL)",
        "INSERT INTO textkin.version VALUES (0)",
        "CREATE TABLE textkin.collections (number integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, "
        "name text NOT NULL UNIQUE, dimensions integer NOT NULL, header text NOT NULL)",
    ),
]
"""What brings a database from one version of our tables to the next."""


def create_table(number: int, dimensions: int) -> Sequence[str]:
    """The statements that make the table of a collection."""
    table = f"textkin.points_{number}"
    return (
        f"CREATE TABLE {table} (key uuid PRIMARY KEY, text text NOT NULL, payload text NOT NULL, "
        f"kind text NOT NULL, source text, fields jsonb NOT NULL, vector vector({dimensions}) NOT NULL)",
        # A vector is read whenever its row is: kept in the row where it fits, and never compressed.
        f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE EXTERNAL",
        f"CREATE INDEX ON {table} (source) WHERE source IS NOT NULL",
    )


def closeness(dimensions: int) -> tuple[str, str]:
    """What HNSW indexes of a row, and the type of that."""
    if dimensions <= _HNSW_VECTOR:
        return "vector", "vector"
    return f"vector::halfvec({dimensions})", "halfvec"


def to_sql(condition: Condition) -> tuple[str, list[Any]]:
    """The SQL of a condition all of whose leaves the store's ``can`` accepted, with its parameters."""
    if isinstance(condition, And | Or):
        parts = [to_sql(item) for item in condition.items]
        word = " AND " if isinstance(condition, And) else " OR "
        return "(" + word.join(sql for sql, _ in parts) + ")", [value for _, own in parts for value in own]
    if isinstance(condition, In):
        if condition.field == KIND:
            return "kind = ANY(%s)", [list(condition.values)]
        parts = [_compared(condition.field, "=", value) for value in condition.values]
        if not parts:
            return "false", []
        return "(" + " OR ".join(sql for sql, _ in parts) + ")", [value for _, own in parts for value in own]
    assert isinstance(condition, Compare)
    return _compared(condition.field, condition.op, condition.value)


def _compared(field: str, op: str, value: Scalar) -> tuple[str, list[Any]]:
    if field in (KIND, SOURCE):
        return f"{'kind' if field == KIND else 'source'} = %s", [value]
    if isinstance(value, bool):
        good, values = "fields->%s = to_jsonb(%s::boolean)", [field, value]
    elif isinstance(value, str):
        good = (
            "CASE WHEN jsonb_typeof(fields->%s) = 'string' "
            f'THEN (fields->>%s) COLLATE "C" {op} %s::text COLLATE "C" ELSE false END'
        )
        values = [field, field, value]
    else:
        # As floats, so bounds are inclusive: rounding may have put two numbers on one.
        inclusive = {"=": "=", "<": "<=", "<=": "<=", ">": ">=", ">=": ">="}[op]
        good = (
            "CASE WHEN jsonb_typeof(fields->%s) = 'number' "
            f"THEN (fields->>%s)::float8 {inclusive} %s::float8 ELSE false END"
        )
        values = [field, field, float(value or 0)]
    # A null stands for a value that PostgreSQL can't hold: it is judged by whoever asked.
    return f"({good} OR fields->%s = 'null'::jsonb)", [*values, field]


def fields_json(psycopg: Any, point: Point) -> Any:
    """The metadata that may be filtered by, as a jsonb parameter."""
    fields = {
        name: None if isinstance(value, str) and "\0" in value else value
        for name, value in point.fields.items()
        if name not in (KIND, SOURCE)
    }
    return psycopg.types.json.Jsonb(fields)


def to_point(row: Sequence[Any]) -> Point:
    """A row of `COLUMNS` and maybe the vector."""
    vector = NO_VECTOR
    if len(row) > 6:
        told = row[6]
        vector = np.asarray(told.to_numpy() if hasattr(told, "to_numpy") else told, dtype=np.float32)
    return Point(str(row[0]), row[1], row[2], {KIND: row[3]}, vector)
