"""The columns that a job keeps beside the text: which, of which type, and whether a value fits."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from textkin._optional import require
from textkin.errors import InputError
from textkin.text.parquet_table import is_text
from textkin.text.tables import compact_json, plain_value

EVERY: Final = "*"
"""Stands for all columns."""
_SOURCE: Final = b"textkin.column"
"""The key of a field's metadata under which its name in the input stands, where the output has another."""
_LARGEST: Final = 2**63 - 1
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_REAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_TRUTH: Final = {"true": True, "false": False}
"""As a CSV writes them, where the column as a whole is of strings and the user wants another type."""
_NAMES: Final = {
    "string": "string",
    "int": "int64",
    "int64": "int64",
    "float": "float64",
    "float64": "float64",
    "bool": "bool",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column as the user asked for it: its name, and a type where he said one."""

    name: str
    type: str | None = None


def parse_wanted(texts: Iterable[str]) -> tuple[Wanted, ...]:
    """``NAME``, ``NAME:TYPE`` (string, int, float, bool) or ``*``.

    Raises:
        InputError: a name that comes twice.
    """
    found: dict[str, Wanted] = {}
    for text in texts:
        name, colon, kind = text.rpartition(":")
        if colon and name == EVERY and kind in _NAMES:
            raise InputError(
                f"{text!r}: {EVERY} is all columns, and one type doesn't fit them all; name each column"
            )
        wanted = Wanted(name, _NAMES[kind]) if colon and name and kind in _NAMES else Wanted(text)
        if wanted.name in found:
            raise InputError(f"the column {wanted.name!r} is asked for twice")
        found[wanted.name] = wanted
    return tuple(found.values())


class Columns:
    """Columns with their Arrow types.

    Args:
        schema: pyarrow's; every field may be null.
        metadata: whether the values go to records: a list stays one where the type is a string, and else becomes
            JSON; and what only Parquet has a type for stays as it was read, a date as text.

    Attributes:
        names: as the output has them.
        sources: as the input has them.
    """

    def __init__(self, schema: Any, *, metadata: bool = False) -> None:
        self.schema = schema
        self.names: tuple[str, ...] = tuple(schema.names)
        self.sources: tuple[str, ...] = tuple(
            (field.metadata or {}).get(_SOURCE, field.name.encode()).decode() for field in schema
        )
        self._fits = [_check_of(field, metadata=metadata) for field in schema]

    def type_of(self, source: str) -> Any:
        """The type that a column of the input is kept in; None where it is not kept."""
        return self.schema.field(self.sources.index(source)).type if source in self.sources else None

    def values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """A row's values in the order of the columns, each as its type wants it; a missing one is None.

        Args:
            row: by the names of the input.

        Raises:
            InputError: a value of another type; names the column.
        """
        return tuple(
            None if value is None else fit(value)
            for fit, value in zip(self._fits, map(row.get, self.sources), strict=True)
        )

    def described(self) -> list[dict[str, str]]:
        """Names and types, for people and other programs."""
        return [{"name": field.name, "type": str(field.type)} for field in self.schema]

    def to_text(self) -> str:
        """All of it as one line of text."""
        return base64.b64encode(self.schema.serialize().to_pybytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Columns:
        """What `to_text` wrote."""
        arrow = require("pyarrow", extra="bulk")
        return cls(arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(text))))


def decide(
    wanted: Sequence[Wanted],
    known: Mapping[str, Any],
    first: Sequence[Mapping[str, Any]],
    taken: Sequence[str],
    *,
    metadata: bool = False,
) -> Columns:
    """Choose columns and types.

    A type that the user said counts, then the one that the input's format knows, then what the first rows hold:
    whole numbers, numbers, truth values, else strings.

    Args:
        wanted: by the user.
        known: name to Arrow type, as the inputs say it.
        first: values of the first rows.
        taken: names that the output uses itself; ``*`` keeps an input's column ``id`` as ``input_id``.
        metadata: as `Columns`.

    Raises:
        InputError: a column that no input has, or a name that the output uses itself.
    """
    arrow = require("pyarrow", extra="bulk")
    seen = list(dict.fromkeys([*known, *(name for row in first for name in row)]))
    chosen: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for one in wanted:
        if one.name == EVERY:
            for name in seen:
                kept = name
                while kept in taken or (kept != name and kept in seen):
                    kept = f"input_{kept}"
                if kept != name:
                    renamed[kept] = name
                chosen.setdefault(kept, known.get(name))
            continue
        if one.name in taken:
            raise InputError(
                f"the column {one.name!r} can't be kept under this name: the output has one of its own "
                f"({', '.join(taken)}); rename it in the input, or keep all columns (--column '*'), which calls "
                f"it input_{one.name}"
            )
        if one.name not in seen:
            raise InputError(
                f"there is no column {one.name!r} (--column) in the first rows. Their columns: "
                f"{', '.join(map(repr, seen[:40])) or 'none'}"
            )
        chosen[one.name] = arrow.type_for_alias(one.type) if one.type else known.get(one.name)
    fields = [
        arrow.field(
            name,
            _inferred([row.get(renamed.get(name, name)) for row in first], arrow) if kind is None else kind,
            metadata={_SOURCE: renamed[name].encode()} if name in renamed else None,
        )
        for name, kind in chosen.items()
    ]
    return Columns(arrow.schema(fields), metadata=metadata)


def _inferred(values: Iterable[Any], arrow: Any) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return arrow.bool_()
    if kinds == {int}:
        return arrow.int64()
    if kinds and kinds <= {int, float}:
        return arrow.float64()
    return arrow.string()


def _check_of(field: Any, *, metadata: bool) -> Callable[[Any], Any]:
    arrow = require("pyarrow", extra="bulk")
    types = arrow.types
    cure = f"keep the column as text: --column {field.name}:string"

    def refuse(value: Any) -> InputError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:59] + "…"
        return InputError(f"the column {field.name!r} holds {shown} where {field.type} is expected; {cure}")

    def whole(value: Any) -> Any:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if not isinstance(number, int) or isinstance(number, bool) or not -_LARGEST - 1 <= number <= _LARGEST:
            raise refuse(value)
        return number

    def real(value: Any) -> Any:
        if isinstance(value, str) and _REAL.fullmatch(value):
            return float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(value)
        try:
            return float(value)
        except OverflowError:
            raise refuse(value) from None

    def truth(value: Any) -> Any:
        if isinstance(value, str) and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
        if not isinstance(value, bool):
            raise refuse(value)
        return value

    def text(value: Any) -> Any:
        if metadata and isinstance(value, list):
            return value
        plain = value if isinstance(value, str) else plain_value(value)
        return plain if isinstance(plain, str | None) else compact_json(plain)

    if types.is_int64(field.type):
        return whole
    if types.is_float64(field.type):
        return real
    if types.is_boolean(field.type):
        return truth
    if is_text(field.type, arrow):
        return text
    if metadata:
        return lambda value: value

    sure: set[type] = set()

    def arrow_value(value: Any) -> Any:
        # Most come from a column of that very type; another file may have something else under the name.
        if type(value) not in sure:
            try:
                arrow.scalar(value, field.type)
            except (arrow.ArrowException, ValueError, TypeError, OverflowError):
                raise refuse(value) from None
            if not isinstance(value, list | dict | tuple | int | bytes | str):
                sure.add(type(value))
        return value

    return arrow_value
