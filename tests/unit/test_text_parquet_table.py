"""Parquet: types that metadata can hold, constant memory, and damaged files."""

from __future__ import annotations

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import FileReadError, InputError
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.types import Record

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
        "tags": ["x", "y"],
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


def read(path: str | Path, **options: Any) -> list[Record]:
    return list(read_inputs([path], options=ReadOptions(**options)))


def test_every_way_of_writing_strings_is_a_text_column(tmp_path: Path) -> None:
    words = ["a", "b", "a"]
    ways = [
        pa.array(words, pa.string_view()),
        pa.array(words, pa.large_string()),
        pa.array(words).dictionary_encode(),
        pa.array(words, pa.large_string()).dictionary_encode(),
    ]
    for way in ways:
        path = write(tmp_path / "t.parquet", {"foo": way, "n": [1, 2, 3]})
        assert [record.text for record in read(path)] == words, way.type
        assert [record.text for record in read(path, bulk=True)] == words, way.type


@pytest.mark.parametrize("bulk", [True, False])
def test_uuids_are_ids_and_metadata_in_their_usual_form(tmp_path: Path, bulk: bool) -> None:
    names = [str(uuid.UUID(int=n + 10**30)) for n in range(2)]
    keys = pa.array([uuid.UUID(name).bytes for name in names], pa.uuid())
    path = write(tmp_path / "t.parquet", {"text": ["a", "b"], "u": keys})
    assert [record.metadata["u"] for record in read(path, bulk=bulk)] == names
    assert [record.id for record in read(path, id_column="u", bulk=bulk)] == names
    # Written by what knows no Arrow: Parquet's own type is all that says it.
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "u": keys}), bare, store_schema=False)
    assert [record.id for record in read(bare, id_column="u", bulk=bulk)] == names
    inner = pa.StructArray.from_arrays([keys], ["u"])
    path = write(tmp_path / "t.parquet", {"text": ["a", "b"], "in": inner})
    assert read(path, bulk=bulk)[0].metadata["in"] == f'{{"u":"{names[0]}"}}'


@pytest.mark.parametrize("bulk", [True, False])
def test_columns_of_one_name_and_of_none_are_all_kept(tmp_path: Path, bulk: bool) -> None:
    arrays = [pa.array(["x", "y"]), pa.array([1, 2]), pa.array(["p", "q"]), pa.array([3, 4]), pa.array([5, 6])]
    table = pa.Table.from_arrays(arrays, names=["text", "a", "text", "a", ""])
    pq.write_table(table, tmp_path / "t.parquet")
    first, second = read(tmp_path / "t.parquet", bulk=bulk)
    assert (first.text, first.metadata) == ("x", {"a": 1, "text (2)": "p", "a (2)": 3, "column 5": 5})
    assert second.text == "y"
    (only, _) = read(tmp_path / "t.parquet", bulk=bulk, columns=("a (2)",), text_column="text (2)")
    assert (only.text, only.metadata) == ("p", {"a (2)": 3})


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([1, 2**64 - 1], pa.uint64()), ["1", str(2**64 - 1)]),
        (pa.array([1.0, 2.0]), ["1", "2"]),
        (pa.array([decimal.Decimal("1.50"), decimal.Decimal("2")], pa.decimal256(50, 2)), ["1.50", "2.00"]),
        (pa.array([datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)]), ["2024-01-02", "2024-01-03"]),
        (pa.array([0, 1], pa.timestamp("ns")), ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000000001"]),
        (pa.array([b"k", "é".encode()], pa.binary_view()), ["k", "é"]),
        (pa.array(["k", "l"]).dictionary_encode(), ["k", "l"]),
        (pa.array([True, False]), None),
        (pa.array([1.5, 2.5], pa.float16()), None),
        (pa.array([["k"], ["l"]]), None),
        (pa.array([b"\xff", b"\xfe"]), None),
    ],
)
def test_what_has_one_form_as_a_text_is_an_id(tmp_path: Path, values: Any, ids: list[str] | None) -> None:
    path = write(tmp_path / "t.parquet", {"text": ["a", "b"], "key": values})
    told: list[Skipped] = []
    options = ReadOptions(id_column="key", bulk=True, columns=("key",))
    records = list(read_inputs([path], options=options, on_skip=told.append))
    assert [record.id for record in records] == (ids or [])
    if ids is None:
        assert [skipped.row for skipped in told] == [1, 2]
        with pytest.raises(InputError, match="'key'"):
            read(path, id_column="key")
    else:
        assert [record.id for record in read(path, id_column="key")] == ids


def test_lists_stay_lists(tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b"],
        "tags": pa.array([["x", None], []], pa.list_(pa.string())),
        "at": pa.array([[1, 2], None], pa.list_(pa.timestamp("ns"))),
        "point": pa.array([[1.0, float("nan")], [2.0, 3.0]], pa.list_(pa.float32(), 2)),
        "deep": pa.array([[["x"]], None], pa.list_(pa.list_(pa.string()))),
    }
    path = write(tmp_path / "t.parquet", columns)
    for bulk in (True, False):
        first, second = read(path, bulk=bulk)
        assert first.metadata == {
            "tags": ["x", None],
            "at": ["1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000000002"],
            "point": [1.0, None],
            "deep": '[["x"]]',
        }
        assert second.metadata["tags"] == []


def test_folders_called_key_and_value_are_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("t/lang=de/year=2023", "t/lang=fr%20x/year=__HIVE_DEFAULT_PARTITION__"):
        Path(folder).mkdir(parents=True)
    write(Path("t/lang=de/year=2023/part-0.parquet"), {"text": ["a"], "n": [1]})
    Path("t/lang=fr%20x/year=__HIVE_DEFAULT_PARTITION__/part.csv").write_text("text,n,lang\nb,2,own\n")
    for beside in ("t/_SUCCESS", "t/_metadata", "t/lang=de/_common_metadata"):
        Path(beside).write_bytes(b"")
    told: list[Skipped] = []
    records = list(read_inputs(["t"], on_skip=told.append))
    assert told == []
    assert [dict(record.metadata) for record in records] == [
        {"n": 1, "lang": "de", "year": 2023},
        {"n": 2, "lang": "own", "year": None},
    ]
    kinds: list[Any] = []
    options = ReadOptions(bulk=True)
    list(read_inputs(["t"], options=options, on_table=lambda _, types: kinds.append(types["year"])))
    assert kinds == ["int64", None]
    (one,) = read("t/lang=de", bulk=True, columns=("year",))
    assert one.metadata == {"year": 2023}
    with pytest.raises(InputError, match="'day'"):
        read("t/lang=de/year=2023/part-0.parquet", columns=("day",))
