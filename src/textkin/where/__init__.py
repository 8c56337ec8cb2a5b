"""Metadata filters: one small grammar, the same meaning in every store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from textkin.errors import FilterError
from textkin.where.conditions import And, Compare, Condition, Contains, In, Leaf, Not, Or, check
from textkin.where.evaluate import matches
from textkin.where.mapping import from_mapping
from textkin.where.parse import parse

Where: TypeAlias = str | Mapping[str, object] | Condition | None
"""What a user may give as a filter."""

__all__ = [
    "And",
    "Compare",
    "Condition",
    "Contains",
    "In",
    "Leaf",
    "Not",
    "Or",
    "Where",
    "check",
    "condition",
    "from_mapping",
    "matches",
    "parse",
]


def condition(where: Where) -> Condition | None:
    """Take a filter in any of its forms; None stays None (no filter).

    Raises:
        FilterError: it is not valid.
    """
    if where is None:
        return None
    if isinstance(where, str):
        return parse(where)
    if isinstance(where, Mapping):
        return from_mapping(where)
    if isinstance(where, Leaf | Not | And | Or):
        return check(where)
    raise FilterError(f"a filter is a text like 'year >= 2020' or a mapping like {{'lang': 'en'}}, not {where!r}")
