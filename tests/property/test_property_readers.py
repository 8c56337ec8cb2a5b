"""What is written as a table comes back from it; no bytes make the readers fail in an unforeseen way."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textkin.errors import InputError
from textkin.text.digest import record_digest, well_formed
from textkin.text.markup import html_to_text
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs

CELL = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from(' ,;"\n\t|'), max_size=30)
ROWS = st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8)
SUFFIXES = [".txt", ".html", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.zst", ".weird", ""]


@given(rows=ROWS)
def test_csv_comes_back(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("key", "text"), *rows])
        told: list[Skipped] = []
        found = {
            int(record.id.rpartition(":")[2]): (record.metadata["key"], record.text)
            for record in read_inputs([path], on_skip=told.append)
        }
    expected = {number: row for number, row in enumerate(rows, start=1) if row[1].strip()}
    assert {number: text for number, (_, text) in found.items()} == {n: text for n, (_, text) in expected.items()}
    assert {number for number, _ in enumerate(rows, start=1)} - set(found) == {item.row for item in told}
    for number, (key, _) in found.items():
        original = expected[number][0]
        if isinstance(key, str):
            assert key == original
        elif isinstance(key, bool):
            assert str(key).lower() == original.lower()
        else:
            assert key is None or float(key) == float(original)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(rows=st.lists(st.dictionaries(st.text(max_size=6), VALUE, max_size=4), min_size=1, max_size=6))
def test_jsonl_rows_are_records_or_named(rows: list[dict[str, object]]) -> None:
    rows = [{**row, "text": f"t{number}"} if number % 2 else row for number, row in enumerate([{}, *rows])][1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        told: list[Skipped] = []
        records = list(read_inputs([path], options=ReadOptions(text_column="text"), on_skip=told.append))
    assert len(records) + len(told) == len(rows)
    for record in records:
        assert record.text == well_formed(record.text)
        assert len(record_digest(record)) == 64
        for value in record.metadata.values():
            for item in value if isinstance(value, list) else [value]:
                assert item is None or isinstance(item, str | int | float)
        json.dumps(dict(record.metadata), allow_nan=False)


@settings(max_examples=300)
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-16", "ignore")))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_bytes_give_records_or_a_named_problem(suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"f{suffix}")
        path.write_bytes(content)
        told: list[Skipped] = []
        records = list(read_inputs([folder], on_skip=told.append))
        assert all(record.text.strip() and record.text.encode() for record in records)
        assert records or told or not content.strip()
        assert f"f{suffix}" in _problem([str(path)], b"")


@given(content=st.binary(max_size=300))
def test_any_stdin(content: bytes) -> None:
    assert "stdin" in _problem(["-"], content)


def _problem(paths: list[str], stdin: bytes) -> str:
    """What reading is refused with; when it goes well, all the names that a refusal would have to give."""
    try:
        records = list(read_inputs(paths, stdin=io.BytesIO(stdin)))
    except InputError as error:
        return str(error)
    assert all(record.text.strip() and record.text.encode() for record in records)
    return " ".join(["stdin", *paths])


@given(st.text(alphabet=st.sampled_from("<>/!-ab pre&;\"'=\n\t[]nav") | st.characters(), max_size=200))
def test_any_html(html: str) -> None:
    text = html_to_text(html)
    assert text == text.strip()


NAMES = st.lists(st.sampled_from(["text", "a", "a", "b", "", "a (2)", "é"]), min_size=1, max_size=6)
CELLS = st.one_of(
    st.lists(st.none() | st.text(max_size=5), min_size=3, max_size=3),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=2), min_size=3, max_size=3),
    st.lists(st.none() | st.uuids().map(lambda one: one.bytes), min_size=3, max_size=3),
)


@given(names=NAMES, cells=st.lists(CELLS, min_size=6, max_size=6), bulk=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_row_of_parquet_is_a_record_or_named(names: list[str], cells: list[list[Any]], bulk: bool) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def column(values: list[Any]) -> Any:
        if any(isinstance(value, bytes) for value in values):
            return pa.array(values, pa.uuid())
        return pa.array(values) if any(value is not None for value in values) else pa.array(values, pa.string())

    arrays = [pa.array(["x", " ", None]), *(column(values) for values in cells[: len(names)])]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=["body", *names]), sink)
    told: list[Skipped] = []
    options = ReadOptions(text_column="body", bulk=bulk)
    (record,) = read_inputs(["-"], options=options, on_skip=told.append, stdin=io.BytesIO(sink.getvalue()))
    assert [skipped.row for skipped in told] == [2, 3]
    # No column is lost, whatever it is called.
    assert len(record.metadata) == len(names)
    json.dumps(dict(record.metadata), allow_nan=False)
