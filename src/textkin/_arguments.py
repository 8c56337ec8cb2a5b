"""What Python callers give: texts, ids and numbers in any form of one meaning; others are refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from textkin.errors import InputError

_MANY = {"text": "texts", "id": "ids", "query": "queries"}
_CURES = {
    "NoneType": "leave it out, or give ''",
    "float": "NaN is a missing text: leave it out, e.g. column.dropna()",
    "bytes": "decode it: value.decode()",
    "list": "give the texts in one flat list",
    "tuple": "give the texts in one flat list",
    "ndarray": "give the texts in one flat list",
    "dict": "give the text in it, e.g. value['text']",
    "StringScalar": "give column.to_pylist()",
    "LargeStringScalar": "give column.to_pylist()",
}


def strings(given: Any, what: str = "text") -> list[str]:
    """One text (or id), or many in order, as a list of plain strings.

    Lists, tuples, generators, NumPy arrays of strings and pandas or polars columns are many.

    Args:
        what: ``text``, ``id`` or ``query``, for messages.

    Raises:
        InputError: it has another meaning, or none; says what to give instead.
    """
    if isinstance(given, str):
        return [str(given)]
    kind, many = type(given).__name__, _MANY[what]
    if isinstance(given, Mapping):
        raise InputError(
            f"the {many} are a {kind}, whose keys would be taken for them; give list(its.values()), or one list"
        )
    if hasattr(given, "columns") or hasattr(given, "column_names"):
        raise InputError(
            f"the {many} are a table ({kind}), whose columns' names would be taken for them; give one of its "
            f"columns, e.g. table[{what!r}].tolist()"
        )
    if isinstance(given, set | frozenset):
        raise InputError(f"the {many} are a {kind}, which has no order; give sorted(it)")
    if (
        isinstance(given, bytes | bytearray | memoryview)
        or not isinstance(given, Iterable)
        or getattr(given, "ndim", 1) == 0
    ):
        cure = "give str(it)" if what == "id" and _is_whole(given) else "give a str or a list of str"
        raise InputError(f"expected {many}, not a {kind}: {given!r:.80}; {cure}")
    return [_string(value, number, what) for number, value in enumerate(given)]


def is_one(given: Any) -> bool:
    """Whether one text or id was given, not several."""
    return isinstance(given, str)


def whole_number(given: Any, name: str, least: int | None = None) -> int:
    """A whole number, of NumPy too, as Python's.

    Raises:
        InputError: none, or one under ``least``.
    """
    try:
        number = None if isinstance(given, bool) else operator.index(given)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        of = "" if least is None else f" of at least {least}"
        cure = f"; give {name}=int(...)" if isinstance(given, float | str) else ""
        raise InputError(f"{name} must be a whole number{of}, not {given!r}{cure}")
    return number


def number(given: Any, name: str) -> float:
    """A finite number, of NumPy too, as Python's float.

    Raises:
        InputError: none, or NaN.
    """
    if isinstance(given, str | bytes | bool) or not hasattr(given, "__float__"):
        raise InputError(f"{name} must be a number, not {given!r}; give {name}=float(...)")
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name} must be one finite number, not {given!r}")
    return value


def _string(value: Any, number: int, what: str) -> str:
    if isinstance(value, str):
        return value
    kind = type(value).__name__
    if what == "id":
        cure = "give str(...) of each: 1 and '1' would be one record" if _is_whole(value) else "ids are strings"
    else:
        cure = _CURES.get(kind, "give str(...) of each")
    raise InputError(f"{what} number {number} is a {kind}, not a str: {value!r:.80}; {cure}")


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
