"""Filters as SQL over the metadata column: parameters only, and equal to `where.matches` on every case."""

from __future__ import annotations

import json
from typing import TypeAlias

from textkin.types import Scalar
from textkin.where import And, Compare, Condition, Contains, In, Not, check

Parameters: TypeAlias = list[Scalar]


def filter_sql(condition: Condition | None) -> tuple[str, Parameters]:
    """An SQL expression that is 0 or 1 (never NULL) for each row of ``records``, and its parameters."""
    if condition is None:
        return "1", []
    parameters: Parameters = []
    return _expression(check(condition), parameters), parameters


def _expression(condition: Condition, parameters: Parameters) -> str:
    if isinstance(condition, Compare):
        return _compare(condition, parameters)
    if isinstance(condition, In):
        return _in(condition, parameters)
    if isinstance(condition, Contains):
        return _contains(condition, parameters)
    if isinstance(condition, Not):
        return f"NOT {_expression(condition.item, parameters)}"
    parts = [_expression(item, parameters) for item in condition.items]
    if isinstance(condition, And):
        return _joined(parts, " AND ", "1")
    return _joined(parts, " OR ", "0")


def _joined(parts: list[str], operator: str, empty: str) -> str:
    """Brackets in a balanced tree, because SQLite limits how deep an expression may be."""
    if not parts:
        return empty
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_joined(parts[:middle], operator, empty)}{operator}{_joined(parts[middle:], operator, empty)})"


def _compare(condition: Compare, parameters: Parameters) -> str:
    path, value = _path(condition.field), condition.value
    if value is None:
        return _null(path, parameters)
    if isinstance(value, bool):
        parameters += [path, "true" if value else "false"]
        return "(json_type(metadata, ?) IS ?)"
    operator = "IS" if condition.op == "=" else condition.op
    parameters += [path, path, value]
    return f"({_HAS_TEXT if isinstance(value, str) else _HAS_NUMBER} AND json_extract(metadata, ?) {operator} ?)"


def _in(condition: In, parameters: Parameters) -> str:
    path = _path(condition.field)
    texts = [value for value in condition.values if isinstance(value, str)]
    flags = sorted({"true" if value else "false" for value in condition.values if isinstance(value, bool)})
    numbers = [
        value for value in condition.values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    parts: list[str] = []
    for has, values in ((_HAS_TEXT, texts), (_HAS_NUMBER, numbers)):
        if values:
            parameters += [path, path, _json(values)]
            parts.append(f"({has} AND json_extract(metadata, ?) IN (SELECT value FROM json_each(?)))")
    for flag in flags:
        parameters += [path, flag]
        parts.append("(json_type(metadata, ?) IS ?)")
    if None in condition.values:
        parts.append(_null(path, parameters))
    return _joined(parts, " OR ", "0")


def _contains(condition: Contains, parameters: Parameters) -> str:
    path, value = _path(condition.field), condition.value
    # What is no list is for json_each a list of one; it must not be looked into.
    items = "FROM json_each(CASE json_type(metadata, ?) WHEN 'array' THEN json_extract(metadata, ?) END)"
    parameters += [path, path]
    if value is None or isinstance(value, bool):
        parameters.append("null" if value is None else "true" if value else "false")
        return f"EXISTS (SELECT 1 {items} WHERE type = ?)"
    parameters.append(value)
    if not isinstance(value, str):
        return f"EXISTS (SELECT 1 {items} WHERE type IN ('integer', 'real') AND atom = ?)"
    parameters += [path, path, value]
    held = f"EXISTS (SELECT 1 {items} WHERE type = 'text' AND atom = ?)"
    return f"({held} OR ({_HAS_TEXT} AND instr(json_extract(metadata, ?), ?) > 0))"


_HAS_TEXT = "json_type(metadata, ?) IS 'text'"
_HAS_NUMBER = "ifnull(json_type(metadata, ?), '') IN ('integer', 'real')"


def _null(path: str, parameters: Parameters) -> str:
    parameters.append(path)
    return "(ifnull(json_type(metadata, ?), 'null') = 'null')"


def _path(field: str) -> str:
    return "$." + json.dumps(field, ensure_ascii=False)


def _json(values: list[str] | list[int | float] | list[Scalar]) -> str:
    return json.dumps(values, ensure_ascii=False)
