"""Reading for bulk jobs: each row a record or a named reason; chosen columns with their types; the position."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import InputError
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.types import Record

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class Run:
    """One call of `read_inputs` for a bulk job, with everything that it told."""

    def __init__(self, *paths: str, stdin: bytes | None = None, **options: Any) -> None:
        self.skipped: list[Skipped] = []
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.tables: list[tuple[str, Mapping[str, Any]]] = []
        self.positions: list[tuple[int, int | None]] = []
        self.records: list[Record] = list(
            read_inputs(
                paths,
                options=ReadOptions(**{"bulk": True, **options}),
                on_skip=self.skipped.append,
                on_row=lambda name, values, _: self.rows.__setitem__(name, values),
                on_table=lambda name, types: self.tables.append((name, types)),
                on_position=lambda read, total: self.positions.append((read, total)),
                stdin=None if stdin is None else io.BytesIO(stdin),
            )
        )

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.records]

    @property
    def why(self) -> dict[int | None, tuple[str | None, str]]:
        return {item.row: (item.id, item.reason) for item in self.skipped}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def broken(*values: bytes | None) -> Any:
    """A column of strings whose bytes nobody checked."""
    return pa.array(values, pa.binary()).view(pa.string())


BAD: list[tuple[Any, str | None, str]] = [
    ({"id": 1, "text": None}, "1", "no text in 'text'"),
    ({"id": "b", "text": " \n"}, "b", "no text in 'text'"),
    ({"id": "c"}, "c", "no text in 'text'"),
    ({"id": 4, "text": 5}, "4", "the value of 'text' is a number, not a text"),
    ({"id": 5, "text": True}, "5", "the value of 'text' is true or false, not a text"),
    ({"id": 6, "text": 1.5}, "6", "the value of 'text' is a number, not a text"),
    ({"id": 7, "text": ["x"]}, "7", "the value of 'text' is a list or an object, not a text"),
    ({"id": None, "text": "x"}, None, "the id in column 'id' is empty"),
    ({"id": "  ", "text": "x"}, None, "the id in column 'id' is empty"),
    ({"text": "x"}, None, "the id in column 'id' is empty"),
    ({"id": [1], "text": "x"}, None, "the id in column 'id' is [1], not a string or whole number"),
    ({"id": 1.5, "text": "x"}, None, "the id in column 'id' is 1.5, not a string or whole number"),
    (
        {"id": 13, "text": "x" * 51},
        "13",
        "over-long: 51 characters, where 50 is the limit of one text (--max-text)",
    ),
    ([1], None, "item 14 is neither an object nor a string"),
]


def test_every_row_is_a_record_or_a_reason() -> None:
    rows = [row for row, _, _ in BAD] + [{"id": "same", "text": "x"}, {"id": "same", "text": "y" * 50}]
    Path("t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    run = Run("t.jsonl", id_column="id", max_text=50)
    assert run.why == {row: (known, reason) for row, (_, known, reason) in enumerate(BAD, start=1)}
    assert run.ids == ["same", "same"]  # uniqueness is the job's to check: here it would cost memory a row
    assert [record.text[0] for record in run.records] == ["x", "y"]


def test_the_same_rows_outside_a_bulk_job_are_as_before() -> None:
    Path("t.jsonl").write_text('{"text": 5}\n{"text": true}\n')
    assert [record.text for record in Run("t.jsonl", bulk=False, text_column="text").records] == ["5", "True"]
    Path("u.jsonl").write_text('{"id": null, "text": "x"}\n')
    with pytest.raises(InputError, match="is empty; every row needs one"):
        Run("u.jsonl", bulk=False, id_column="id")


def test_bad_rows_of_a_csv() -> None:
    Path("t.csv").write_bytes(b"id,text\n1,5\n2\n,x\n4,\n5,%s\n" % (b"y" * 30))
    run = Run("t.csv", id_column="id", max_text=20)
    assert [(record.id, record.text) for record in run.records] == [("1", "5")]
    assert run.why == {
        2: (None, "line 3: 1 fields where the header has 2"),
        3: (None, "the id in column 'id' is empty"),
        4: ("4", "no text in 'text'"),
        5: ("5", "over-long: 30 characters, where 20 is the limit of one text (--max-text)"),
    }


def test_over_long_files_and_lines() -> None:
    Path("a.txt").write_text("x" * 21)
    assert Run("a.txt", max_text=20).skipped[0].reason.startswith("over-long: 21 characters")
    with pytest.raises(InputError, match=r"over-long: 21 characters.*--max-text"):
        Run("a.txt", max_text=20, bulk=False)
    run = Run("-", stdin=b"ab\n" + b"x" * 21 + b"\ncd", max_text=20)
    assert [(record.id, record.text) for record in run.records] == [("-:1", "ab"), ("-:3", "cd")]
    assert list(run.why) == [2]
    assert run.positions[-1][1] is None


@pytest.mark.parametrize("bulk", [True, False])
def test_broken_utf8_in_parquet_is_one_bad_row(bulk: bool) -> None:
    table = pa.table(
        {
            "id": [1, 2, 3, 4, 5],
            "text": broken(b"one", b"\xff\xfe", None, b"four", "fünf".encode()),
            "lang": broken(b"en", b"en", b"en", b"d\xe9", b"de"),
            "tags": pa.array([[0], [0], [0], [0], [1]]).cast(pa.list_(pa.string())),
        }
    )
    for options in ({"compression": "none"}, {"use_dictionary": False, "row_group_size": 2}):
        pq.write_table(table, "t.parquet", **options)
        run = Run("t.parquet", id_column="id", bulk=bulk)
        assert [(record.id, record.text) for record in run.records] == [("1", "one"), ("5", "fünf")]
        assert run.records[1].metadata == {"lang": "de", "tags": ["1"]}
        assert run.why == {
            2: ("2", "the value of 'text' is bytes that are not UTF-8"),
            3: ("3", "no text in 'text'"),
            4: ("4", "the value of 'lang' is bytes that are not UTF-8"),
        }
        assert Run("t.parquet", id_column="id", columns=(), bulk=bulk).ids == ["1", "4", "5"]


def test_broken_utf8_deep_inside_and_in_ids() -> None:
    inner = broken(b"a", b"\xff", b"c")
    deep = pa.StructArray.from_arrays([inner], ["s"])
    pq.write_table(pa.table({"id": inner, "text": ["x", "y", "z"], "deep": deep}), "t.parquet")
    run = Run("t.parquet", id_column="id")
    assert run.ids == ["a", "c"]
    reason = "the value of 'id' and of 'deep' is bytes that are not UTF-8"
    assert run.why == {2: (None, reason)}
    with pytest.raises(InputError, match="--column"):
        Run("t.parquet", columns=("no",))


def nested() -> Any:
    moment = pa.timestamp("ns")
    struct = pa.struct([("at", moment), ("days", pa.list_(pa.date32()))])
    return pa.table(
        {
            "text": ["a", "b", "c"],
            "ns": pa.array([1, None, 10**18 + 1], moment),
            "zone": pa.array([1, None, 10**15 + 1], pa.timestamp("us", "Europe/Paris")),
            "date": pa.array([0, None, 8_000_000], pa.date32()),
            "date64": pa.array([86_400_000, None, 0], pa.date64()),
            "time": pa.array([1, None, 10**9], pa.time64("ns")),
            "took": pa.array([1, None, 3], pa.duration("ns")),
            "struct": pa.array([{"at": 1, "days": [1, None]}, None, {"at": None, "days": None}], struct),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), moment)),
            "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(moment, 2)),
            "large": pa.array([[1], None, []], pa.large_list(moment)),
            "small": pa.array([1, None, -1], pa.int8()),
            "half": pa.array([1.5, None, 0.1], pa.float32()),
            "price": pa.array(["1.10", None, "2.00"]).cast(pa.decimal128(9, 2)),
            "bytes": pa.array([b"\xff", None, b""], pa.binary()),
            "view": pa.array(["u", None, "v"], pa.string_view()),
            "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
            "flag": pa.array([True, None, False]),
        }
    )


def test_parquet_values_can_be_turned_back() -> None:
    pq.write_table(nested(), "t.parquet")
    table = pq.read_table("t.parquet")
    run = Run("t.parquet")
    (name, types) = run.tables[0]
    assert (name, list(types)) == ("t.parquet", table.schema.names[1:])
    for column, kind in types.items():
        assert kind == table.schema.field(column).type, column
        values = [row[column] for row in run.rows.values()]
        assert pa.array(values, kind).equals(table[column].combine_chunks()), column
    plain = Run("t.parquet", bulk=False, columns=("ns", "zone", "time", "took", "price", "flag"))
    for ours, theirs in zip(run.records, plain.records, strict=True):
        assert {column: ours.metadata[column] for column in theirs.metadata} == theirs.metadata
    far = Run("t.parquet", bulk=False).records[2].metadata
    assert str(far["date"]).startswith("23873-")
    assert plain.records[2].metadata["ns"] == "2001-09-09T01:46:40.000000001"


def test_dictionaries_and_extensions_are_plain() -> None:
    words = pa.array(["u", "v", "u"]).dictionary_encode()
    keys = pa.array([bytes(16), None, b"x" * 16], pa.uuid())
    moments = pa.array([datetime.datetime(2024, 1, 1)] * 3, pa.timestamp("s")).dictionary_encode()
    pq.write_table(pa.table({"text": ["a", "b", "c"], "w": words, "k": keys, "m": moments}), "t.parquet")
    run = Run("t.parquet")
    types = run.tables[0][1]
    assert types["w"] == pa.string()
    assert types["k"] == pa.string()
    rows = list(run.rows.values())
    assert [row["w"] for row in rows] == ["u", "v", "u"]
    assert [row["k"] for row in rows] == [str(uuid.UUID(int=0)), None, str(uuid.UUID(bytes=b"x" * 16))]
    assert pa.array([row["m"] for row in rows], types["m"]).cast(pa.string())[0].as_py().startswith("2024-01-01")


def test_only_chosen_columns_are_read() -> None:
    columns = {"text": ["a"], "key": [7], "n": [1], "a": [2], "a.b": [3], "vec": [[0.5] * 1000]}
    pq.write_table(pa.table(columns), "t.parquet")
    run = Run("t.parquet", id_column="key", columns=("n", "a"))
    assert run.rows == {"7": {"text": "a", "key": 7, "n": 1, "a": 2}}
    assert run.records[0].metadata == {"n": 1, "a": 2}
    assert dict(run.tables[0][1]) == {"n": pa.int64(), "a": pa.int64()}
    Path("t.jsonl").write_text('{"text": "a", "key": 7, "n": 1, "z": 2}\n{"text": "b", "key": 8}\n')
    run = Run("t.jsonl", id_column="key", columns=("n",))
    assert run.rows == {"7": {"text": "a", "key": 7, "n": 1}, "8": {"text": "b", "key": 8}}
    assert run.tables == [("t.jsonl", {"n": None})]
    for path in ("t.jsonl", "t.parquet"):
        with pytest.raises(InputError, match=r"no column 'N' \(--column\)\. Its columns: 'text', 'key', 'n'"):
            Run(path, columns=("N",))


def test_a_text_column_can_be_carried_too() -> None:
    Path("t.csv").write_text("key,text\n1,5\n2,6\n")
    run = Run("t.csv", id_column="key", columns=("text", "key"))
    assert run.tables == [("t.csv", {"text": "string", "key": "string"})]
    assert run.rows["1"] == {"key": "1", "text": "5"}
    assert run.records[0].metadata == {"key": "1", "text": "5"}


def test_csv_types() -> None:
    Path("t.csv").write_text("text,i,f,b,s,none\nx,1,1,true,007,\ny,,2.5,FALSE,8,\n")
    run = Run("t.csv")
    types = {"i": "int64", "f": "double", "b": "bool", "s": "string", "none": None}
    assert run.tables == [("t.csv", types)]
    assert list(run.rows.values()) == [
        {"text": "x", "i": 1, "f": 1.0, "b": True, "s": "007", "none": None},
        {"text": "y", "i": None, "f": 2.5, "b": False, "s": "8", "none": None},
    ]
    cells = Run("t.csv", bulk=False)
    assert next(iter(cells.rows.values()))["f"] == "1"  # as written
    assert [record.metadata for record in cells.records] == [record.metadata for record in run.records]


def test_a_csv_without_other_columns_is_gone_through_once_less(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_text("id,text,n\n" + "1,x,2\n" * 10)
    passes: list[int] = []
    reader = csv.reader

    def counting(file: Any, **options: Any) -> Any:
        passes.append(1)
        return reader(file, **options)

    monkeypatch.setattr(csv, "reader", counting)
    Run("t.csv")
    typed, passes[:] = len(passes), []
    Run("t.csv", columns=())
    assert len(passes) == typed - 1


def test_position_reaches_the_total() -> None:
    row = '{"text": "some words", "n": 1}\n'
    Path("d").mkdir()
    Path("d/a.jsonl").write_text(row * 5000)
    Path("d/b.csv").write_text("text,n\n" + "some words,1\n" * 5000)
    Path("d/c.jsonl.gz").write_bytes(gzip.compress((row * 5000).encode()))
    Path("d/d.json").write_text(json.dumps(["words"] * 5000))
    pq.write_table(pa.table({"text": [f"words {n}" for n in range(5000)]}), "d/e.parquet")
    Path("d/f.txt").write_text("whole")
    Path("d/g.unknown").write_text("never read")
    total = sum(path.stat().st_size for path in Path("d").iterdir()) - len("never read")
    run = Run("d", "d/a.jsonl")
    read = [at for at, _ in run.positions]
    assert {whole for _, whole in run.positions} == {total}
    assert read == sorted(read)
    assert read[-1] == total
    assert 20 <= len(read) <= 40
    assert len(run.records) == 25_001
    halves = [at for at in read if at < total / 2]
    assert halves
    assert read[0] > 0


def test_position_of_a_file_that_fails_counts_it_as_done() -> None:
    Path("d").mkdir()
    Path("d/a.parquet").write_bytes(b"PAR1 and no more")
    Path("d/b.jsonl").write_text('"x"\n')
    assert Run("d").positions[-1] == (20, 20)
