"""textkin embed -o OUT/, --to and textkin jobs from outside: every form of input, options, reports, signals."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

import file_server
import textkin
from held import held
from textkin.cli.main import main
from textkin.errors import InputError

Run = Callable[..., Result]
ROWS: list[dict[str, Any]] = [
    {"id": f"r{n}", "text": f"text number {n} about {'cats' if n % 2 else 'dogs'}", "year": 2000 + n}
    for n in range(10)
]
MODEL = ("--model", "hashing:16")
SMALL = (*MODEL, "--shard-rows", "3")
NAMED = ("--id-column", "id", "--column", "year")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    lines(ROWS)

    def call(*args: str, code: int = 0, stdin: str | None = None) -> Result:
        done = CliRunner().invoke(main, list(args), input=stdin)
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return call


def lines(rows: list[Any], name: str = "a.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def table(out: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(Path(out).glob("part-*.parquet")))


def ids(out: str) -> list[str]:
    found: list[str] = table(out)["id"].to_pylist()
    return found


def rejects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "_rejects.jsonl").read_text().splitlines()]


def forms() -> dict[str, bytes]:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "text", "year"])
    writer.writeheader()
    writer.writerows(ROWS)
    jsonl, comma = "".join(json.dumps(row) + "\n" for row in ROWS).encode(), text.getvalue().encode()
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    return {
        "t.jsonl": jsonl,
        "t.ndjson": jsonl,
        "t.jsonl.gz": gzip.compress(jsonl),
        "t.jsonl.zst": zstandard.compress(jsonl),
        "t.json": json.dumps(ROWS).encode(),
        "t.csv": comma,
        "t.csv.gz": gzip.compress(comma),
        "t.csv.zst": zstandard.compress(comma),
        "t.tsv": comma.replace(b",", b"\t"),
        "t.parquet": parquet.getvalue(),
    }


def test_every_form_gives_the_same_rows(run: Run) -> None:
    run("embed", "a.jsonl", "-o", "first", *SMALL, *NAMED)
    first = table("first")
    assert first.column_names == ["id", "text", "year", "truncated", "vector"]
    assert first.select(["id", "text", "year"]).to_pylist() == ROWS
    assert first.schema.field("vector").type.list_size == 16
    alone = textkin.load_model("hashing:16").encode([row["text"] for row in ROWS])
    assert np.allclose(np.stack(first["vector"].to_numpy()), alone, atol=1e-6)
    with file_server.serving() as server:
        for name, content in forms().items():
            Path(name).write_bytes(content)
            server.files[f"/{name}"] = content
            for place, out in ((name, f"{name}-out"), (f"{server.url}/{name}", f"{name}-http")):
                run("embed", place, "-o", out, *SMALL, *NAMED)
                assert table(out).equals(first), place
        run("embed", f"{server.url}/", "-o", "listing", *MODEL, *NAMED, "--include", "*.csv*")
        assert ids("listing") == 3 * ids("first")
    piped = Path("t.jsonl").read_text()
    run("embed", "-", "-o", "piped", *SMALL, *NAMED, stdin=piped)
    assert table("piped").equals(first)


def test_a_folder_and_a_pattern(run: Run) -> None:
    Path("d/sub").mkdir(parents=True)
    for name in ("t.jsonl.gz", "t.parquet"):
        Path("d", name).write_bytes(forms()[name])
    Path("d/sub/t.csv").write_bytes(forms()["t.csv"])
    Path("d/sub/note.txt").write_text("one whole file")
    Path("d/.hidden.jsonl").write_text('{"text": "not this"}\n')
    run("embed", "d", "-o", "all", *SMALL, "--column", "year")
    places = ("d/sub/t.csv", "d/t.jsonl.gz", "d/t.parquet")
    rows = [f"{place}:{row}" for place in places for row in range(1, 11)]
    assert sorted(ids("all")) == sorted([*rows, "d/sub/note.txt"])
    assert table("all").schema.field("year").type == pa.int64()
    assert sum(year is None for year in table("all")["year"].to_pylist()) == 1
    run("embed", "d/**/*.csv", "-o", "some", *SMALL)
    assert ids("some") == [f"d/sub/t.csv:{row}" for row in range(1, 11)]
    run("embed", "d", "-o", "fewer", *SMALL, "--exclude", "*.csv", "--exclude", "*.txt")
    assert len(ids("fewer")) == 20


def test_memory_urls_through_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    root = f"/bulk-{os.getpid()}"
    memory.pipe(f"{root}/in/t.jsonl", forms()["t.jsonl"])
    options = textkin.BulkOptions(columns=("year",), shard_rows=4)
    places = [f"memory://{root.lstrip('/')}/in"], f"memory://{root.lstrip('/')}/out"
    report = textkin.embed_to_folder(*places, "hashing:16", options)
    assert (report.rows, report.complete, report.kept) == (10, True, 0)
    names = [path.rpartition("/")[2] for path in memory.ls(f"{root}/out", detail=False)]
    assert sum(name.startswith("part-") for name in names) == 3
    manifest = json.loads(memory.cat(f"{root}/out/_manifest.json"))
    assert (manifest["rows"], len(manifest["shards"])) == (10, 3)
    with pytest.raises(InputError, match="resume"):
        textkin.embed_to_folder(*places, "hashing:16", options)
    again = textkin.BulkOptions(columns=("year",), shard_rows=4, resume=True)
    assert textkin.embed_to_folder(*places, "hashing:16", again).kept == 10
    memory.rm(root, recursive=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_url_is_the_folder(run: Run, tmp_path: Path) -> None:
    run("embed", f"file://{tmp_path}/a.jsonl", "-o", f"file://{tmp_path}/out", *SMALL)
    assert len(ids("out")) == 10
    assert "10" in run("jobs", f"file://{tmp_path}/out").stdout
    kept = run("embed", f"file://{tmp_path}/a.jsonl", "-o", f"file://{tmp_path}/out", *SMALL, "--resume")
    assert "10 rows were complete before" in kept.stdout


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("-o", "out", "--rank", "1"), "--world"),
        (("-o", "out", "--world", "2"), "--rank"),
        (("-o", "out", "--rank", "2", "--world", "2"), "rank"),
        (("-o", "out", "--rank", "-1", "--world", "2"), "--rank"),
        (("-o", "out", "--address", "auto"), "--engine ray"),
        (("-o", "out", "--to", "x.kin"), "--to"),
        ((), "--to"),
        (("-o", "out", "--dtype", "float8"), "float16"),
        (("-o", "out", "--shard-rows", "0"), "--shard-rows"),
        (("-o", "out", "--dimensions", "0"), "--dimensions"),
        (("-o", "out", "--dimensions", "8"), "hashing:8"),
        (("-o", "out", "--dimensions", "17"), "16"),
        (("-o", "out", "--progress", "xml"), "json"),
        (("-o", "out", "--max-tokens", "-1"), "--max-tokens"),
        (("-o", "v.npy", "--dtype", "int8"), "--dtype"),
        (("-o", "v.npy", "--resume"), "--resume"),
        (("-o", "v.npy", "--column", "year"), "--column"),
        (("-o", "v.npy", "--shard-rows", "3"), "--shard-rows"),
        (("-o", "v.npy", "--strict"), "--strict"),
        (("-o", "v.npy", "--no-text"), "--no-text"),
        (("-o", "v.npy", "--max-text", "5"), "--max-text"),
        (("-o", "v.npy", "--engine", "ray"), "--engine"),
        (("--to", "x.kin", "--dtype", "int8"), "dtype"),
        (("--to", "x.kin", "--dimensions", "8"), "dimensions"),
        (("--to", "x.kin", "--no-text"), "text"),
        (("--to", "x.kin", "--rank", "0", "--world", "2"), "world"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(
    run: Run, args: tuple[str, ...], named: str
) -> None:
    assert named in run("embed", "a.jsonl", *MODEL, *args, code=2).stderr
    assert not any(path.suffix in {".npy", ".parquet"} for path in Path().rglob("*"))
    assert not Path("out/_manifest.json").exists()


def test_binary_needs_whole_bytes(run: Run) -> None:
    refused = run("embed", "a.jsonl", "-o", "out", "--model", "hashing:12", "--dtype", "binary", code=2)
    assert "12" in refused.stderr
    assert "int8" in refused.stderr


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_what_fewer_bytes_cost_is_told_and_stdout_stays_data(run: Run, kind: str) -> None:
    done = run("embed", "a.jsonl", "-o", "out", *SMALL, "--dtype", kind, "--json")
    report = json.loads(done.stdout)
    assert report["dtype"] == kind
    assert 0 <= report["fidelity"]["recall_at_10"]["value"] <= 1
    assert f"{kind}:" in done.stderr
    width = {"float16": (pa.float16(), 16), "int8": (pa.int8(), 16), "binary": (pa.uint8(), 2)}[kind]
    vector = table("out").schema.field("vector").type
    assert (vector.value_type, vector.list_size) == width
    assert run("embed", "a.jsonl", "-o", "out", *SMALL, "--dtype", kind, "--resume", "--json").exit_code == 0


def test_the_report_as_json_is_all_that_stdout_holds(run: Run) -> None:
    lines([*ROWS, {"id": "x", "text": None}, {"id": "r0", "text": "again"}, {"id": "y", "text": "w " * 3000}])
    done = run("embed", "a.jsonl", "-o", "out", *SMALL, "--id-column", "id", "--json")
    report = json.loads(done.stdout)
    told = ("rows", "rejected", "truncated", "duplicate_ids", "embedded", "from_ledger", "kept", "complete")
    assert [report[name] for name in told] == [12, 1, 1, 1, 12, 0, 0, True]
    assert report["duplicate_ids_first"] == ["r0"]
    assert report["rejects"] == "out/_rejects.jsonl"
    manifest = json.loads(Path("out/_manifest.json").read_text())
    assert [manifest[name] for name in ("rows", "rejected", "truncated", "duplicate_ids")] == [12, 1, 1, 1]
    assert manifest["fingerprint"] == report["fingerprint"]
    assert sum(shard["rows"] for shard in manifest["shards"]) == 12
    assert [row["truncated"] for row in table("out").to_pylist()] == [False] * 11 + [True]


@pytest.mark.parametrize("target", ["s.kin", "s.npy", "chroma:s", "lancedb:s", "qdrant:s"])
def test_a_store_of_every_kind_takes_them_and_the_second_run_embeds_nothing(run: Run, target: str) -> None:
    args = ("embed", "a.jsonl", "--to", target, *MODEL, *NAMED, "--json")
    first, second = (json.loads(run(*args).stdout) for _ in range(2))
    assert (first["rows"], first["embedded"], first["complete"]) == (10, 10, True)
    assert (second["rows"], second["kept"], second["embedded"], second["from_ledger"]) == (10, 10, 0, 0)
    lines([*ROWS[:9], {"id": "r9", "text": "another text", "year": 1}, {"id": "bad", "text": 5, "year": 1}])
    third = json.loads(run(*args).stdout)
    assert (third["kept"], third["embedded"], third["rejected"]) == (9, 1, 1)
    assert Path(third["rejects"]).is_file()
    shown = json.loads(run("show", target, "r9", "--json").stdout)[0]
    assert (shown["text"], shown["metadata"]) == ("another text", {"year": 1})
    wrong = run("embed", "a.jsonl", "--to", target, "--model", "hashing:32", code=7)
    assert "hashing:16" in wrong.stderr


def test_a_budget_ends_the_run_and_the_next_goes_on(run: Run) -> None:
    ended = run("embed", "a.jsonl", "-o", "out", *SMALL, "--max-tokens", "20", code=14)
    assert "20 tokens" in ended.stderr
    assert not Path("out/_manifest.json").exists()
    assert "BudgetError" in run("jobs", "out").stdout
    run("embed", "a.jsonl", "-o", "out", *SMALL, "--resume", "--max-tokens", "0", code=14)
    last = run("embed", "a.jsonl", "-o", "out", *SMALL, "--resume", "--max-tokens", "30", "--json")
    report = json.loads(last.stdout)
    assert report["embedded"] == 6
    assert report["spent"]["tokens"] == 30
    assert report["complete"]
    assert ids("out") == [f"a.jsonl:{row}" for row in range(1, 11)]


def test_jobs_lists_and_inspects(run: Run) -> None:
    assert run("jobs", "--json").stdout.strip() == "[]"
    run("embed", "a.jsonl", "-o", "done", *SMALL)
    run("embed", "a.jsonl", "-o", "ranks", *SMALL, "--rank", "1", "--world", "2")
    run("embed", "missing.jsonl", "-o", "failed", *SMALL, code=2)
    run("embed", "a.jsonl", "-o", "limited", *SMALL, "--no-ledger", "--max-tokens", "5", code=14)
    listed = [json.loads(line) for line in run("jobs", "--jsonl").stdout.splitlines()]
    states = {Path(job["place"]).name: job["state"] for job in listed}
    # What was refused before it did anything is no job.
    assert states == {"done": "complete", "ranks": "waiting", "limited": "failed"}
    one = json.loads(run("jobs", "done", "--verify", "--json").stdout)[0]
    assert (one["rows"], one["files"], one["rejected"], one["inputs"]) == (10, 4, 0, ["a.jsonl"])
    assert "every file" in one["checksums"]
    assert "BudgetError" in run("jobs", "limited").stdout
    assert "ranks" in run("jobs", "ranks").stdout
    assert [row["rows"] for row in csv.DictReader(io.StringIO(run("jobs", "done", "--csv").stdout))] == ["10"]
    for place in ("nothere", "failed/nothere"):
        assert "holds no job" in run("jobs", place, code=2).stderr
    run("jobs", "--verify", code=2)


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "textkin", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def long_job(run: Run) -> tuple[str, ...]:
    lines([{"text": f"text {n} about cats and {n % 97} dogs " * 10} for n in range(20_000)], "long.jsonl")
    return ("embed", "long.jsonl", "-o", "out", "--model", "hashing:64", "--shard-rows", "500")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_in_flight_and_says_how_to_go_on(
    run: Run, long_job: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    with held(*long_job, "--json", call="replace", below="out", nth=6) as here:
        job = here.process
        assert "running" in run("jobs", "out").stdout
        assert "another process" in run(*long_job, "--resume", code=9).stderr
        job.send_signal(number)
        here.release()
        out, err = job.communicate()
    assert job.returncode == code, err
    report = json.loads(out)
    assert (report["complete"], report["stopped"]) == (False, True)
    assert "--resume" in err
    assert "Traceback" not in err
    assert len(ids("out")) == report["rows"]
    assert "stopped" in run("jobs", "out").stdout


def test_progress_for_machines_is_json_lines_that_only_grow(long_job: tuple[str, ...]) -> None:
    with start(*long_job, "--json", "--progress", "json") as job:
        out, err = job.communicate()
    assert job.returncode == 0, err
    seen = [json.loads(line) for line in err.splitlines()]
    assert seen, "a job of some seconds said nothing"
    for name in ("rows", "seconds", "tokens", "tokens_spent", "shards", "embedded"):
        told = [line[name] for line in seen]
        assert told == sorted(told), name
    assert seen[-1]["rows"] <= json.loads(out)["rows"] == 20_000
    shares = [line["share"] for line in seen if line["share"] is not None]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_python_says_what_options_it_cannot_use(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"shard_rows": 0},
        {"threads": 0},
        {"world": 0},
        {"rank": -1},
        {"rank": 2, "world": 2},
        {"dtype": "float8"},
    ]
    for options in wrong:
        with pytest.raises(InputError):
            textkin.embed_to_folder(["a.jsonl"], tmp_path / "out", "hashing:16", textkin.BulkOptions(**options))
    assert not (tmp_path / "out").exists()
