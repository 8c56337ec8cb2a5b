"""Why a filter may have matched nothing: a field that no record has, or values of another type."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from textkin.cli.output import talk
from textkin.where import And, Compare, Condition, Contains, In, Not, Or, condition

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.types import MetadataValue

_LOOKED_AT = 10_000
_KINDS = {str: "text", bool: "true or false", int: "numbers", float: "numbers"}


def tell_why_nothing(collection: Collection, where: str) -> None:
    """Say on stderr why ``where`` matched no record, as far as the first 10,000 records' metadata tell."""
    wanted = condition(where)
    fields: dict[str, set[str]] = {}
    looked_at = 0
    for record in islice(collection.records(), _LOOKED_AT):
        looked_at += 1
        for field, value in record.metadata.items():
            fields.setdefault(field, set()).update(_kinds(value))
    if wanted is None or not looked_at:
        return
    nobody = "no record" if looked_at < _LOOKED_AT else f"none of the first {_LOOKED_AT:,} records"
    for line in dict.fromkeys(_reasons(wanted, fields, nobody)):
        talk(line)


def _reasons(wanted: Condition, fields: Mapping[str, set[str]], nobody: str) -> Iterator[str]:
    for field, kinds in _asked(wanted, negated=False):
        if field not in fields:
            yield f"{nobody} has a field {field!r}{_nearest(field, fields)}"
        elif not fields[field]:
            yield f"{nobody} has a value in {field}: all are null"
        elif kinds and kinds.isdisjoint(fields[field]):
            cure = "; contains looks into lists" if "lists" in fields[field] else ""
            yield f"{field} holds {_named(fields[field])}, not {_named(kinds)}{cure}"


def _asked(wanted: Condition, *, negated: bool) -> Iterator[tuple[str, set[str]]]:
    """Fields that must be there for a match, and of which kinds; none named: of any.

    Under ``not`` a missing field is a match, but for ``is not null``; for ``is null`` it is one, too.
    """
    if isinstance(wanted, Not):
        yield from _asked(wanted.item, negated=not negated)
    elif isinstance(wanted, And | Or):
        for item in wanted.items:
            yield from _asked(item, negated=negated)
    elif isinstance(wanted, Contains):
        if not negated:
            yield wanted.field, {"lists", *(["text"] if isinstance(wanted.value, str) else [])}
    else:
        values = wanted.values if isinstance(wanted, In) else (wanted.value,)
        if (isinstance(wanted, Compare) and wanted.value is None) == negated and (negated or None not in values):
            yield wanted.field, {kind for value in values for kind in _kinds(value)}


def _kinds(value: MetadataValue) -> set[str]:
    return set() if value is None else {_KINDS.get(type(value), "lists")}


def _named(kinds: set[str]) -> str:
    return " and ".join(sorted(kinds))


def _nearest(field: str, fields: Mapping[str, set[str]]) -> str:
    folded = {name.casefold(): name for name in fields}
    close = difflib.get_close_matches(field.casefold(), folded, n=1)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    named = ", ".join(map(repr, sorted(fields)[:10]))
    return f"; there are {named}{' …' if len(fields) > 10 else ''}" if fields else "; none has metadata"
