"""Going on with a bulk job after something went wrong with its folder: never a traceback, a loss or a dead end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import file_server
from textkin.cli.main import main

Run = Callable[..., Result]
ROWS: list[dict[str, Any]] = [
    {"id": f"r{n}", "text": f"text number {n}", "year": 2000 + n, "lang": "en"} for n in range(10)
]
SMALL = ("--model", "hashing:16", "--shard-rows", "3", "--id-column", "id")
JOB = ("embed", "a.jsonl", "-o", "out", *SMALL, "--column", "year")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    lines("a.jsonl")

    def call(*args: str, code: int | None = 0) -> Result:
        done = CliRunner().invoke(main, list(args))
        assert done.exit_code != 70, done.output
        assert code in {None, done.exit_code}, done.output
        return done

    return call


def lines(name: str) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def table(out: str = "out") -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(Path(out).glob("part-*.parquet")))


def sums(out: str = "out") -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(out).glob("part-*")}


@pytest.mark.parametrize("source", ["in", "in/**/*.*", "."])
def test_the_output_is_never_read_as_input(run: Run, source: str) -> None:
    Path("in").mkdir()
    Path("a.jsonl").rename("in/a.jsonl")
    job = ("embed", source, "-o", "in/out", *SMALL, "--json")
    for resume in ((), ("--resume",), ("--resume",)):
        report = json.loads(run(*job, *resume).stdout)
        assert (report["rows"], report["rejected"]) == (10, 0)


@pytest.mark.parametrize(
    "then",
    [
        ("--column", "lang"),
        (),
        ("--column", "year", "--column", "lang"),
        ("--column", "*"),
        ("--column", "year:string"),
    ],
)
def test_other_columns_are_refused_or_written_but_nothing_is_lost(run: Run, then: tuple[str, ...]) -> None:
    run(*JOB)
    before = sums()
    done = run("embed", "a.jsonl", "-o", "out", *SMALL, *then, "--resume", code=None)
    if done.exit_code:
        assert "--column" in done.stderr
        assert sums() == before
    else:
        run("embed", "a.jsonl", "-o", "fresh", *SMALL, *then)
        assert sums() == sums("fresh")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap_with_the_first(path: Path) -> None:
    first = min(Path("out").glob("part-*"))
    one, other = first.read_bytes(), path.read_bytes()
    first.write_bytes(other)
    path.write_bytes(one)


@pytest.mark.parametrize("damage", [zeros, flip, swap_with_the_first])
def test_a_shard_of_the_right_length_and_wrong_bytes_is_mended_as_verify_says(
    run: Run, damage: Callable[[Path], None]
) -> None:
    run(*JOB)
    before = sums()
    damage(sorted(Path("out").glob("part-*"))[1])
    assert "again with --resume" in run("jobs", "out", "--verify", code=8).stderr
    run(*JOB, "--resume")
    assert sums() == before
    run("jobs", "out", "--verify")


@pytest.mark.parametrize("content", ["", "[]", "{", "\0" * 50])
def test_the_cure_that_a_damaged_job_file_is_given_works(run: Run, content: str) -> None:
    run(*JOB)
    path = Path("out/_textkin/job.json")
    path.write_text(content)
    assert "remove it and run the job again" in run(*JOB, "--resume", code=8).stderr
    path.unlink()
    run(*JOB, "--resume")
    assert table()["id"].to_pylist() == [row["id"] for row in ROWS]


@pytest.mark.parametrize("name", ["fingerprint", "columns", "model"])
@pytest.mark.parametrize("value", [None, [], 5, "x"])
def test_a_job_file_with_a_wrong_value_is_an_error_that_names_it(run: Run, name: str, value: object) -> None:
    run(*JOB)
    path = Path("out/_textkin/job.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    before = sums()
    done = run(*JOB, "--resume", code=None)
    assert done.exit_code == 0 or "out" in done.stderr
    assert sums() == before


@pytest.mark.parametrize("missing", ["created", "duplicate_ids", "spend", "encoding", None])
def test_a_manifest_without_a_field_is_an_error_that_names_it(run: Run, missing: str | None) -> None:
    run(*JOB)
    path = Path("out/_manifest.json")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({name: fact for name, fact in manifest.items() if missing and name != missing}))
    for args in (("jobs", "out"), ("jobs", "out", "--verify")):
        assert "_manifest.json" in run(*args, code=8).stderr
    run(*JOB, "--resume")
    run("jobs", "out", "--verify")


@pytest.mark.parametrize("what", ["marker", "all of _textkin"])
def test_jobs_counts_a_complete_result_by_its_manifest(run: Run, what: str) -> None:
    run(*JOB)
    if what == "marker":
        next(Path("out/_textkin/shards").iterdir()).unlink()
    else:
        Path("out/_textkin").rename("elsewhere")
    job = json.loads(run("jobs", "out", "--json").stdout)[0]
    assert (job["state"], job["rows"]) == ("complete", 10)


def test_a_ledger_of_the_job_that_is_damaged_is_no_dead_end(run: Run) -> None:
    run(*JOB, "--no-ledger", "--max-tokens", "10", code=14)
    Path("out/_textkin/ledger-0.db").write_bytes(b"garbage" * 100)
    done = run(*JOB, "--no-ledger", "--resume", code=None)
    assert done.exit_code == 0 or ("ledger-0.db" in done.stderr and "remove" in done.stderr)


@pytest.mark.parametrize("place", ["a.jsonl", "a.jsonl/out"])
def test_an_output_that_is_a_file_is_said_with_the_cure(run: Run, place: str) -> None:
    error = run("embed", "a.jsonl", "-o", place, *SMALL, code=None).stderr
    assert place in error
    assert "folder" in error


def test_an_output_without_a_name_is_refused(run: Run) -> None:
    Path("empty").mkdir()
    os.chdir("empty")
    run("embed", "../a.jsonl", "-o", "", *SMALL, code=2)
    assert list(Path().iterdir()) == []


def test_a_web_server_is_no_place_for_an_output_and_its_secrets_stay_secret(run: Run) -> None:
    with file_server.serving() as server:
        place = server.url.replace("http://", "http://user:hunter2@") + "/out?token=S3CRET"
        done = CliRunner().invoke(main, ["embed", "a.jsonl", "-o", place, *SMALL])
    assert "S3CRET" not in done.output
    assert "hunter2" not in done.output
    assert done.exit_code in {2, 8}


def test_no_ledger_needs_no_place_for_a_ledger(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKIN_DATA", "/dev/null/data")
    run(*JOB, "--no-ledger")
    assert len(table()) == 10
