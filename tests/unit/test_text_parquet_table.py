"""Parquet: types that metadata can hold, constant memory, and damaged files."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import FileReadError, InputError
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path: Path, columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def test_types(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, 120000)
    path = write(
        tmp_path / "t.parquet",
        {
            "text": ["a", None, "c"],
            "key": pa.array([1, 2, 3], pa.int32()),
            "f": [1.5, None, float("nan")],
            "big": pa.array([2**64 - 1, 1, 2], pa.uint64()),
            "day": [datetime.date(2024, 5, 6), None, None],
            "at": pa.array([moment, None, None], pa.timestamp("us")),
            "zone": pa.array([moment, None, None], pa.timestamp("ms", tz="Europe/Paris")),
            "nano": pa.array([1, None, 10**18], pa.timestamp("ns")),
            "time": [datetime.time(1, 2, 3), None, None],
            "took": pa.array([90, None, 1], pa.duration("s")),
            "price": [decimal.Decimal("1.10"), None, None],
            "tags": [["x", "y"], None, []],
            "deep": [{"a": datetime.date(2024, 1, 1)}, None, None],
            "word": pa.array(["u", "v", "w"]).dictionary_encode(),
            "raw": [b"\xff\xfe", "é".encode(), None],
            "flag": [True, False, None],
        },
    )
    told: list[Skipped] = []
    first, last = read_inputs([path], options=ReadOptions(id_column="key"), on_skip=told.append)
    assert (first.id, first.text, last.id) == ("1", "a", "3")
    assert dict(first.metadata) == {
        "f": 1.5,
        "big": str(2**64 - 1),
        "day": "2024-05-06",
        "at": "2024-05-06T07:08:09.12",
        "zone": "2024-05-06T07:08:09.12+00:00",
        "nano": "1970-01-01T00:00:00.000000001",
        "time": "01:02:03",
        "took": "90 s",
        "price": "1.10",
        "tags": '["x","y"]',
        "deep": '{"a":"2024-01-01"}',
        "word": "u",
        "raw": "<2 bytes>",
        "flag": True,
    }
    assert last.metadata["f"] is None
    assert last.metadata["nano"] == "2001-09-09T01:46:40"
    assert [(item.row, item.reason) for item in told] == [(2, "no text in 'text'")]


def test_many_rows_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"body": [f"row {n}" for n in range(5000)]}, row_group_size=700)
    records = list(read_inputs([path]))
    assert len(records) == 5000
    assert records[-1].id == f"{path}:5000"
    assert records[-1].text == "row 4999"


def test_bytes_that_are_utf8_are_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"text": ["é".encode(), b"\xff"]})
    told: list[Skipped] = []
    assert [record.text for record in read_inputs([path], on_skip=told.append)] == ["é"]
    assert "not UTF-8" in told[0].reason


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "t.parquet", {"text": [f"some words {n}" for n in range(10_000)]}))
    whole = path.read_bytes()
    for content in (whole[:1000], b"", b"PAR1" + b"\0" * 100 + b"PAR1", b"text,n\na,1\n"):
        path.write_bytes(content)
        with pytest.raises(FileReadError, match=r"t\.parquet"):
            list(read_inputs([path]))
    path.write_bytes(whole[:200] + b"\xff" * 2000 + whole[2200:])
    with pytest.raises(FileReadError, match=r"t\.parquet"):
        list(read_inputs([path]))
    told: list[Skipped] = []
    assert list(read_inputs([tmp_path], on_skip=told.append)) == []
    assert told[0].kind == "failed"


def test_no_text_column(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"a": [1], "b": [2.0]})
    with pytest.raises(InputError, match="'a', 'b'"):
        list(read_inputs([path]))
