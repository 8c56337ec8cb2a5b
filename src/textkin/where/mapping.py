"""Filters written as mappings, with the operators that Chroma, Pinecone and MongoDB made familiar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from textkin.errors import FilterError
from textkin.where.conditions import (
    And,
    Compare,
    Condition,
    Contains,
    In,
    Not,
    Operator,
    Or,
    check,
    check_depth,
    check_value,
)

_COMPARISONS: dict[str, Operator] = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_FIELD_OPERATORS = (*_COMPARISONS, "$ne", "$in", "$nin", "$contains", "$not_contains", "$exists", "$not")


def from_mapping(mapping: Mapping[str, object]) -> Condition:
    """Turn ``{"lang": "en", "year": {"$gte": 2020}, "$or": [{…}, {…}]}`` into a condition.

    All entries must hold. A plain value means ``=``, a list means ``$in``; ``$and``, ``$or`` and ``$not`` take
    mappings; a field takes ``$eq $ne $gt $gte $lt $lte $in $nin $contains $not_contains $exists $not``. An
    empty mapping is true everywhere. ``{"$exists": True}`` means neither missing nor null.

    Raises:
        FilterError: naming the entry.
    """
    return check(_mapping(mapping, 1))


def _mapping(mapping: object, depth: int) -> Condition:
    check_depth(depth)
    if not isinstance(mapping, Mapping):
        raise FilterError(f"expected a mapping such as {{'lang': 'en'}}, not {mapping!r}")
    return _all([_entry(key, value, depth) for key, value in mapping.items()])


def _entry(key: object, value: object, depth: int) -> Condition:
    if not isinstance(key, str):
        raise FilterError(f"a field's name is a text, not {key!r}")
    if key == "$not":
        return Not(_mapping(value, depth + 1))
    if key in ("$and", "$or"):
        items = tuple(_mapping(item, depth + 1) for item in _listed(key, value))
        return And(items) if key == "$and" else Or(items)
    if key.startswith("$"):
        raise FilterError(f"unknown operator {key!r}; at this place: $and, $or, $not or a field's name")
    return _field(key, value, depth)


def _field(field: str, value: object, depth: int) -> Condition:
    check_depth(depth)
    if isinstance(value, Mapping):
        if not value:
            raise FilterError(f"field {field!r}: empty mapping; write for example {{'$gte': 2020}}")
        return _all([_operator(field, op, operand, depth) for op, operand in value.items()])
    if isinstance(value, list | tuple | set | frozenset) or getattr(value, "ndim", None) == 1:
        return _in(field, value)
    return Compare(field, "=", check_value(field, "=", value))


def _operator(field: str, op: object, operand: object, depth: int) -> Condition:
    if not isinstance(op, str) or op not in _FIELD_OPERATORS:
        raise FilterError(f"field {field!r}: unknown operator {op!r}; use one of: {', '.join(_FIELD_OPERATORS)}")
    if op in _COMPARISONS:
        return Compare(field, _COMPARISONS[op], check_value(field, _COMPARISONS[op], operand))
    if op == "$ne":
        return Not(Compare(field, "=", check_value(field, "=", operand)))
    if op in ("$contains", "$not_contains"):
        held = Contains(field, check_value(field, "=", operand))
        return held if op == "$contains" else Not(held)
    if op == "$exists":
        return _exists(field, operand)
    if op == "$not":
        return Not(_field(field, operand, depth + 1))
    return _in(field, operand) if op == "$in" else Not(_in(field, operand))


def _in(field: str, values: object) -> In:
    return In(field, tuple(check_value(field, "=", value) for value in _listed(field, values)))


def _exists(field: str, operand: object) -> Condition:
    if not isinstance(operand, bool):
        raise FilterError(f"field {field!r}: $exists takes true or false, not {operand!r}")
    missing = Compare(field, "=", None)
    return Not(missing) if operand else missing


def _listed(name: str, value: object) -> list[object]:
    if isinstance(value, list | tuple | set | frozenset) or getattr(value, "ndim", None) == 1:
        return list(cast(Iterable[object], value))
    raise FilterError(f"{name!r} takes a list, not {value!r}")


def _all(items: list[Condition]) -> Condition:
    return items[0] if len(items) == 1 else And(tuple(items))
