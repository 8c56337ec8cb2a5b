"""Rows, ids and columns made to hurt a bulk job: each is set aside by its number, or kept exactly as it is."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main

Run = Callable[..., Result]
MODEL = ("--model", "hashing:16", "--shard-rows", "3")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, list(args))
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return call


def rows(out: str = "out") -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(Path(out).glob("part-*.parquet"))]
    found: list[dict[str, Any]] = pa.concat_tables(tables).drop_columns(["truncated", "vector"]).to_pylist()
    return found


def rejects(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "_rejects.jsonl").read_text().splitlines()]


def jsonl(*bodies: str | bytes) -> None:
    Path("a.jsonl").write_bytes(b"\n".join(body if isinstance(body, bytes) else body.encode() for body in bodies))


BAD = {
    "null": '{"id": "x", "text": null}',
    "missing": '{"id": "x"}',
    "empty": '{"id": "x", "text": ""}',
    "blank": '{"id": "x", "text": " \\t"}',
    "number": '{"id": "x", "text": 5}',
    "bool": '{"id": "x", "text": true}',
    "nan": '{"id": "x", "text": NaN}',
    "list": '{"id": "x", "text": ["a"]}',
    "object": '{"id": "x", "text": {"a": 1}}',
    "not json": '{"id": "x", "text": ',
    "a list": "[1, 2]",
    "a number": "7",
    "a null": "null",
    "no fields": "{}",
    "broken UTF-8": b'{"id": "x", "text": "\xff\xfe"}',
    "over-long": '{"id": "x", "text": "' + "w " * 2000 + '"}',
    "no id": '{"text": "words"}',
    "null id": '{"id": null, "text": "words"}',
    "empty id": '{"id": "", "text": "words"}',
    "blank id": '{"id": "  ", "text": "words"}',
    "nested id": '{"id": {"a": 1}, "text": "words"}',
    "fraction as id": '{"id": 1.5, "text": "words"}',
    "deep": '{"id": "x", "text": "a", "d": ' + "[" * 20_000 + "]" * 20_000 + "}",
}


def test_bad_rows_of_every_kind_are_set_aside_with_number_and_reason(run: Run) -> None:
    jsonl('{"id": "first", "text": "good"}', *BAD.values(), '{"id": "last", "text": "good too"}')
    report = json.loads(
        run("embed", "a.jsonl", "-o", "out", *MODEL, "--id-column", "id", "--max-text", "3000", "--json").stdout
    )
    assert [row["id"] for row in rows()] == ["first", "last"]
    assert [item["row"] for item in rejects()] == list(range(2, 2 + len(BAD)))
    assert all(item["path"] == "a.jsonl" and item["reason"] for item in rejects())
    assert report["rejected"] == len(BAD)


@pytest.mark.parametrize("name", sorted(BAD))
def test_strict_stops_at_each_kind_and_names_it(run: Run, name: str) -> None:
    jsonl('{"id": "first", "text": "good"}', BAD[name])
    strict = ("--id-column", "id", "--max-text", "3000", "--strict")
    error = run("embed", "a.jsonl", "-o", "out", *MODEL, *strict, code=2).stderr
    assert "a.jsonl" in error
    assert "2" in error
    assert "--strict" in error
    assert not Path("out/_manifest.json").exists()


def test_only_bad_rows_make_an_output_without_shards(run: Run) -> None:
    jsonl(*['{"text": null}'] * 7)
    run("embed", "a.jsonl", "-o", "out", *MODEL)
    assert len(rejects()) == 7
    assert json.loads(Path("out/_manifest.json").read_text())["rows"] == 0
    run("jobs", "out", "--verify")
    run("import", "out", "n.kin")
    run("duplicates", "out")
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--resume")
    assert len(rejects()) == 7


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", b"", 2),
        ("a.csv", b"", 2),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), 2),
        ("a.csv", b"id,text,year\n", 0),
        ("a.json", b"[]", 2),
    ],
)
def test_inputs_without_rows(run: Run, name: str, content: bytes, code: int) -> None:
    Path(name).write_bytes(content)
    done = run("embed", name, "-o", "out", *MODEL, code=code)
    assert (name in done.stderr) == bool(code)
    assert Path("out/_manifest.json").exists() != bool(code)


def test_parquet_without_rows_or_without_columns(run: Run) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string()), "year": pa.array([], pa.int64())}), "zero.parquet")
    run("embed", "zero.parquet", "-o", "out", *MODEL, "--column", "*")
    assert json.loads(Path("out/_manifest.json").read_text())["columns"] == [{"name": "year", "type": "int64"}]
    pq.write_table(pa.table({}), "none.parquet")
    assert "none.parquet" in run("embed", "none.parquet", "-o", "none", *MODEL, code=2).stderr


@pytest.mark.parametrize("comma", [",", "\t"])
def test_rows_of_a_wrong_width(run: Run, comma: str) -> None:
    name = "a.csv" if comma == "," else "a.tsv"
    text = 'id,text,year\n1,good,1\n2,short\n3,long,3,4\n\n4,"two\nlines",4\n5,,5\n'
    Path(name).write_text(text.replace(",", comma))
    run("embed", name, "-o", "out", *MODEL, "--id-column", "id", "--column", "year")
    assert [(row["id"], row["text"], row["year"]) for row in rows()] == [("1", "good", 1), ("4", "two\nlines", 4)]
    assert [item["row"] for item in rejects()] == [2, 3, 5]


def test_a_damaged_file_ends_the_run_alone_and_not_in_a_folder(run: Run) -> None:
    whole = gzip.compress(b'{"text": "words"}\n' * 3, mtime=0)
    Path("d").mkdir()
    Path("d/cut.jsonl.gz").write_bytes(whole[:-12])
    Path("d/bad.parquet").write_bytes(b"PAR1 not really PAR1")
    Path("d/good.jsonl.gz").write_bytes(whole)
    assert "cut.jsonl.gz" in run("embed", "d/cut.jsonl.gz", "-o", "one", *MODEL, code=2).stderr
    run("embed", "d", "-o", "out", *MODEL)
    assert [item["path"] for item in rejects()] == ["d/bad.parquet", "d/cut.jsonl.gz"]
    assert [row["id"] for row in rows()] == [f"d/good.jsonl.gz:{row}" for row in (1, 2, 3)]


def test_ids_of_every_look_come_back(run: Run) -> None:
    ids = ['a\nb"c"', "é漢🙂", " padded ", "x" * 5000, "\x00", "a,b;c\td", "../up", "'; drop", "=1+1"]
    jsonl(*(json.dumps({"id": name, "text": f"text {n}"}) for n, name in enumerate(ids)))
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--id-column", "id")
    expected = [name.strip() if name == " padded " else name for name in ids]
    assert [row["id"] for row in rows()] == expected
    run("import", "out", "n.kin")
    listed = run("list", "n.kin", "--limit", "0", "--jsonl").stdout.splitlines()
    assert sorted(json.loads(line)["id"] for line in listed) == sorted(expected)


def test_lone_surrogates_do_not_reach_the_files(run: Run) -> None:
    jsonl(
        '{"id": "a\\ud800", "text": "lone \\udfff end", "c": "\\ud800"}', '{"id": "b", "text": "fine", "c": "x"}'
    )
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--id-column", "id", "--column", "c")
    assert rows()[0] == {"id": "a\ufffd", "text": "lone \ufffd end", "c": "\ufffd"}
    assert len(rows()) == 2


def test_ids_that_come_again_are_counted_and_named(run: Run) -> None:
    jsonl(*(json.dumps({"id": "a", "text": f"text {n}"}) for n in range(8)), '{"id": "b", "text": "b"}')
    report = json.loads(run("embed", "a.jsonl", "-o", "out", *MODEL, "--id-column", "id", "--json").stdout)
    assert (report["rows"], report["duplicate_ids"], report["duplicate_ids_first"]) == (9, 7, ["a"])
    assert "--id-column" in run("import", "out", "n.kin", code=2).stderr
    run("embed", "a.jsonl", "--to", "n.kin", "--model", "hashing:16", "--id-column", "id")
    assert json.loads(run("show", "n.kin", "a", "--json").stdout)[0]["text"] == "text 0"


# Columns


def test_columns_named_like_the_outputs_own(run: Run) -> None:
    jsonl('{"key": "k", "body": "b", "id": 1, "text": 2, "vector": [3], "truncated": 4, "mine": 5}')
    place = ("embed", "a.jsonl", "-o", "out", *MODEL, "--text-column", "body", "--id-column", "key")
    for name in ("id", "text", "vector", "truncated"):
        error = run(*place, "--column", name, code=2).stderr
        assert f"'{name}'" in error
        assert "rename" in error
    run(*place, "--column", "*")
    own = {"input_id": 1, "input_text": 2, "input_vector": "[3]", "input_truncated": 4}
    assert rows() == [{"id": "k", "text": "b", "mine": 5, **own}]


def test_column_names_with_signs_in_them(run: Run) -> None:
    names = ["a b", "a.b", "a:b", 'a"b', "a:int", "ä", "SELECT", "0"]
    jsonl(json.dumps({"text": "t", **dict.fromkeys(names, "v")}))
    run("embed", "a.jsonl", "-o", "all", *MODEL, "--column", "*")
    asked = ["a:int:string" if name == "a:int" else name for name in names]
    run("embed", "a.jsonl", "-o", "out", *MODEL, *(part for name in asked for part in ("--column", name)))
    assert rows() == rows("all") == [{"id": "a.jsonl:1", "text": "t", **dict.fromkeys(names, "v")}]


@pytest.mark.parametrize("name", ["nope", "", ":int", "year:date", "year:", "Year"])
def test_a_column_that_is_not_there_is_named_and_the_right_command_then_runs(run: Run, name: str) -> None:
    jsonl('{"text": "t", "year": 1}')
    error = run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", name, code=2).stderr
    assert repr(name) in error
    assert "'year'" in error
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", "year")


@pytest.mark.parametrize(
    ("values", "type_", "read"),
    [
        (["null", "null"], "string", [None, None]),
        (["1", "2.5"], "double", [1.0, 2.5]),
        (["9223372036854775807", "9223372036854775808"], "string", ["9223372036854775807", "9223372036854775808"]),
        (['"x"', "1"], "string", ["x", "1"]),
        (["true", "false"], "bool", [True, False]),
        (["[1]", '{"a": null}'], "string", ["[1]", '{"a":null}']),
        (["1", "null"], "int64", [1, None]),
    ],
)
def test_values_of_json_make_one_type(run: Run, values: list[str], type_: str, read: list[object]) -> None:
    jsonl(*(f'{{"text": "t{n}", "v": {value}}}' for n, value in enumerate(values)))
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", "v")
    assert json.loads(Path("out/_manifest.json").read_text())["columns"] == [{"name": "v", "type": type_}]
    assert [row["v"] for row in rows()] == read


def test_a_value_of_another_type_after_the_first_thousand_rows_is_set_aside(run: Run) -> None:
    jsonl(
        *(f'{{"text": "t{n % 5}", "v": 1}}' for n in range(1000)),
        '{"text": "a", "v": "x"}',
        '{"text": "b", "v": 2}',
    )
    run("embed", "a.jsonl", "-o", "out", "--model", "hashing:16", "--column", "v")
    assert [item["id"] for item in rejects()] == ["a.jsonl:1001"]
    assert "--column v:string" in rejects()[0]["reason"]
    assert rows()[-1] == {"id": "a.jsonl:1002", "text": "b", "v": 2}


def test_parquet_of_every_type_comes_through_as_it_is(run: Run) -> None:
    when = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC)
    kinds = {
        "large": pa.array(["x", None], pa.large_string()),
        "view": pa.array(["x", None], pa.string_view()),
        "decimal": pa.array([decimal.Decimal("1.23"), None], pa.decimal128(10, 2)),
        "time": pa.array([when, None], pa.timestamp("us", "UTC")),
        "day": pa.array([when.date(), None]),
        "span": pa.array([1, None], pa.duration("s")),
        "list": pa.array([[1, None], None], pa.list_(pa.int64())),
        "struct": pa.array([{"a": [1]}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(2),
        "u64": pa.array([2**64 - 1, None], pa.uint64()),
        "bytes": pa.array([b"\xff\x00", None]),
        "i8": pa.array([-128, None], pa.int8()),
    }
    source = pa.table({"text": pa.array(["a", "b"], pa.large_string()), **kinds})
    pq.write_table(source, "t.parquet")
    run("embed", "t.parquet", "-o", "out", *MODEL, "--column", "*")
    kept = pq.read_table(next(Path("out").glob("part-*")))
    for name in kinds:
        assert kept.schema.field(name).type == source.schema.field(name).type, name
        assert kept[name].to_pylist() == source[name].to_pylist(), name


def test_texts_of_parquet_in_every_form_of_string(run: Run) -> None:
    plain = pa.array(["one", "two", None, "one"])
    for name, column in {
        "plain": plain,
        "dictionary": plain.dictionary_encode(),
        "large": plain.cast(pa.large_string()),
        "view": plain.cast(pa.string_view()),
    }.items():
        pq.write_table(pa.table({"text": column}), "t.parquet")
        run("embed", "t.parquet", "-o", name, *MODEL)
        assert [row["text"] for row in rows(name)] == ["one", "two", "one"]
        assert [item["row"] for item in rejects(name)] == [3]


@pytest.mark.parametrize("kind", ["decimal", "list", "struct", "nothing", "bytes", "int"])
def test_a_column_that_holds_no_texts_gives_no_vectors(run: Run, kind: str) -> None:
    column = {
        "decimal": pa.array([decimal.Decimal("1.2")] * 4),
        "list": pa.array([["a"]] * 4),
        "struct": pa.array([{"a": "b"}] * 4),
        "nothing": pa.nulls(4),
        "bytes": pa.array([b"\xff"] * 4),
        "int": pa.array([1] * 4),
    }[kind]
    pq.write_table(pa.table({"c": column}), "t.parquet")
    run("embed", "t.parquet", "-o", "out", *MODEL, "--text-column", "c")
    assert [(item["row"], "'c'" in item["reason"]) for item in rejects()] == [(n, True) for n in range(1, 5)]


def test_a_huge_text_is_set_aside_or_read_by_its_beginning(run: Run) -> None:
    jsonl(json.dumps({"text": "word " * 2_100_000}), '{"text": "small"}')
    run("embed", "a.jsonl", "-o", "out", *MODEL)
    assert [row["text"] for row in rows()] == ["small"]
    assert "over-long" in rejects()[0]["reason"]
    done = run("embed", "a.jsonl", "-o", "all", *MODEL, "--max-text", "20000000", "--json")
    assert json.loads(done.stdout)["truncated"] == 1
    assert math.isclose(len(rows("all")[0]["text"]), 10_500_000)
