"""Bulk jobs whose folder, inputs and state files are not what they were: mended or refused by name, never lost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main

Run = Callable[..., Result]
ROWS: list[dict[str, Any]] = [{"id": f"r{n}", "text": f"text number {n}", "year": 2000 + n} for n in range(10)]
SMALL = ("--model", "hashing:16", "--shard-rows", "3", "--id-column", "id")
JOB = ("embed", "a.jsonl", "-o", "out", *SMALL, "--column", "year")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    lines(ROWS)

    def call(*args: str, code: int | None = 0, stdin: str | None = None) -> Result:
        done = CliRunner().invoke(main, list(args), input=stdin)
        assert code in (None, done.exit_code), done.output
        assert "Traceback" not in done.output
        return done

    return call


def lines(rows: list[Any], name: str = "a.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def rows(out: str = "out") -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(Path(out).glob("part-*.parquet"))]
    found: list[dict[str, Any]] = pa.concat_tables(tables).drop_columns(["truncated", "vector"]).to_pylist()
    return found


def files(out: str = "out") -> dict[str, str]:
    """The result's own files, without what the job keeps for itself; the manifest has times in it."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(out).iterdir()
        if path.is_file() and path.name != "_manifest.json"
    }


def shards() -> list[Path]:
    return sorted(Path("out").glob("part-*.parquet"))


def markers() -> list[Path]:
    return sorted(Path("out/_textkin/shards").iterdir())


# Places that can't be written to


@pytest.mark.parametrize("place", ["a.jsonl", "a.jsonl/out", "/dev/null", "/proc/out", "n" * 300])
def test_an_output_that_can_not_be_a_folder_is_named(run: Run, place: str) -> None:
    done = run("embed", "a.jsonl", "-o", place, *SMALL, code=None)
    assert done.exit_code in (2, 8)
    error = done.stderr
    assert place in error
    assert len(error.splitlines()) == 1
    assert len(Path("a.jsonl").read_text().splitlines()) == 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(run: Run) -> None:
    Path("closed").mkdir(mode=0o500)
    assert "closed" in run("embed", "a.jsonl", "-o", "closed/out", *SMALL, code=8).stderr


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_folder_of_other_things_is_left_alone(run: Run, resume: tuple[str, ...]) -> None:
    Path("d").mkdir()
    Path("d/mine.txt").write_text("mine")
    run("index", "a.jsonl", "--to", "n.kin", "--model", "hashing:16")
    for place in ("d", "n.kin", "."):
        before = sorted(str(path) for path in Path(place).rglob("*"))
        cure = "name it with --to" if place == "n.kin" else "not empty"
        assert cure in run("embed", "a.jsonl", "-o", place, *SMALL, *resume, code=2).stderr
        assert sorted(str(path) for path in Path(place).rglob("*")) == before


def test_names_that_are_patterns_or_not_ascii(run: Run) -> None:
    for place in ("br[a]ck*et?", "ünï 'quoted\" 漢", "deep/er/still", "100%20#x"):
        run("embed", "a.jsonl", "-o", place, *SMALL)
        assert "10 rows were complete" in run("embed", "a.jsonl", "-o", place, *SMALL, "--resume").stdout
        run("jobs", place, "--verify")
        shutil.rmtree(Path(place).parts[0])


def test_files_of_others_beside_the_result_stay(run: Run) -> None:
    run(*JOB)
    Path("out/mine.txt").write_text("mine")
    pq.write_table(pa.table({"mine": [1]}), "out/mine.parquet")
    lines(ROWS[:4])
    run(*JOB, "--resume")
    assert Path("out/mine.txt").read_text() == "mine"
    assert pq.read_table("out/mine.parquet").num_rows == 1
    assert [row["id"] for row in rows()] == ["r0", "r1", "r2", "r3"]


# What may not change between two runs


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (("--model", "hashing:32"), 7, "hashing:16"),
        (("--dtype", "int8"), 2, "--dtype"),
        (("--shard-rows", "4"), 2, "--shard-rows"),
        (("--no-text",), 2, "--no-text"),
        (("--rank", "0", "--world", "2"), 2, "--world"),
    ],
)
def test_an_output_is_not_mixed(run: Run, change: tuple[str, ...], code: int, named: str) -> None:
    run(*JOB)
    before = files()
    error = run(*JOB, "--resume", *change, code=code).stderr
    assert named in error
    assert "another folder" in error
    assert files() == before
    assert "10 rows were complete" in run(*JOB, "--resume").stdout


@pytest.mark.parametrize(
    ("new", "kept", "embedded"),
    [
        ([*ROWS, {"id": "new", "text": "new", "year": 1}], 9, 1),
        (ROWS[:2], 0, 0),
        (ROWS[::-1], 0, 0),
        ([*ROWS[:4], {**ROWS[4], "text": "edited"}, *ROWS[5:]], 7, 1),
        ([*ROWS[:4], {**ROWS[4], "year": 1}, *ROWS[5:]], 7, 0),
        ([*ROWS[:4], {**ROWS[4], "id": "renamed"}, *ROWS[5:]], 7, 0),
        ([*ROWS[3:6], *ROWS[:3], *ROWS[6:]], 4, 0),
    ],
)
def test_an_input_that_changed_gives_what_a_fresh_run_gives(
    run: Run, new: list[dict[str, Any]], kept: int, embedded: int
) -> None:
    run(*JOB)
    lines(new)
    report = json.loads(run(*JOB, "--resume", "--json").stdout)
    assert rows() == new
    assert (report["rows"], report["embedded"]) == (len(new), embedded)
    assert report["kept"] >= kept
    run("embed", "a.jsonl", "-o", "fresh", *SMALL, "--column", "year")
    assert files() == files("fresh")
    run("jobs", "out", "--verify")


def test_an_input_that_is_gone_or_empty_takes_nothing_away(run: Run) -> None:
    run(*JOB)
    before = files()
    Path("a.jsonl").write_text("")
    assert "a.jsonl" in run(*JOB, "--resume", code=2).stderr
    Path("a.jsonl").unlink()
    assert "a.jsonl" in run(*JOB, "--resume", code=2).stderr
    assert files() == before
    assert Path("out/_manifest.json").exists()
    assert "failed" in run("jobs", "out").stdout


def test_rows_that_turned_bad_leave_the_output(run: Run) -> None:
    run(*JOB)
    lines([{**row, "text": None} for row in ROWS])
    before = files()
    assert "stays as it is" in run(*JOB, "--resume", code=2).stderr
    assert files() == before
    lines(ROWS)
    assert json.loads(run(*JOB, "--resume", "--json").stdout)["embedded"] == 0
    assert rows() == ROWS


# Files that were damaged between two runs


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def wrong_types(path: Path) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({name: 5 if isinstance(fact, str) else "x" for name, fact in facts.items()}))


@pytest.mark.parametrize("damage", [Path.unlink, cut, empty])
def test_a_shard_that_is_not_whole_is_made_again_from_the_ledger(
    run: Run, damage: Callable[[Path], object]
) -> None:
    run(*JOB)
    before = files()
    damage(shards()[1])
    told = run("jobs", "out", "--verify", code=8).stderr
    assert "part-000001" in told
    assert "--resume" in told
    report = json.loads(run(*JOB, "--resume", "--json").stdout)
    assert (report["embedded"], report["kept"], report["from_ledger"]) == (0, 7, 3)
    assert files() == before
    run("jobs", "out", "--verify")


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        cut,
        zeros,
        empty,
        wrong_types,
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("null"),
        lambda path: path.write_text('{"rows": 3}'),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: swap(path, markers()[0]),
    ],
)
def test_a_marker_that_is_damaged_costs_no_text(run: Run, damage: Callable[[Path], object]) -> None:
    run(*JOB)
    before = files()
    damage(markers()[1])
    assert json.loads(run(*JOB, "--resume", "--json").stdout)["embedded"] == 0
    assert files() == before
    run("jobs", "out", "--verify")


@pytest.mark.parametrize("what", ["shard", "marker"])
def test_a_folder_where_a_file_should_be_is_named(run: Run, what: str) -> None:
    run(*JOB)
    path = (shards() if what == "shard" else markers())[1]
    path.unlink()
    path.mkdir()
    assert path.name in run(*JOB, "--resume", code=8).stderr
    path.rmdir()
    run(*JOB, "--resume")
    assert rows() == ROWS


@pytest.mark.parametrize("damage", [Path.unlink, cut, zeros, empty])
def test_a_manifest_that_is_damaged_is_written_again(run: Run, damage: Callable[[Path], object]) -> None:
    run(*JOB)
    before = files()
    damage(Path("out/_manifest.json"))
    assert "out" in run("jobs", "out", "--verify", code=8).stderr
    assert "out" in run("import", "out", "n.kin", code=8).stderr
    assert json.loads(run(*JOB, "--resume", "--json").stdout)["kept"] == 10
    assert files() == before
    run("jobs", "out", "--verify")


@pytest.mark.parametrize("damage", [cut, zeros, empty, lambda path: path.write_text("[]")])
def test_a_job_file_that_is_damaged_is_named_and_takes_nothing_away(
    run: Run, damage: Callable[[Path], object]
) -> None:
    run(*JOB)
    before = files()
    damage(Path("out/_textkin/job.json"))
    for args in ((*JOB, "--resume"), ("jobs", "out")):
        assert "job.json" in run(*args, code=8).stderr
    assert files() == before


def test_what_a_killed_run_left_is_swept(run: Run) -> None:
    run(*JOB)
    before = files()
    Path("out/part-000001-0123456789ab.parquet").write_bytes(b"of another run")
    Path("out/_rejects.jsonl").unlink()
    run(*JOB, "--resume")
    assert files() == before


# Ranks


def rank(run: Run, number: int, of: int, source: str = "a.jsonl") -> dict[str, Any]:
    shares = ("--rank", str(number), "--world", str(of), "--resume", "--json")
    report: dict[str, Any] = json.loads(run("embed", source, "-o", "out", *SMALL, *shares).stdout)
    return report


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 1, 2, 0, 0], [6, 5, 4, 3, 2, 1, 0]])
def test_ranks_in_any_order_make_one_output(run: Run, order: list[int]) -> None:
    lines([*ROWS[:4], {"id": "x", "text": None}, *ROWS[4:]])
    run("embed", "a.jsonl", "-o", "alone", *SMALL)
    done = [rank(run, number, max(order) + 1)["complete"] for number in order]
    assert done[-1]
    assert files() == files("alone")
    assert sum(shard["rows"] for shard in json.loads(Path("out/_manifest.json").read_text())["shards"]) == 10
    run("jobs", "out", "--verify")


def test_ranks_that_read_different_inputs_are_not_called_complete(run: Run) -> None:
    lines(ROWS[::-1], "b.jsonl")
    assert not rank(run, 0, 2)["complete"]
    other = ("embed", "b.jsonl", "-o", "out", *SMALL, "--rank", "1", "--world", "2", "--resume")
    assert "rank 0" in run(*other, code=8).stderr
    assert not Path("out/_manifest.json").exists()
    assert rank(run, 0, 2, "b.jsonl")["complete"]
    assert [row["id"] for row in rows()] == [row["id"] for row in ROWS[::-1]]
    run("jobs", "out", "--verify")
