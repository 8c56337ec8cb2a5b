"""Choosing columns, and JSON values as metadata."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import InputError
from textkin.text.options import ReadOptions
from textkin.text.read import read_inputs
from textkin.text.tables import Rows, Table, choose_columns, plain_value


def table(columns: str, texts: str) -> Table:
    rows = Rows(iter(()), {}, lambda _, value: plain_value(value))
    return Table(tuple(columns.split()), lambda: tuple(texts.split()), lambda chosen, bulk: rows)


@pytest.mark.parametrize(
    ("columns", "texts", "chosen"),
    [
        ("id text title", "text title", "text"),
        ("title body", "title body", "body"),
        ("Content n", "Content", "Content"),
        ("id name n", "name", "name"),
        ("text other", "other", "text"),
    ],
)
def test_the_text_column_is_found(columns: str, texts: str, chosen: str) -> None:
    assert choose_columns(table(columns, texts), ReadOptions(), "t").texts == (chosen,)


def test_the_id_column_is_no_text() -> None:
    options = ReadOptions(id_column="key")
    assert choose_columns(table("key words", "key words"), options, "t").texts == ("words",)
    with pytest.raises(InputError, match="--text-column"):
        choose_columns(table("key words", "key words"), ReadOptions(), "t")


@pytest.mark.parametrize(
    ("value", "scalar"),
    [
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (float("nan"), None),
        (float("inf"), None),
        ("a\ud800", "a\ufffd"),
        ({"ä": [1, None]}, '{"ä":[1,null]}'),
        ([], []),
        (["a", 2**64, float("nan"), None], ["a", str(2**64), None, None]),
        ([["a"], float("nan")], '[["a"],null]'),
        ({"at": datetime.date(2024, 1, 2), "b": b"x"}, '{"at":"2024-01-02","b":"x"}'),
        (decimal.Decimal("1.50"), "1.50"),
        (None, None),
    ],
)
def test_plain_values(value: Any, scalar: Any) -> None:
    assert plain_value(value) == scalar
    assert type(plain_value(value)) is type(scalar)


def test_a_list_beside_the_text_of_one_object_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"text": "a", "tags": ["x", "y"]}')
    options = ReadOptions(text_column="text")
    assert [one.text for one in read_inputs([str(tmp_path / "one.json")], options=options)] == ["a"]
    (tmp_path / "list.json").write_text('{"texts": ["x", "y"]}')
    assert [one.text for one in read_inputs([str(tmp_path / "list.json")])] == ["x", "y"]
    (tmp_path / "rows.json").write_text('{"meta": ["m"], "rows": [{"text": "x"}]}')
    assert [one.text for one in read_inputs([str(tmp_path / "rows.json")])] == ["x"]
