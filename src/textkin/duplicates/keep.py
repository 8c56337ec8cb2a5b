"""Keep rules: which record of several near-duplicates stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

import numpy as np

from textkin.duplicates.unit_rows import Numbers
from textkin.errors import InputError
from textkin.text.digest import text_digest, well_formed
from textkin.types import Metadata, MetadataValue, Record

Rule: TypeAlias = Literal["first", "last", "longest", "newest", "central"]
Keep: TypeAlias = Rule | str | Callable[[str], float] | Sequence[float]
"""A rule, the name of a metadata field where records are at hand, a function, or one number a record."""

RULES: tuple[str, ...] = get_args(Rule)

_MONTHS = {4: "-01-01", 7: "-01"}


def rule_name(keep: Keep) -> str:
    """What a report calls this rule."""
    if isinstance(keep, str):
        return keep
    return "function" if callable(keep) else "priorities"


def field_values(
    records: Sequence[Record], keep: Keep, date_field: str | None
) -> tuple[Keep, list[MetadataValue] | None, str]:
    """What `keep_order` needs where the rule looks at metadata.

    Args:
        records: all.
        keep: a rule, or the name of a metadata field whose highest value (number or date) stays.
        date_field: for ``newest``.

    Returns:
        The rule for `keep_order`, the values that it compares, and the rule's name in reports.

    Raises:
        InputError: a field that no record has, ``newest`` without a field, or a field that the rule would not
            look at.
    """
    if date_field is not None and keep != "newest":
        raise InputError(f"date_field belongs to keep='newest', not to keep={rule_name(keep)!r}")
    field = date_field
    if isinstance(keep, str) and keep not in RULES:
        field = keep
    if field is None:
        return keep, None, rule_name(keep)
    values = [record.metadata.get(field) for record in records]
    if records and all(value is None for value in values):
        known = sorted({name for record in records for name in record.metadata})
        rule = "" if keep == "newest" else f", and no keep rule is called so (there are {', '.join(RULES)})"
        raise InputError(f"no record has the field {field!r}{rule}; their fields: {', '.join(known) or 'none'}")
    return "newest", values, rule_name(keep)


def content_order(ids: Sequence[str], texts: Sequence[str], metadata: Sequence[Metadata] | None = None) -> Numbers:
    """Record numbers in an order that depends on what the records are, not on where they stand.

    By the digest of the text, then by metadata, then by id; so that the same records in another order, even under
    ids that count rows, give the same texts to keep.
    """
    digests = [text_digest(well_formed(text)) for text in texts]
    facts = [""] * len(ids) if metadata is None else [repr(sorted(one.items())) for one in metadata]
    return np.array(
        sorted(range(len(ids)), key=lambda record: (digests[record], facts[record], ids[record])), dtype=np.int64
    )


def keep_order(
    keep: Keep,
    ids: Sequence[str],
    texts: Sequence[str] | None = None,
    dates: Sequence[MetadataValue] | None = None,
    ties: Numbers | None = None,
) -> Numbers | None:
    """Record numbers, the one to keep first.

    Args:
        keep: ``first`` and ``last`` in input order; ``longest`` by characters of text (runs of white space count
            as one); ``newest`` by ``dates``;
            ``central``: the record with most near-duplicates; a function from id to a number, or one number a
            record: the highest is kept.
        ids: of all records.
        texts: needed by ``longest``.
        dates: needed by ``newest``: numbers, or ISO 8601 dates and times (UTC without one); None comes last.
        ties: record numbers in the order that decides between equal ones; None: the earlier record.

    Returns:
        None for ``central``, whose order depends on the pairs.

    Raises:
        InputError: an unknown rule, what the rule needs is missing, or a date that can't be read.
    """
    count = len(ids)
    if not isinstance(keep, str):
        if not callable(keep) and not isinstance(keep, Iterable):
            raise InputError(
                f"keep must be a rule ({', '.join(RULES)}), a field, a function or numbers, not {keep!r}"
            )
        values = [keep(record) for record in ids] if callable(keep) else list(keep)
        return _highest_first(
            [_number(value, record) for value, record in zip(values, _same(values, ids), strict=True)],
            ties,
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
        return _highest_first(
            [float(len(" ".join(text.split()))) for text, _ in zip(texts, _same(texts, ids), strict=True)], ties
        )
    if keep == "newest":
        if dates is None:
            raise InputError("keep='newest' needs a date for each record: name the metadata field that holds it")
        return _highest_first(_moments(dates, _same(dates, ids)), ties)
    raise InputError(f"unknown keep rule {keep!r}; choose one of: {', '.join(RULES)}")


def _same(values: Sequence[object], ids: Sequence[str]) -> Sequence[str]:
    if len(values) != len(ids):
        raise InputError(f"the keep rule has {len(values)} values for {len(ids)} records; give one a record")
    return ids


def _number(value: float, record: str) -> float:
    number = float(value)
    if number != number:
        raise InputError(f"the priority of record {record!r} is NaN; expected a number")
    return number


def _highest_first(values: Sequence[float], ties: Numbers | None) -> Numbers:
    first = np.arange(len(values)) if ties is None else ties
    numbers = np.asarray(values, dtype=np.float64)[first]
    return first[np.argsort(-numbers, kind="stable")].astype(np.int64)


def _moments(dates: Sequence[MetadataValue], ids: Sequence[str]) -> list[float]:
    moments: list[float] = []
    kinds: dict[str, str] = {}
    for value, record in zip(dates, ids, strict=True):
        if value is None:
            moments.append(-np.inf)
            continue
        if not isinstance(value, str | int | float) or isinstance(value, bool) or value != value:
            raise InputError(f"the date of record {record!r} is {value}; expected a number or an ISO 8601 date")
        kinds.setdefault("a text" if isinstance(value, str) else "a number", record)
        moments.append(_moment(value, record) if isinstance(value, str) else float(value))
    if len(kinds) > 1:
        (one, a), (two, b) = kinds.items()
        raise InputError(f"the date of record {a!r} is {one} and that of {b!r} is {two}; they can't be compared")
    return moments


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
