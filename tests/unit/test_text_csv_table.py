"""CSV: delimiters, types of whole columns, and rows that don't fit."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from textkin.errors import InputError
from textkin.text.csv_table import csv_table
from textkin.text.options import ReadOptions
from textkin.text.tables import BadRow, Columns, Row, Table


def table(text: str, tabs: bool = False, **options: Any) -> Table:
    @contextlib.contextmanager
    def opened() -> Iterator[TextIO]:
        yield io.StringIO(text, newline="")

    return csv_table(opened, "t.csv", tabs, ReadOptions(**options))


def rows_of(text: str) -> Iterator[Row]:
    one = table(text)
    return one.read(Columns((), None, one.columns, every=True), False).rows


def typed(text: str, bulk: bool = False) -> list[dict[str, Any]]:
    one = table(text)
    read = one.read(Columns((), None, one.columns, every=True), bulk)
    return [
        {name: read.scalar(name, cell) for name, cell in values.items()}
        for _, values in read.rows
        if not isinstance(values, BadRow)
    ]


@pytest.mark.parametrize(
    "text",
    [
        'id,text\n1,"a, b; c"\n2,d\n',
        'id;text\n1;"a, b; c"\n2;d\n',
        'id\ttext\n1\t"a, b; c"\n2\td\n',
        'id|text\n1|"a, b; c"\n2|d\n',
        "id;text\n1;a, b, c\n2;d\n",
        "id,text\r\n1,a\r\n2,d\r\n",
        "id,text\r1,a\r2,d\r",
        'id, text\n1, "a, b"\n2, d\n',
        "\n\nid,text\n\n1,a\n2,d\n\n",
    ],
)
def test_delimiter_is_found(text: str) -> None:
    one = table(text)
    assert one.columns == ("id", "text")
    rows = list(rows_of(text))
    assert [number for number, _ in rows] == [1, 2]
    assert isinstance(rows[1][1], dict)
    assert rows[1][1]["text"].strip() == "d"


def test_one_column_is_not_cut_at_its_commas() -> None:
    assert [values for _, values in rows_of("text\nHello, world\nbye\n")] == [
        {"text": "Hello, world"},
        {"text": "bye"},
    ]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-20", ""], [1, -20, None]),
        (["007", "12"], ["007", "12"]),
        (["0", "10"], [0, 10]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e5x", "3"], ["1e5x", "3"]),
        (["1e5", "3"], ["1e5", "3"]),
        (["1.5e-05", "3"], [1.5e-05, 3.0]),
        (["nan", "1.5"], [None, 1.5]),
        (["NaN", "word"], ["NaN", "word"]),
        (["+49 30 1234", "12"], ["+49 30 1234", "12"]),
        (["true", "FALSE", ""], [True, False, None]),
        (["true", "1"], ["true", "1"]),
        (["1" * 19, "2"], ["1" * 19, "2"]),
        (["1" * 18, "2.5"], ["1" * 18, "2.5"]),
        (["", ""], [None, None]),
        (["1_000", "2"], ["1_000", "2"]),
        (["٣", "4"], ["٣", "4"]),
        ([" 5", "6"], [5, 6]),
        (["-0", "-1"], [0, -1]),
    ],
)
def test_a_column_is_typed_as_a_whole(cells: list[str], values: list[Any]) -> None:
    text = "text,x\n" + "".join(f"t,{cell}\n" for cell in cells)
    found = [row["x"] for row in typed(text)]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_string_columns() -> None:
    assert table("a,b,c,d\nx,1,,true\n").texts() == ("a",)


def test_ragged_rows_are_named_by_line() -> None:
    rows = dict(rows_of('a,b\n1,"x\ny"\n2\n3,4,5\n6,7,\n8,9\n'))
    assert rows[1] == {"a": "1", "b": "x\ny"}
    assert rows[2] == BadRow("line 4: 1 fields where the header has 2")
    assert rows[3] == BadRow("line 5: 3 fields where the header has 2")
    assert rows[4] == {"a": "6", "b": "7"}
    assert rows[5] == {"a": "8", "b": "9"}


def test_a_misquoted_row_is_named_and_the_rest_goes_on() -> None:
    rows = dict(rows_of('a,b\n1,"x"y\n2,z\n'))
    assert isinstance(rows[1], BadRow)
    assert rows[1].reason.startswith("line 2: not valid CSV")
    assert rows[2] == {"a": "2", "b": "z"}


def test_a_quote_that_never_closes_swallows_nothing_in_silence() -> None:
    rows = dict(rows_of('a,b\n1,x\n2,"y\n3,z\n4,w\n'))
    assert rows[2] == BadRow("line 3: a quote opens in it that is never closed; close it or double it")
    assert [rows[row] for row in (1, 3, 4)] == [{"a": "1", "b": "x"}, {"a": "3", "b": "z"}, {"a": "4", "b": "w"}]


def test_header_names_are_made_unique() -> None:
    assert table("a,,a,a\n1,2,3,4\n").columns == ("a (1)", "column_2", "a (2)", "a (3)")


def test_huge_fields() -> None:
    csv.field_size_limit(131_072)
    text = "x" * 1_000_000
    assert [values for _, values in rows_of(f"text,n\n{text},1\n")] == [{"text": text, "n": "1"}]


def test_tabs_are_not_sniffed() -> None:
    assert table("a,b\tc\n1,2\t3\n", tabs=True).columns == ("a,b", "c")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty(text: str) -> None:
    with pytest.raises(InputError, match="empty"):
        table(text)


def test_header_only() -> None:
    assert list(rows_of("text,id\n")) == []
