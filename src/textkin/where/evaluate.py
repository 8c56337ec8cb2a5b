"""What a filter means: the reference that every store must equal."""

from __future__ import annotations

from textkin.where.conditions import And, Compare, Condition, Contains, In, Metadata, MetadataValue, Not, Scalar


def matches(condition: Condition, metadata: Metadata) -> bool:
    """Whether metadata satisfy a (valid) condition.

    Nothing is coerced: the text "5" is never 5, true is never 1; integers and floats compare as numbers,
    exactly; texts by code point. A comparison with a missing field or another type is False. A list is another
    type than any value: only ``contains`` looks into it.
    """
    if isinstance(condition, Compare):
        stored = metadata.get(condition.field)
        if condition.op == "=":
            return _equal(stored, condition.value)
        return _ordered(stored, condition.op, condition.value)
    if isinstance(condition, In):
        stored = metadata.get(condition.field)
        return any(_equal(stored, value) for value in condition.values)
    if isinstance(condition, Contains):
        return _contains(metadata.get(condition.field), condition.value)
    if isinstance(condition, Not):
        return not matches(condition.item, metadata)
    if isinstance(condition, And):
        return all(matches(item, metadata) for item in condition.items)
    return any(matches(item, metadata) for item in condition.items)


def _kind(value: MetadataValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) else "list"


def _equal(stored: MetadataValue, value: Scalar) -> bool:
    return _kind(stored) == _kind(value) and stored == value


def _contains(stored: MetadataValue, value: Scalar) -> bool:
    if isinstance(stored, str):
        return isinstance(value, str) and value in stored
    if stored is None or isinstance(stored, bool | int | float):
        return False
    return any(_equal(item, value) for item in stored)


def _ordered(stored: MetadataValue, op: str, value: Scalar) -> bool:
    if isinstance(stored, bool) or isinstance(value, bool):
        return False
    if isinstance(stored, str) and isinstance(value, str):
        below, same = stored < value, stored == value
    elif isinstance(stored, int | float) and isinstance(value, int | float):
        if stored != stored or value != value:  # NaN is neither below, above nor equal
            return False
        below, same = stored < value, stored == value
    else:
        return False
    if op == "<":
        return below
    if op == "<=":
        return below or same
    return not below and (op == ">=" or not same)
