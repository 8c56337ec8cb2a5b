"""Tables, JSON, JSON lines and CSV: full values for programs, nothing that steers a terminal."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from textkin.cli.output import (
    Column,
    as_json_text,
    counted,
    metadata_text,
    one_line,
    safe,
    score_column,
    talk,
    text_column,
    write_rows,
)

COLUMNS = (score_column(), Column("id"), text_column())
EVIL = "a\x1b[2J\x1b]52;c;aGk=\x07b\x9b31mc\u202edcba\x7f\r\b"
STEERING = set(map(chr, [*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)]))


def rows(*texts: str) -> list[dict[str, object]]:
    return [{"id": f"n{number}", "score": 1 / (number + 3), "text": text} for number, text in enumerate(texts)]


def test_a_table_is_aligned_with_four_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([{"id": "first", "score": 0.73548, "text": "one"}, *rows("two")], COLUMNS, None)
    assert capsys.readouterr().out == " score  id     text\n0.7355  first  one\n0.3333  n0     two\n"


def test_an_empty_table_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([], COLUMNS, None)
    assert capsys.readouterr().out == ""


def test_a_long_text_is_shortened_to_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    write_rows(rows("word " * 100, "漢字" * 100, "short"), COLUMNS, None)
    lines = capsys.readouterr().out.splitlines()
    assert [cell_len(line) for line in lines[1:3]] == [60, 60] or max(map(cell_len, lines)) <= 60
    assert lines[1].endswith(("…", "..."))
    assert lines[3].endswith("short")


def test_full_values_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    given_rows = [
        {"id": "a", "score": 0.1 + 0.2, "text": EVIL + "long " * 1000, "metadata": {"x": None, "y": True}}
    ]
    write_rows(given_rows, COLUMNS, "json")
    out = capsys.readouterr().out
    assert json.loads(out) == given_rows
    write_rows([], COLUMNS, "json")
    assert json.loads(capsys.readouterr().out) == []


def test_json_lines_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    given_rows = rows("one\ntwo", "\u2028", EVIL)
    write_rows(given_rows, COLUMNS, "jsonl")
    lines = capsys.readouterr().out.split("\n")
    assert [json.loads(line) for line in lines[:-1]] == given_rows
    assert lines[-1] == ""


def test_csv_keeps_values_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ['=1+1,"quoted"', "two\nlines\r\n", "-5"]
    write_rows(rows(*texts), COLUMNS, "csv")
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row["text"] for row in read] == texts
    assert [float(row["score"]) for row in read] == [1 / 3, 1 / 4, 1 / 5]


@given(st.text(alphabet=st.characters(), max_size=60))
def test_json_is_exact_and_can_not_steer_a_terminal(text: str) -> None:
    shown = as_json_text({"text": text})
    assert json.loads(shown) == {"text": text}
    assert not set(shown) & STEERING


@given(st.text(alphabet=st.characters(), max_size=200), st.integers(5, 60))
def test_one_line_is_one_safe_line_of_the_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert cell_len(line) <= width
    assert not set(line) & STEERING


def test_control_characters_become_visible() -> None:
    assert safe(EVIL) == "a\\x1b[2J\\x1b]52;c;aGk=\\x07b\\x9b31mc\\u202edcba\\x7f\\x0d\\x08"
    assert safe("tab\tand\nline") == "tab\tand\nline"
    assert safe("👩‍🚀 é 漢") == "👩‍🚀 é 漢"
    assert safe("\ud800") == "\\ud800"


def test_a_remark_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    talk("half \x1b done")
    assert capsys.readouterr() == ("", "half \\x1b done\n")


def test_small_texts() -> None:
    assert counted(1, "record") == "1 record"
    assert counted(1234, "record") == "1,234 records"
    assert counted(2, "entry", "entries") == "2 entries"
    assert metadata_text({"lang": "en", "year": 2020}) == "lang=en year=2020"
