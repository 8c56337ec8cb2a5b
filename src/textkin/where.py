"""Metadata filters: one small grammar, the same meaning in every store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from textkin.types import Scalar


@dataclass(frozen=True, slots=True)
class Compare:
    """``field op value``: True only where the field is there and has the value's type."""

    field: str
    op: Literal["=", "<", "<=", ">", ">="]
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """``field in (values)``: an ``=`` with any of them."""

    field: str
    values: tuple[Scalar, ...]


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


Condition: TypeAlias = Compare | In | Not | And | Or
