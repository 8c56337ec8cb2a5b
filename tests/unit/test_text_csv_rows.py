"""Quotes that quote, quotes that don't, and quotes that nothing closes; rows too long to build."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest

from textkin.text.csv_table import csv_table
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow, Columns


def read(text: str, tabs: bool = False, **options: Any) -> list[list[str] | str]:
    @contextmanager
    def opened() -> Iterator[TextIO]:
        yield io.StringIO(text, newline="")

    table = csv_table(opened, "t.csv", tabs, ReadOptions(**options))
    rows = table.read(Columns((), None, table.columns, every=True), False).rows
    return [values.reason if isinstance(values, BadRow) else list(values.values()) for _, values in rows]


LITERAL = [
    '1\t"Good grief she said\n2\tnext\n3\tlast\n',
    '1\tone\n2\t"Good grief\n3\tnext\n4\tit ends"\n5\tlast\n',
    '1\ta\n2\t"b" c\n3\td "e"\n4\t"f\n',
    '7\t"a\n9\tb\n7\tc"\n9\td\n',
    '0\t"Wow" he said\n1\t"all of it"\n2\t"not\n3\tb\n',
]


@pytest.mark.parametrize("lines", LITERAL)
def test_quotes_of_a_tsv_stand_for_themselves(lines: str) -> None:
    assert read(f"n\ttext\n{lines}", tabs=True) == [line.split("\t") for line in lines.splitlines()]


def test_a_first_column_that_opens_a_quote() -> None:
    rows = [['"Hm', "1"], ["yes", "0"], ['no"', "1"], ["so", "0"]]
    assert read("text\tlabel\n" + "\n".join(map("\t".join, rows)), tabs=True) == rows


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("dialect", ["excel-tab", "excel"])
def test_what_a_spreadsheet_quotes_comes_back(dialect: str, quoting: Any) -> None:
    rows = [
        [str(n), f'a "word"\nand\tmore, {n}\n{n + 1}\tx', "plain" if n % 3 else "two\nlines"] for n in range(50)
    ]
    file = io.StringIO(newline="")
    csv.writer(file, dialect, quoting=quoting).writerows([["id", "text", "note"], *rows])
    assert read(file.getvalue(), tabs=dialect == "excel-tab") == rows


def test_one_broken_row_of_a_quoted_tsv_is_named_and_quotes_go_on_quoting() -> None:
    rows = [f'{n}\t"tab\tin ""{n}"""\n' for n in range(20)]
    found = read("n\ttext\n" + "".join(rows[:10]) + '99\t"x" y\n' + "".join(rows[10:]), tabs=True)
    assert [row for row in found if not isinstance(row, str)] == [[str(n), f'tab\tin "{n}"'] for n in range(20)]
    assert [row[:7] for row in found if isinstance(row, str)] == ["line 12"]


@pytest.mark.parametrize("end", ["", '500,"it, ends"\n', '500,it ends"\n', '500,"a" b\n'])
@pytest.mark.parametrize("count", [5, 400, 2500])
def test_a_quote_that_nothing_closes_costs_its_own_row(end: str, count: int) -> None:
    text = 'n,text\n1,a\n2,"open\n' + "".join(f"{n},row\n" for n in range(3, count)) + end
    found = read(text)
    assert found[0] == ["1", "a"]
    assert isinstance(found[1], str)
    assert found[1].startswith("line 3: a quote opens in it that is never closed")
    assert found[2 : count - 1] == [[str(n), "row"] for n in range(3, count)]
    assert len(found) == count - 1 + bool(end)


def test_lines_that_a_broken_quote_joins_and_that_are_no_rows_are_named_together() -> None:
    assert read('n,text\n1,"He said\nbye "then, and, left\n2,b\n') == [
        "lines 2 to 3: not valid CSV: ',' expected after '\"'",
        ["2", "b"],
    ]


def test_long_cells_of_many_lines_stay_one_cell() -> None:
    cell = "\n".join(f"line {n} of a page" for n in range(5000))
    assert read(f'n,text\n1,"{cell}"\n2,b\n') == [["1", cell], ["2", "b"]]
    assert read(f'text\n"{cell}"\nb\n') == [[cell], ["b"]]


@pytest.mark.parametrize(
    "cell",
    ["x" * 1_500_000, "words of a line\n" * 90_000, 'a ""word"" \n' * 120_000],
    ids=["line", "lines", "quotes"],
)
def test_an_over_long_cell_is_refused(cell: str) -> None:
    found = read(f'n,text\n1,"{cell}"\n2,b\n', max_text=1000)
    assert found[1:] == [["2", "b"]]
    assert isinstance(found[0], str)
    assert "over-long" in found[0]
    assert "--max-text" in found[0]
