"""CSV and TSV: delimiter, header, column types, and rows one at a time."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeAlias

from textkin.errors import FileReadError, InputError
from textkin.text.tables import BadRow, Columns, Row, Rows, Table
from textkin.types import Scalar

Open: TypeAlias = Callable[[], contextlib.AbstractContextManager[TextIO]]
_HEAD = 65_536
_LARGEST_FIELD = 2**31 - 1
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?(?:[eE][+-][0-9]{1,3})?")
_TRUTH = {"true": True, "false": False}
_NOTHING = frozenset({"", "nan", "NaN", "NAN"})


def csv_table(open_text: Open, name: str, tabs: bool) -> Table:
    """Find delimiter and header; a pass over the whole file, that types columns, is made only where it is needed.

    A column is typed as a whole: integers when every cell is one written plainly (no leading zero or plus, at most
    18 digits), else floats, else true and false, else strings; an empty cell is None. So one ``007``, or one phone
    number with a leading zero, keeps its whole column as strings.

    Args:
        open_text: opens the file from its start, line ends untranslated.
        tabs: the delimiter is known to be a tab.

    Raises:
        InputError: no header.
        FileReadError: a quote that is never closed; here, or while rows are read.
    """
    if csv.field_size_limit() < _LARGEST_FIELD:
        csv.field_size_limit(_LARGEST_FIELD)
    with open_text() as file:
        delimiter = "\t" if tabs else _delimiter(file.read(_HEAD))
    with open_text() as file:
        header = _header(_cells(file, delimiter, name), name)
    file_of_rows = _File(open_text, delimiter, name, header)
    return Table(header, file_of_rows.texts, file_of_rows.read)


class _File:
    """A CSV whose delimiter and header are known."""

    def __init__(self, open_text: Open, delimiter: str, name: str, header: tuple[str, ...]) -> None:
        self._open = open_text
        self._delimiter = delimiter
        self._name = name
        self._header = header
        self._kinds: dict[str, _Type] = {}

    def texts(self) -> tuple[str, ...]:
        self._type(self._header)
        return tuple(column for column in self._header if self._kinds[column].is_string)

    def read(self, columns: Columns, bulk: bool) -> Rows:
        # A cell of the text or the id is taken as it is written, whatever else it may look like.
        typed = [column for column in columns.others if column not in columns.texts and column != columns.id]
        self._type(typed)
        kinds = {column: self._kinds[column] for column in typed}
        picked = [
            (at, column, kinds[column].of if bulk and column in kinds else None)
            for at, column in enumerate(self._header)
            if columns.every or column in columns.needed
        ]

        def scalar(column: str, cell: Any) -> Scalar:
            kind = kinds.get(column)
            if kind is None:
                return cell or None
            return cell if bulk else kind.of(cell)

        types = {column: kinds[column].name if column in kinds else "string" for column in columns.others}
        return Rows(self._rows(picked), types, scalar)

    def _type(self, columns: Sequence[str]) -> None:
        missing = {column: _Type() for column in columns if column not in self._kinds}
        if not missing:
            return
        places = [(self._header.index(column), kind) for column, kind in missing.items()]
        for _, cells in self._fitting():
            if not isinstance(cells, BadRow):
                for at, kind in places:
                    kind.see(cells[at])
        self._kinds |= missing

    def _rows(self, picked: Sequence[tuple[int, str, Callable[[str], Scalar] | None]]) -> Iterator[Row]:
        whole = len(picked) == len(self._header) and not any(of for _, _, of in picked)
        for number, cells in self._fitting():
            if isinstance(cells, BadRow):
                yield number, cells
            elif whole:
                yield number, dict(zip(self._header, cells, strict=False))
            else:
                yield number, {column: of(cells[at]) if of else cells[at] for at, column, of in picked}

    def _fitting(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        """Each row's number and its cells, at least as many as the header has."""
        width = len(self._header)
        with self._open() as file:
            rows = _cells(file, self._delimiter, self._name)
            next(rows)
            for number, (line, cells) in enumerate(rows, start=1):
                if isinstance(cells, str):
                    yield number, BadRow(f"line {line}: {cells}")
                elif len(cells) < width or any(cells[width:]):
                    yield number, BadRow(f"line {line}: {len(cells)} fields where the header has {width}")
                else:
                    yield number, cells


class _Type:
    """What all the cells of one column have in common."""

    def __init__(self) -> None:
        self._filled = False
        self._all = {"integer", "float", "truth"}

    def see(self, cell: str) -> None:
        if not self._all or not cell:
            return
        if not self._filled or "truth" in self._all:
            self._filled = self._filled or cell not in _NOTHING
            if cell.lower() not in _TRUTH:
                self._all.discard("truth")
        if cell in _NOTHING:
            return
        if not _INTEGER.fullmatch(cell):
            self._all.discard("integer")
        if not _FLOAT.fullmatch(cell):
            self._all.discard("float")

    @property
    def is_string(self) -> bool:
        return self._filled and not self._all

    @property
    def name(self) -> str | None:
        """Arrow's name of the type; None when no cell is filled."""
        if not self._filled:
            return None
        names = {"truth": "bool", "integer": "int64", "float": "double"}
        return next((name for kind, name in names.items() if kind in self._all), "string")

    def of(self, cell: str) -> Scalar:
        if cell == "" or (not self.is_string and cell in _NOTHING):
            return None
        if "truth" in self._all:
            return _TRUTH[cell.lower()]
        if "integer" in self._all:
            return int(cell)
        return float(cell) if "float" in self._all else cell


def typed(cell: str) -> Scalar:
    """A value as a CSV cell alone in its column: plain numbers, true, false; ``007`` stays text, empty is None."""
    column = _Type()
    column.see(cell)
    return column.of(cell)


def _cells(file: TextIO, delimiter: str, name: str) -> Iterator[tuple[int, list[str] | str]]:
    """The line that each row starts in, and its cells or what is wrong with it; empty lines are left out."""
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise FileReadError(
                    f"{name}: a quote that opens in the row at line {line} is never closed, so everything after "
                    "it is one field; close it or double it"
                ) from error
            yield line, f"not valid CSV: {error}"
            continue
        if cells:
            yield line, cells


def _header(rows: Iterator[tuple[int, list[str] | str]], name: str) -> tuple[str, ...]:
    first = next(rows, None)
    if first is None:
        raise InputError(f"{name} is empty; expected a first line with the names of the columns")
    line, cells = first
    if isinstance(cells, str):
        raise FileReadError(f"{name}, line {line}, which should name the columns: {cells}")
    names: list[str] = []
    for number, cell in enumerate(cells, start=1):
        base = cell.strip() or f"column {number}"
        column, copy = base, 2
        while column in names:
            column, copy = f"{base} ({copy})", copy + 1
        names.append(column)
    return tuple(names)


def _delimiter(head: str) -> str:
    """The sign that cuts the first rows into the same number of fields, more than one; else none at all."""
    best, best_rank = "\x1f", (0.0, 0)
    for delimiter in ",;\t|":
        rows: list[int] = []
        with contextlib.suppress(csv.Error):
            sample = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, skipinitialspace=True)
            rows.extend(len(cells) for cells in sample if cells)
        # The last row may be cut off by the end of the sample.
        rows = rows[:-1] if len(head) >= _HEAD and len(rows) > 2 else rows
        if not rows or rows[0] < 2:
            continue
        rank = (sum(width == rows[0] for width in rows) / len(rows), rows[0])
        if rank > best_rank:
            best, best_rank = delimiter, rank
    return best
