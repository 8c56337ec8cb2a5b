"""Keep rules: which record of several near-duplicates stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

import numpy as np

from textkin.duplicates.unit_rows import Numbers
from textkin.errors import InputError
from textkin.types import Record, Scalar

Rule: TypeAlias = Literal["first", "last", "longest", "newest", "central"]
Keep: TypeAlias = Rule | Callable[[str], float] | Sequence[float]

_MONTHS = {4: "-01-01", 7: "-01"}


def rule_name(keep: Keep) -> str:
    """What a report calls this rule."""
    if isinstance(keep, str):
        return keep
    return "function" if callable(keep) else "priorities"


def record_dates(records: Sequence[Record], field: str, keep: Keep) -> list[Scalar]:
    """The dates that ``keep="newest"`` compares, out of the records' metadata.

    Raises:
        InputError: another keep rule, which would not look at them, or no record has the field.
    """
    if keep != "newest":
        raise InputError(f"date_field belongs to keep='newest', not to keep={rule_name(keep)!r}")
    dates = [record.metadata.get(field) for record in records]
    if records and all(date is None for date in dates):
        known = sorted({name for record in records for name in record.metadata})
        raise InputError(f"no record has the field {field!r}; their fields: {', '.join(known) or 'none'}")
    return dates


def keep_order(
    keep: Keep, ids: Sequence[str], texts: Sequence[str] | None = None, dates: Sequence[Scalar] | None = None
) -> Numbers | None:
    """Record numbers, the one to keep first; ties go to the earlier record.

    Args:
        keep: ``first`` and ``last`` in input order; ``longest`` by characters of text; ``newest`` by ``dates``;
            ``central``: the record with most near-duplicates; a function from id to a number, or one number a
            record: the highest is kept.
        ids: of all records.
        texts: needed by ``longest``.
        dates: needed by ``newest``: numbers, or ISO 8601 dates and times (UTC without one); None comes last.

    Returns:
        None for ``central``, whose order depends on the pairs.

    Raises:
        InputError: an unknown rule, what the rule needs is missing, or a date that can't be read.
    """
    count = len(ids)
    if not isinstance(keep, str):
        values = [keep(record) for record in ids] if callable(keep) else list(keep)
        return _highest_first(
            [_number(value, record) for value, record in zip(values, _same(values, ids), strict=True)]
        )
    if keep == "first":
        return np.arange(count)
    if keep == "last":
        return np.arange(count)[::-1].copy()
    if keep == "central":
        return None
    if keep == "longest":
        if texts is None:
            raise InputError("keep='longest' needs the texts")
        return _highest_first([float(len(text)) for text, _ in zip(texts, _same(texts, ids), strict=True)])
    if keep == "newest":
        if dates is None:
            raise InputError("keep='newest' needs a date for each record: name the metadata field that holds it")
        return _newest_first(dates, _same(dates, ids))
    raise InputError(f"unknown keep rule {keep!r}; choose one of: {', '.join(get_args(Rule))}")


def _same(values: Sequence[object], ids: Sequence[str]) -> Sequence[str]:
    if len(values) != len(ids):
        raise InputError(f"the keep rule has {len(values)} values for {len(ids)} records; give one a record")
    return ids


def _number(value: float, record: str) -> float:
    number = float(value)
    if number != number:
        raise InputError(f"the priority of record {record!r} is NaN; expected a number")
    return number


def _highest_first(values: Sequence[float]) -> Numbers:
    return np.argsort(-np.asarray(values, dtype=np.float64), kind="stable").astype(np.int64)


def _newest_first(dates: Sequence[Scalar], ids: Sequence[str]) -> Numbers:
    moments: list[float] = []
    kinds: dict[str, str] = {}
    for value, record in zip(dates, ids, strict=True):
        if value is None:
            moments.append(-np.inf)
            continue
        if isinstance(value, bool) or (isinstance(value, float) and value != value):
            raise InputError(f"the date of record {record!r} is {value}; expected a number or an ISO 8601 date")
        kinds.setdefault("a text" if isinstance(value, str) else "a number", record)
        moments.append(_moment(value, record) if isinstance(value, str) else float(value))
    if len(kinds) > 1:
        (one, a), (two, b) = kinds.items()
        raise InputError(f"the date of record {a!r} is {one} and that of {b!r} is {two}; they can't be compared")
    return _highest_first(moments)


def _moment(value: str, record: str) -> float:
    text = value.strip()
    if re.fullmatch(r"\d{4}(-\d\d)?", text):
        text += _MONTHS[len(text)]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"the date of record {record!r} is {value!r}; expected an ISO 8601 date such as 2024-05-31 or "
            "2024-05-31T12:00:00+02:00"
        ) from None
    # Not .timestamp(): some platforms can't count from before 1970.
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.total_seconds()
