"""Values and bytes of a bulk job's input that are easily lost on the way: none may change silently."""

from __future__ import annotations

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
MODEL = ("--model", "hashing:16")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, list(args))
        assert done.exit_code == code, done.output
        return done

    return call


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(next(Path("out").glob("part-*.parquet"))).to_pylist()
    return found


def rejects() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out/_rejects.jsonl").read_text().splitlines()]


def test_a_column_of_bools_by_name(run: Run) -> None:
    Path("a.jsonl").write_text('{"text": "a", "v": true}\n{"text": "b", "v": null}\n{"text": "c", "v": "x"}\n')
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", "v:bool")
    assert [row["v"] for row in rows()] == [True, None]
    assert [item["id"] for item in rejects()] == ["a.jsonl:3"]


@pytest.mark.parametrize(("kind", "good", "value"), [("int", "1", 1), ("float", "1.5", 1.5)])
@pytest.mark.parametrize("bad", ["007", "x", "18446744073709551616x"])
def test_one_odd_value_of_a_csv_does_not_reject_the_others(
    run: Run, kind: str, good: str, value: object, bad: str
) -> None:
    Path("a.csv").write_text(f"text,v\na,{good}\nb,{bad}\nc,{good}\n")
    run("embed", "a.csv", "-o", "out", *MODEL, "--column", f"v:{kind}")
    kept = {row["text"]: row["v"] for row in rows()}
    assert kept.pop("a") == kept.pop("c") == value
    assert len(kept) + len(rejects()) == 1


def test_a_value_of_another_type_is_named_like_every_bad_row(run: Run) -> None:
    Path("a.jsonl").write_text('{"text": "a", "v": 1}\n{"text": null, "v": 1}\n{"text": "c", "v": "x"}\n')
    run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", "v:int")
    assert [(item["path"], item["row"], item["id"]) for item in rejects()] == [
        ("a.jsonl", 2, "a.jsonl:2"),
        ("a.jsonl", 3, "a.jsonl:3"),
    ]


def test_a_type_for_all_columns_is_refused(run: Run) -> None:
    Path("a.jsonl").write_text('{"text": "a", "v": 1}\n')
    assert "*" in run("embed", "a.jsonl", "-o", "out", *MODEL, "--column", "*:string", code=2).stderr


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_what_is_no_number_in_parquet_stays_so(run: Run, kind: pa.DataType) -> None:
    values = pa.array([math.nan, math.inf, -math.inf, None, 1.0], pa.float64()).cast(kind)
    pq.write_table(pa.table({"text": list("abcde"), "v": values}), "a.parquet")
    run("embed", "a.parquet", "-o", "out", *MODEL, "--column", "v")
    assert [str(row["v"]) for row in rows()] == ["nan", "inf", "-inf", "None", "1.0"]


@pytest.mark.parametrize("encoding", [(), ("--encoding", "utf-8")])
def test_a_row_of_broken_utf8_in_a_csv_leaves_the_others_as_they_are(run: Run, encoding: tuple[str, ...]) -> None:
    good = "id,text\n1,Größe und Straße\n2,漢字 und mehr\n".encode()
    Path("a.csv").write_bytes(good + b"3,\xff\xfe broken\n4,last\n")
    run("embed", "a.csv", "-o", "out", *MODEL, "--id-column", "id", *encoding)
    assert [row["text"] for row in rows()] == ["Größe und Straße", "漢字 und mehr", "last"]
    assert [item["row"] for item in rejects()] == [3]


def test_verbose_names_what_is_skipped(run: Run) -> None:
    Path("a.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    error = run("embed", "a.jsonl", "-o", "out", *MODEL, "--verbose").stderr
    assert "a.jsonl" in error
    assert "no text in 'text'" in error
