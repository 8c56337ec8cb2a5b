"""Every row of a table is a record of its own or is named, whatever is broken in the table."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.types import Record

Row: TypeAlias = tuple[str, str]
Write: TypeAlias = Callable[[Sequence[Row]], bytes]
"""Rows of an id and a text as a file, whose columns are ``id`` and ``text``; None for an empty cell."""


def _csv(dialect: str, quoting: int) -> Write:
    def write(rows: Sequence[Row]) -> bytes:
        file = io.StringIO(newline="")
        csv.writer(file, dialect, quoting=quoting).writerows([("id", "text"), *rows])  # type: ignore[arg-type]
        return file.getvalue().encode()

    return write


def _objects(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{"id": name, "text": text} for name, text in rows]


WRITERS: dict[str, tuple[str, Write]] = {
    "csv": ("t.csv", _csv("excel", csv.QUOTE_MINIMAL)),
    "csv quoted": ("t.csv", _csv("excel", csv.QUOTE_ALL)),
    "tsv": ("t.tsv", _csv("excel-tab", csv.QUOTE_MINIMAL)),
    "tsv quoted": ("t.tsv", _csv("excel-tab", csv.QUOTE_ALL)),
    "json": ("t.json", lambda rows: json.dumps(_objects(rows)).encode()),
    "json indented": ("t.json", lambda rows: json.dumps({"rows": _objects(rows)}, indent=1).encode()),
    "json of lines": ("t.json", lambda rows: "\n".join(map(json.dumps, _objects(rows))).encode()),
    "jsonl": ("t.jsonl", lambda rows: "\n".join(map(json.dumps, _objects(rows))).encode()),
    "jsonl of a list": ("t.jsonl", lambda rows: json.dumps(_objects(rows), indent=1).encode()),
}
"""Another kind of table is one more line here."""
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('""\',;|\t\n\r ab12'), max_size=30)


def read(name: str, content: bytes, bulk: bool = False) -> tuple[list[Record], list[Skipped]]:
    told: list[Skipped] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        options = ReadOptions(text_column="text", id_column="id", bulk=bulk)
        return list(read_inputs([path], options=options, on_skip=told.append)), told


@settings(max_examples=60)
@given(texts=st.lists(TEXT, min_size=1, max_size=8), bulk=st.booleans())
@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_program_wrote_comes_back_row_by_row(kind: str, texts: list[str], bulk: bool) -> None:
    name, write = WRITERS[kind]
    records, told = read(name, write([(f"r{at}", text) for at, text in enumerate(texts)]), bulk)
    expected = {f"r{at}": text for at, text in enumerate(texts) if text.strip()}
    # The white space before a cell is not kept by a CSV's reader, as after the comma that most people type.
    assert {record.id: record.text.lstrip() for record in records} == {
        own: text.lstrip() for own, text in expected.items()
    }
    assert {item.row for item in told} == {at for at, text in enumerate(texts, start=1) if not text.strip()}


LINE = st.text(st.sampled_from('""\'ab .é'), max_size=10).map(str.strip)


@settings(max_examples=200)
@given(texts=st.lists(LINE, min_size=1, max_size=12), end=st.sampled_from(["\n", "\r\n"]))
def test_each_line_of_a_tsv_is_a_row_whatever_its_quotes(texts: list[str], end: str) -> None:
    lines = ["id\ttext", *(f"{at}\t{text}" for at, text in enumerate(texts, start=1))]
    records, told = read("t.tsv", end.join(lines).encode())
    assert len(records) + len(told) == len(texts)
    for record in records:
        bare = texts[int(record.id) - 1]
        assert record.text in (bare, bare[1:-1].replace('""', '"'))


@settings(max_examples=300)
@given(
    lines=st.lists(st.text(st.sampled_from('"",\t; ab'), max_size=12), min_size=1, max_size=12),
    mark=st.sampled_from(",;"),
)
def test_no_line_of_a_broken_csv_goes_unmentioned(lines: list[str], mark: str) -> None:
    rows = [f"{at}x{mark}{line}" for at, line in enumerate(lines)]
    records, told = read("t.csv", "\n".join([f"id{mark}text", *rows]).encode())
    mentioned: set[int] = set()
    for item in told:
        found = re.match(r"lines? (\d+)(?: to (\d+))?", item.reason)
        if found:
            mentioned.update(range(int(found.group(1)), int(found.group(2) or found.group(1)) + 1))
        else:
            mentioned.add(int(str(item.id).partition("x")[0]) + 2)
    for record in records:
        mentioned.update(int(own) + 2 for own in re.findall(r"(\d+)x", f"{record.id} {record.text}"))
    assert mentioned == set(range(2, len(rows) + 2))


@settings(max_examples=100)
@given(
    good=st.lists(st.sampled_from(["größe", "naïve", "plain", "漢字"]), min_size=1, max_size=10),
    bad=st.lists(st.sampled_from([b"gr\xf6\xdfe", b"\xff", b"caf\xc3"]), min_size=1, max_size=2),
    where=st.integers(0, 10),
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl"])
@pytest.mark.parametrize("bulk", [True, False])
def test_rows_that_are_not_utf8_are_named_and_the_rest_stays(
    name: str, bulk: bool, good: list[str], bad: list[bytes], where: int
) -> None:
    texts = [text.encode() for text in ["größer als groß", *good]]
    texts[where:where] = bad
    if name.startswith("t.j"):
        rows = [b'{"id": "r%d", "text": "%s"}' % (at, text) for at, text in enumerate(texts)]
        content = b"[" + b",".join(rows) + b"]" if name == "t.json" else b"\n".join(rows)
    else:
        mark = b"," if name == "t.csv" else b"\t"
        content = b"\n".join(b"r%d%s%s" % (at, mark, text) for at, text in enumerate(texts))
        content = b"id" + mark + b"text\n" + content
    records, told = read(name, content, bulk)
    assert [record.text for record in records] == ["größer als groß", *good]
    assert [item.row for item in told] == [at for at, text in enumerate(texts, start=1) if text in bad]
    assert all("UTF-8" in item.reason for item in told)
