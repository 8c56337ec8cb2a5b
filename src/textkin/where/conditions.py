"""The shape of a filter, and what makes one valid."""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from textkin.errors import FilterError

Scalar: TypeAlias = str | int | float | bool | None
MetadataValue: TypeAlias = Scalar | Sequence[Scalar]
"""A scalar or a list of them, which comes back as a list."""
Metadata: TypeAlias = Mapping[str, MetadataValue]
MAX_DEPTH = 64
"""How deep ``not``, ``and``, ``or`` and brackets may nest."""
MAX_CONDITIONS = 5000
"""How many comparisons one filter may hold; an ``in`` counts as one."""
Operator: TypeAlias = Literal["=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Compare:
    """``field op value``: True only where the field is there and has the value's type.

    ``= null`` is the exception: True where the field is null or missing.
    """

    field: str
    op: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """``field in (values)``: an ``=`` with any of them."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A list that has an item ``=`` to the value, or a text that has the value (a text) in it."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; so ``a != 1`` is also true where ``a`` is missing."""

    item: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of them; true when empty."""

    items: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them; false when empty."""

    items: tuple[Condition, ...]


Leaf: TypeAlias = Compare | In | Contains
Condition: TypeAlias = Leaf | Not | And | Or


def check(condition: Condition) -> Condition:
    """Return the condition when it is valid.

    Raises:
        FilterError: an operator, a field or a value that can't be used, or one filter too deep or too long.
    """
    pending: list[tuple[Condition, int]] = [(condition, 1)]
    count = 0
    while pending:
        item, depth = pending.pop()
        check_depth(depth)
        if isinstance(item, Not):
            pending.append((item.item, depth + 1))
        elif isinstance(item, And | Or):
            pending.extend((part, depth + 1) for part in item.items)
        elif isinstance(item, Leaf):
            _check_leaf(item)
        else:
            raise FilterError(
                f"a filter is made of Compare, In, Contains, Not, And and Or, not {type(item).__name__}"
            )
        count += 1
        if count > MAX_CONDITIONS:
            raise FilterError(f"a filter may hold {MAX_CONDITIONS} conditions; use field in (…) for long lists")
    return condition


def check_depth(depth: int) -> None:
    """Refuse a filter that nests too deep."""
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may nest {MAX_DEPTH} deep; write it flatter")


def plain(value: object) -> object:
    """A value of NumPy as Python's, a date, a time or a UUID as the text that metadata keep of it."""
    if not isinstance(value, str | int | float) and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        if getattr(getattr(value, "dtype", None), "kind", "") == "M":
            whole, dot, fraction = str(value).partition(".")
            fraction = fraction.rstrip("0")
            return None if whole == "NaT" else whole + (dot + fraction if fraction else "")
        value = value.item()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def check_value(field: str, op: str, value: object) -> Scalar:
    """Return a value that can be compared by ``op``; see `plain`."""
    value = plain(value)
    if value is None or isinstance(value, bool):
        if op != "=":
            raise FilterError(
                f"field {field!r}: null, true and false have no order, so {op} can't be used; use = or !="
            )
        return value
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise FilterError(f"field {field!r}: {value!r} holds half a character (a lone surrogate)")
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise FilterError(f"field {field!r}: a whole number that does not fit in 64 bits; use a float (1e30)")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FilterError(f"field {field!r}: {value} can't be compared; use a finite number")
        return value
    raise FilterError(
        f"field {field!r}: a value is a text, a number, true, false or null, not {type(value).__name__}"
    )


def _check_leaf(item: Leaf) -> None:
    if not isinstance(item.field, str):
        raise FilterError(f"a field's name is a text, not {item.field!r}")
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in item.field):
        raise FilterError(f"the field name {item.field!r} holds a zero byte or a lone surrogate")
    if isinstance(item, In):
        for value in item.values:
            _check_plain(item.field, "=", value)
        return
    if isinstance(item, Contains):
        _check_plain(item.field, "=", item.value)
        return
    if item.op not in ("=", "<", "<=", ">", ">="):
        raise FilterError(f"field {item.field!r}: unknown operator {item.op!r}; use =, <, <=, > or >=")
    _check_plain(item.field, item.op, item.value)


def _check_plain(field: str, op: str, value: object) -> None:
    if type(check_value(field, op, value)) is not type(value):
        raise FilterError(
            f"field {field!r}: {value!r} is a {type(value).__name__}; give Python's own value: .item()"
        )
