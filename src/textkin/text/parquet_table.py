"""Parquet: rows in batches, with types that fit into metadata."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

from textkin import _optional
from textkin.errors import FileReadError
from textkin.text.tables import BadRow, Columns, Row, Rows, Table, compact_json, plain_value, unique_names
from textkin.types import MetadataValue

_BATCH = 1024
_NOT_UTF8 = object()
"""Stands for a string whose bytes are not UTF-8: not all that write Parquet check, nor does Arrow."""
_Convert: TypeAlias = Callable[[Any, Any], list[Any]]


def parquet_table(source: BinaryIO, name: str) -> Table:
    """Look into an open Parquet file.

    Dates and times become ISO strings, UUIDs and decimals strings, lists of plain values lists, what nests deeper
    compact JSON; bytes are taken as UTF-8, or named by their number when they are not. A column without a name is
    ``column 2``, a second one of a name ``a (2)``.

    Raises:
        FileReadError: not a whole Parquet file.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow = _optional.require("pyarrow", extra="parquet")
    parquet = _optional.require("pyarrow.parquet", extra="parquet")
    try:
        file = parquet.ParquetFile(source, pre_buffer=False)
    except (arrow.ArrowException, OSError) as error:
        raise FileReadError(f"{name} is not a whole Parquet file: {error}") from error
    schema = file.schema_arrow
    names = unique_names(schema.names)
    uuids = _unmarked_uuids(file, arrow)
    texts = tuple(
        column
        for column, field in zip(names, schema, strict=True)
        if is_text(_plain(field.type, arrow), arrow) and not _extension(field.type, arrow)
    )

    def read(columns: Columns, bulk: bool) -> Rows:
        types = {
            column: arrow.string() if at in uuids else _plain(schema.field(at).type, arrow)
            for at, column in enumerate(names)
        }
        as_written = {*columns.texts, *([] if columns.id is None else [columns.id])}
        converts: dict[str, _Convert] = {
            column: _uuids if at in uuids else _numbers if bulk and column not in as_written else _values
            for at, column in enumerate(names)
        }
        for column in columns.others if bulk else ():
            counted = column in as_written and _counted(types[column], arrow) != types[column]
            if counted or _nests_extension(types[column], arrow):
                types[column] = arrow.string()
                converts[column] = _texts
        wanted = [
            (at, column, converts[column])
            for at, column in enumerate(names)
            if columns.every or column in columns.needed
        ]
        return Rows(
            _rows(file, arrow, name, wanted),
            {column: types[column] for column in columns.others},
            _scalars(types, arrow) if bulk else lambda _, value: plain_value(value),
            file.metadata.num_rows,
        )

    return Table(names, lambda: texts, read)


def is_text(kind: Any, arrow: Any) -> bool:
    """Whether an Arrow type is one of those of strings."""
    types = arrow.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def column_values(column: Any) -> list[MetadataValue]:
    """An Arrow column as metadata values, as `parquet_table` gives them."""
    arrow = _optional.require("pyarrow", extra="parquet")
    return [plain_value(value) for value in _values(column, arrow)]


def _unmarked_uuids(file: Any, arrow: Any) -> frozenset[int]:
    """Columns that Parquet calls UUIDs and this pyarrow, or what wrote the file, 16 bytes."""
    marked = {
        leaf.path
        for leaf in (file.schema.column(number) for number in range(len(file.schema)))
        if leaf.logical_type.type == "UUID"
    }
    return frozenset(
        at
        for at, field in enumerate(file.schema_arrow)
        if field.name in marked and arrow.types.is_fixed_size_binary(field.type)
    )


def _rows(file: Any, arrow: Any, name: str, wanted: Sequence[tuple[int, str, _Convert]]) -> Iterator[Row]:
    """Rows with the wanted columns (place, name, how they become Python's), which alone are read."""
    number = 0
    given = file.schema_arrow.names
    names = [column for _, column, _ in wanted]
    with file:
        try:
            # By the names in the file: it may have several of one, and asked for "a", Arrow gives "a.b" too.
            asked = list(dict.fromkeys(given[at] for at, _, _ in wanted))
            nth = {at: given[:at].count(given[at]) for at, _, _ in wanted}
            for batch in file.iter_batches(batch_size=_BATCH, columns=asked):
                columns, broken = [], set()
                for at, _, convert in wanted:
                    place = [here for here, found in enumerate(batch.schema.names) if found == given[at]][nth[at]]
                    cells, bad = _decoded(batch.column(place), arrow, convert)
                    columns.append(cells)
                    broken |= bad
                rows = zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)
                for at, row in enumerate(rows):
                    number += 1
                    values = dict(zip(names, row, strict=True))
                    yield number, _broken(values) if at in broken else values
        except (arrow.ArrowException, OSError) as error:
            raise FileReadError(f"{name} is damaged after row {number}: {error}") from error


def _decoded(column: Any, arrow: Any, convert: _Convert) -> tuple[list[Any], set[int]]:
    """Python values, and the places of those that hold bytes that should be UTF-8 and are not."""
    try:
        return convert(column, arrow), set()
    except UnicodeDecodeError:
        pass
    values: list[Any] = []
    broken: set[int] = set()
    for at in range(len(column)):
        try:
            values += convert(column.slice(at, 1), arrow)
        except UnicodeDecodeError:
            values.append(_NOT_UTF8)
            broken.add(at)
    return values, broken


def _broken(values: dict[str, Any]) -> BadRow:
    names = [column for column, value in values.items() if value is _NOT_UTF8]
    quoted = " and of ".join(repr(column) for column in names)
    known = {column: value for column, value in values.items() if column not in names}
    return BadRow(f"the value of {quoted} is bytes that are not UTF-8", known)


def _extension(kind: Any, arrow: Any) -> str:
    """The name of an extension type; empty for any other."""
    return str(kind.extension_name) if isinstance(kind, arrow.BaseExtensionType) else ""


def _plain(kind: Any, arrow: Any) -> Any:
    """The type that a column's Python values are of, whatever way of writing it down was chosen."""
    types = arrow.types
    extension = _extension(kind, arrow)
    if extension == "arrow.uuid":
        return arrow.string()
    if extension == "arrow.bool8":
        return arrow.bool_()
    if extension:
        return _plain(kind.storage_type, arrow)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain(kind.value_type, arrow)
    return kind


def _stored(column: Any, arrow: Any) -> Any:
    """A column in its plain type."""
    kind = column.type
    extension = _extension(kind, arrow)
    if extension == "arrow.uuid":
        return arrow.array(_uuids(column.storage, arrow), arrow.string())
    if extension:
        storage = _stored(column.storage, arrow)
        return storage.cast(arrow.bool_()) if extension == "arrow.bool8" else storage
    if arrow.types.is_dictionary(kind):
        return _stored(column.dictionary_decode(), arrow)
    if arrow.types.is_run_end_encoded(kind):
        return _stored(_optional.require("pyarrow.compute", extra="parquet").run_end_decode(column), arrow)
    return column


def _uuids(column: Any, _: Any) -> list[Any]:
    return [value if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()]


def _texts(column: Any, arrow: Any) -> list[Any]:
    """As metadata, and what is a list there as JSON."""
    plain = (plain_value(value) for value in _values(column, arrow))
    return [value if isinstance(value, str | None) else compact_json(value) for value in plain]


def _nests_extension(kind: Any, arrow: Any) -> bool:
    """Whether an extension type stands inside of another type: no Arrow makes such a column of Python values."""
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return any(_extension(one, arrow) or _nests_extension(one, arrow) for one in inner)


def _numbers(column: Any, arrow: Any) -> list[Any]:
    """Python values from which Arrow makes the same column again: dates, times and durations are whole numbers."""
    column = _stored(column, arrow)
    counted = _counted(column.type, arrow)
    values: list[Any] = (column if counted == column.type else column.cast(counted)).to_pylist()
    return values


def _counted(kind: Any, arrow: Any) -> Any:
    """A type with the whole numbers that Arrow keeps in place of dates, times and durations, at any depth."""
    types = arrow.types
    if types.is_date32(kind) or types.is_time32(kind):
        return arrow.int32()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return arrow.int64()
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_counted(field.type, arrow)) for field in kind])
    if types.is_map(kind):
        item = kind.item_field.with_type(_counted(kind.item_type, arrow))
        return arrow.map_(_counted(kind.key_type, arrow), item)
    if types.is_fixed_size_list(kind):
        return arrow.list_(kind.value_field.with_type(_counted(kind.value_type, arrow)), kind.list_size)
    if types.is_list(kind):
        return arrow.list_(kind.value_field.with_type(_counted(kind.value_type, arrow)))
    if types.is_large_list(kind):
        return arrow.large_list(kind.value_field.with_type(_counted(kind.value_type, arrow)))
    return kind


def _scalars(types: Mapping[str, Any], arrow: Any) -> Callable[[str, Any], MetadataValue]:
    """Metadata from `_numbers`: the same as from `_values`."""
    changed = {column: kind for column, kind in types.items() if _counted(kind, arrow) != kind}

    def scalar(column: str, value: Any) -> MetadataValue:
        if value is not None and column in changed:
            value = _values(arrow.array([value], changed[column]), arrow)[0]
        return plain_value(value)

    return scalar


def _values(column: Any, arrow: Any) -> list[Any]:
    """Python values; times beyond what Python can hold (nanoseconds, year 10000) as Arrow writes them."""
    column = _stored(column, arrow)
    if arrow.types.is_timestamp(column.type) or arrow.types.is_time(column.type):
        plain = column.cast(arrow.timestamp(column.type.unit)) if arrow.types.is_timestamp(column.type) else column
        zone = "+00:00" if getattr(column.type, "tz", None) else ""
        return [None if text is None else _iso(text, zone) for text in plain.cast(arrow.string()).to_pylist()]
    if arrow.types.is_duration(column.type):
        unit = column.type.unit
        return [None if n is None else f"{n} {unit}" for n in column.cast(arrow.int64()).to_pylist()]
    if _is_list(column.type, arrow) and _counted(column.type, arrow) != column.type:
        return [_values(one.values, arrow) if one.is_valid else None for one in column]
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raise
    except (OverflowError, ValueError):  # such times inside of something
        return (
            column.cast(arrow.string()).to_pylist()
            if arrow.types.is_date(column.type)
            else _numbers(column, arrow)
        )
    return values


def _is_list(kind: Any, arrow: Any) -> bool:
    types = arrow.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _iso(text: str, zone: str) -> str:
    if text.startswith("<"):  # Arrow's words for what no calendar has
        return text
    whole, dot, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return whole.replace(" ", "T", 1) + (dot + fraction if fraction else "") + zone
