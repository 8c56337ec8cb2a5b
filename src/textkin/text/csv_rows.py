"""A CSV's lines to rows of cells; a quote that never closes costs its own line only."""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TextIO, TypeAlias

from textkin.text.lines import ends, over_long, row_limit
from textkin.text.options import ReadOptions

CsvRow: TypeAlias = tuple[int, int, list[str] | str]
"""The lines that a row begins and ends in, from 1, and its cells or what is wrong with it."""
_LARGEST_FIELD = 2**31 - 1
_PIECE = 1 << 20
_DOUBLED = 2
"""The most characters that a quoted cell takes for one of its own."""
_PATIENCE = 1000
"""Lines that a row may span before it is asked for the first time whether they are rows themselves."""
_MANY = 4
"""So many lines that look like rows do so by no chance, even without a number in them."""
_VERY_MANY = 20
"""So many that quotes join as a row should be written."""
_ALIKE = 0.9
_NUMBER = re.compile(r"\s*-?[0-9]+(?:\.[0-9]+)?\s*")
_QUOTED = re.compile(r'(?:\A|(?<=\t)) *"((?:[^"]|"")*)" *(?=\t|[\r\n]*\Z)')
_OPEN = "a quote opens in it that is never closed; close it or double it"


def rows_of(
    file: TextIO, delimiter: str, options: ReadOptions, *, width: int | None, quotes: bool, above: int = 0
) -> Iterator[CsvRow]:
    """Rows, those of empty lines left out.

    A row whose quotes join several lines is only taken when these are not rows by themselves: lines that nearly
    all have ``width`` fields, and numbers where the first one has them. Otherwise the first is named, as one with
    a quote that is never closed, and reading goes on with the line behind it. An over-long row is never built.

    Args:
        width: fields of the header; None: not known, so that joined lines are always taken.
        quotes: whether quotes set a cell apart; else they are signs like others.
        above: lines to leave out at the start.
    """
    # Whether those of a file cut by tabs are to be trusted was decided by the whole of it.
    return _read(_Feed(file, options, quotes, above), delimiter, width, quotes=quotes, doubted=delimiter != "\t")


def quotes_are_signs(file: TextIO, options: ReadOptions, width: int, above: int) -> bool:
    """Whether the quotes in lines cut by tabs stand for themselves, as most programs write such files.

    They do when they make rows that can't be read, or join lines that are rows, and that is no exception: at
    least as often as a cell is quoted because of what it holds, and a tenth as often as any is.
    """
    feed = _Feed(file, options, True, above)
    wrong = needed = proper = 0
    for number, (_, _, cells) in enumerate(_read(feed, "\t", width)):
        if number == 0 and all(cell.startswith('"') for cell in feed.taken[0].split("\t")):
            return False  # whoever quotes the names of all columns quotes every cell
        if len(feed.taken) == 1 and '"' not in feed.taken[0]:
            continue
        if isinstance(cells, str):
            wrong += 1
            continue
        for found in _QUOTED.finditer("".join(feed.taken)):
            proper += 1
            needed += any(sign in found.group(1) for sign in ('""', "\t", "\n", "\r"))
    return wrong > 0 and wrong >= needed and wrong * 10 >= proper


def _read(
    feed: _Feed, delimiter: str, width: int | None, *, quotes: bool = True, doubted: bool = True
) -> Iterator[CsvRow]:
    if csv.field_size_limit() < _LARGEST_FIELD:
        csv.field_size_limit(_LARGEST_FIELD)
    reader = csv.reader(
        feed,
        delimiter=delimiter,
        strict=True,
        skipinitialspace=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    taken = feed.taken
    patience = _PATIENCE
    while True:
        feed.begin(patience)
        problem = ""
        cells: list[str] = []
        try:
            cells = next(reader)
            if len(taken) > 1 and width is not None:
                if len(cells) != width:
                    problem = _OPEN if _are_rows(taken, width, delimiter) else ""
                elif doubted and _are_well_joined_rows(taken, width, delimiter):
                    problem = _OPEN
        except StopIteration:
            return
        except _OverLongLine:
            yield feed.first, feed.last, feed.rest_left_out()
            continue
        except _ManyLines:
            if width != 1 and _are_rows(taken, width, delimiter):
                problem = _OPEN
            elif feed.is_over_long:
                yield feed.first, feed.last, feed.rest_left_out()
                continue
            else:
                patience *= 4
                feed.again(0)
                continue
        except csv.Error as error:
            unclosed = "unexpected end of data" in str(error)
            problem = _OPEN if unclosed else f"not valid CSV: {error}"
            if len(taken) > 1:
                if not _are_rows(taken, width, delimiter, broken=not unclosed):
                    yield feed.first, feed.last, problem
                    continue
                problem = _OPEN
        if problem:
            feed.again(1)
        patience = _PATIENCE
        if problem or cells:
            yield feed.first, feed.last, problem or cells


def _are_rows(lines: Sequence[str], width: int | None, delimiter: str, broken: bool = False) -> bool:
    """Whether lines that a quote joins, and that can't be one row, are rows by themselves.

    Args:
        broken: the last one has a quote where none may be, so that its fields need not fit.
    """
    if width is None:
        return False
    if width == 1:
        return True
    if len(lines) > _PATIENCE:
        lines = [*lines[: _PATIENCE - 2], *lines[-2:]]
    cells = [_fields(line, width, delimiter) for line in lines]
    whole = cells[:-1] if broken else cells
    if len(cells[0]) != width or len(cells[-1]) < width:
        return False
    if sum(len(one) == width for one in whole) < _ALIKE * len(whole):
        return False
    numbers = _numbers(cells, width)
    return any(numbers) if numbers is not None else delimiter == "\t" or broken or len(lines) >= _MANY


def _are_well_joined_rows(lines: Sequence[str], width: int, delimiter: str) -> bool:
    """Whether lines are rows by themselves although quotes join them to one row, as a row should be written.

    Then nothing but the look of all the lines can tell: each has the fields of a row, and numbers that count on
    from line to line, or there are too many of them for chance.
    """
    tabs = delimiter == "\t"
    doubled = any('""' in line for line in lines)  # as a program that quotes writes a quote
    if width == 1:
        return tabs and not doubled
    if any(line.count(delimiter) != width - 1 for line in lines):
        return False
    numbers = _numbers([line.rstrip("\r\n").split(delimiter) for line in lines], width)
    for column in numbers or ():
        if all(after == before + 1 for before, after in itertools.pairwise(column)):
            return tabs or len(lines) > 2
    if doubled or numbers == []:
        return False
    return len(lines) >= (3 if tabs else _MANY if numbers else _VERY_MANY)


def _numbers(cells: Sequence[Sequence[str]], width: int) -> list[list[float]] | None:
    """The columns that are numbers in each line; None when the first line has none."""
    places = [at for at, cell in enumerate(cells[0]) if _NUMBER.fullmatch(cell)]
    if not places:
        return None
    fitting = [one for one in cells if len(one) >= width]
    return [
        [float(one[at]) for one in fitting] for at in places if all(_NUMBER.fullmatch(one[at]) for one in fitting)
    ]


def _fields(line: str, width: int, delimiter: str) -> list[str]:
    """A line's fields by itself: cut at each delimiter, or else as its own quotes say."""
    plain = line.rstrip("\r\n").split(delimiter)
    if len(plain) == width or '"' not in line:
        return plain
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


class _OverLongLine(Exception):
    """A line is longer than a row may be."""


class _ManyLines(Exception):
    """A row spans many lines, or too much of them: is it one?"""


class _Feed:
    """A file's lines for `csv.reader`; those of the row being read are kept, and can be given once more.

    Attributes:
        taken: the lines of the row.
        first: the line that it begins in.
    """

    def __init__(self, file: TextIO, options: ReadOptions, quotes: bool, above: int) -> None:
        self._file = file
        self._options = options
        self._quotes = quotes
        self._limit = row_limit(options, _DOUBLED)
        self._waiting: deque[str] = deque()
        self._patience = _PATIENCE
        self._lines = 0
        self._size = 0
        self.taken: list[str] = []
        self.first = 1
        for _ in range(above):
            next(self, None)

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._file.readline(self._limit)
        if not line:
            raise StopIteration
        self.taken.append(line)
        self._lines += 1
        self._size += len(line)
        if len(line) >= self._limit and not ends(line):
            raise _OverLongLine
        if self._lines > self._patience or self._size > self._limit:
            raise _ManyLines
        return line

    @property
    def last(self) -> int:
        """The line that the row ends in."""
        return self.first + max(0, self._lines - 1)

    @property
    def is_over_long(self) -> bool:
        """Whether the row has more signs than any may have."""
        return self._size > self._limit

    def begin(self, patience: int) -> None:
        """The next line begins a row; of ``patience`` lines at the most, before it is asked."""
        self.first += self._lines
        self._lines = self._size = 0
        self._patience = patience
        self.taken.clear()

    def again(self, keep: int) -> None:
        """Only so many lines belong to the row: the others come once more."""
        self._waiting.extendleft(reversed(self.taken[keep:]))
        del self.taken[keep:]
        self._lines = keep

    def rest_left_out(self) -> str:
        """Go on to the end of a row that is over-long, without keeping it: the line that closes its quote."""
        is_open = self._quotes and sum(line.count('"') for line in self.taken) % 2 == 1
        line = self.taken[-1]
        self.taken.clear()
        while line and (is_open or not ends(line)):
            new = ends(line)
            line = self._waiting.popleft() if self._waiting else self._file.readline(_PIECE)
            self._size += len(line)
            self._lines += new and bool(line)
            is_open ^= self._quotes and line.count('"') % 2 == 1
        return over_long("it", self._size, self._options)
