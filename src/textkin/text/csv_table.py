"""CSV and TSV: delimiter, header, column types, and rows one at a time."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeAlias

from textkin.errors import FileReadError, InputError
from textkin.text.csv_header import HEAD, find_beginning, unnamed
from textkin.text.csv_rows import CsvRow, quotes_are_signs, rows_of
from textkin.text.decode import is_damaged, mended
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow, Columns, Row, Rows, Table, damaged_row
from textkin.types import Scalar

Open: TypeAlias = Callable[[], contextlib.AbstractContextManager[TextIO]]
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?(?:[eE][+-][0-9]{1,3})?")
_TRUTH = {"true": True, "false": False}
_NOTHING = frozenset({"", "nan", "NaN", "NAN"})


def csv_table(open_text: Open, name: str, tabs: bool, options: ReadOptions, damaged: str = "") -> Table:
    """Find delimiter and header; a pass over the whole file, that types columns, is made only where it is needed.

    A column is typed as a whole: integers when every cell is one written plainly (no leading zero or plus, at most
    18 digits), else floats, else true and false, else strings; an empty cell is None. So one ``007``, or one phone
    number with a leading zero, keeps its whole column as strings.

    Args:
        open_text: opens the file from its start, line ends untranslated.
        tabs: the delimiter is known to be a tab.
        damaged: the encoding that some bytes don't fit, see `decode.MARK`; rows with such are named.

    Raises:
        InputError: no header, or a first line that may be a header or not.
        FileReadError: a header that is not CSV.
    """
    with open_text() as file:
        wanted = {
            *options.text_columns,
            *(options.columns or ()),
            *([] if options.id_column is None else [options.id_column]),
        }
        begins = find_beginning(file.read(HEAD), name, tabs, options.header, wanted)
    read = functools.partial(rows_of, delimiter=begins.delimiter, options=options, above=begins.above)
    quotes = True
    with open_text() as file:
        first = _first(read(file, width=None, quotes=True), name)
    if begins.delimiter == "\t" and _holds_quotes(open_text):
        with open_text() as file:
            quotes = not quotes_are_signs(file, options, len(first), begins.above)
    if not quotes:
        with open_text() as file:
            first = _first(read(file, width=None, quotes=False), name)
    header = _header(first) if begins.named else tuple(unnamed(at) for at in range(1, len(first) + 1))

    @contextlib.contextmanager
    def rows() -> Iterator[Iterator[CsvRow]]:
        with open_text() as file:
            every = read(file, width=len(header), quotes=quotes)
            if begins.named:
                next(every)
            yield every

    notes = (*begins.notes, *(_damaged_names(first, damaged) if begins.named and damaged else ()))
    file_of_rows = _File(rows, header, damaged)
    return Table(header, file_of_rows.texts, file_of_rows.read, notes)


class _File:
    """A CSV whose delimiter and header are known."""

    def __init__(
        self,
        rows: Callable[[], contextlib.AbstractContextManager[Iterator[CsvRow]]],
        header: tuple[str, ...],
        damaged: str,
    ) -> None:
        self._open = rows
        self._header = header
        self._damaged = damaged
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
            elif self._damaged and any(is_damaged(cells[at]) for at, _, _ in picked):
                yield number, damaged_row({column: cells[at] for at, column, _ in picked}, self._damaged)
            elif whole:
                yield number, dict(zip(self._header, cells, strict=False))
            else:
                yield number, {column: of(cells[at]) if of else cells[at] for at, column, of in picked}

    def _fitting(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        """Each row's number and its cells, at least as many as the header has."""
        width = len(self._header)
        with self._open() as rows:
            for number, (first, last, cells) in enumerate(rows, start=1):
                if isinstance(cells, str):
                    yield number, BadRow(f"{_lines(first, last)}: {cells}")
                elif len(cells) < width or any(cells[width:]):
                    yield (
                        number,
                        BadRow(f"{_lines(first, last)}: {len(cells)} fields where the header has {width}"),
                    )
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


def _holds_quotes(open_text: Open) -> bool:
    with open_text() as file:
        return any('"' in block for block in iter(functools.partial(file.read, HEAD), ""))


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _damaged_names(names: Sequence[str], encoding: str) -> Iterator[str]:
    for name in names:
        if is_damaged(name):
            yield f"the name of its column {mended(name)[0]!r} is not {encoding}"


def _first(rows: Iterator[CsvRow], name: str) -> list[str]:
    row = next(rows, None)
    if row is None:
        raise InputError(f"{name} is empty; expected a first line with the names of the columns")
    first, last, cells = row
    if isinstance(cells, str):
        raise FileReadError(f"{name}, {_lines(first, last)}, which should name the columns: {cells}")
    return cells


def _header(cells: Sequence[str]) -> tuple[str, ...]:
    """Names, each its own: several columns of one name are counted, so that none is taken for the other."""
    bare = [mended(cell.strip())[0] or unnamed(number) for number, cell in enumerate(cells, start=1)]
    names: list[str] = []
    for column in bare:
        name, copy = column, 1
        while name in names or (bare.count(column) > 1 and name == column):
            name, copy = f"{column} ({copy})", copy + 1
        names.append(name)
    return tuple(names)
