"""textkin jobs: the list, one job, its checksums, and forgetting it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from textkin._places import data_folder
from textkin.cli.main import main
from textkin.jobs.bulk.place import LocalPlace
from textkin.jobs.bulk.registry import registered

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")


def run(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(args))
    assert done.exit_code == code, done.output
    return done


def facts(*args: str) -> dict[str, Any]:
    (found,) = json.loads(run("jobs", *args, "--json").stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps({"id": f"r{n}", "text": f"text {n}"}) + "\n" for n in range(30))
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_a_folder(tmp_path: Path) -> None:
    run("embed", "a.jsonl", "-o", "out", "--model", "hashing")
    (row,) = json.loads(run("jobs", "--json").stdout)
    assert (row["state"], row["rows"], row["place"]) == ("complete", 30, str(tmp_path / "out"))
    for address in ("out", "out/", (tmp_path / "out").as_uri()):
        found = facts(address, "--verify")
        assert (found["state"], found["rows"]) == ("complete", 30)
        assert found["checksums"] == "every file is as it was written"
    shard = next((tmp_path / "out").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[::-1])
    assert "was changed" in run("jobs", (tmp_path / "out").as_uri(), "--verify", code=8).stderr


def test_an_object_store(memory: Any) -> None:
    run("embed", "a.jsonl", "-o", "memory://bucket/out/", "--model", "hashing")
    found = facts("memory://bucket/out", "--verify")
    assert (found["place"], found["state"], found["rows"]) == ("memory://bucket/out", "complete", 30)
    assert "checksums" in found
    name = next(path for path in memory.store if path.endswith(".parquet"))
    memory.pipe_file(name, bytes(len(memory.cat_file(name))))
    assert "was changed" in run("jobs", "memory://bucket/out", "--verify", code=8).stderr
    run("jobs", "https://host/out", code=2)


@pytest.mark.parametrize("target", ["notes.kin", "notes.npy"])
def test_a_collection(target: str) -> None:
    run("embed", "a.jsonl", "--to", target, "--model", "hashing")
    (row,) = json.loads(run("jobs", "--json").stdout)
    assert row["rows"] == 30
    found = facts(target)
    assert (found["state"], found["rows"], found["model"]) == ("complete", 30, "hashing")
    assert "nothing to verify" in run("jobs", target, "--verify", code=2).stderr


def test_a_database_is_found_without_its_password() -> None:
    with registered("postgresql://me:***@host/db", ["a.jsonl"], "hashing") as job:
        job.ended = "complete"
    found = facts("postgresql://me:geheim@host/db")
    assert (found["state"], found["place"]) == ("complete", "postgresql://me:***@host/db")
    unknown = run("jobs", "postgresql://me:geheim@other/db", code=2)
    assert "holds no job" in unknown.stderr
    assert "geheim" not in unknown.output


def test_a_file_is_no_output() -> None:
    for command in (["jobs", "a.jsonl"], ["embed", "a.jsonl", "-o", "a.jsonl", "--model", "hashing"]):
        assert "a.jsonl is a file; the output of a bulk job is a folder" in run(*command, code=2).stderr


def test_the_state_of_several_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = LocalPlace(tmp_path / "out")
    place.folder.mkdir()
    for rank, ended in ((0, "other ranks are not done"), (1, "complete")):
        with registered(place, [], "hashing", rank=rank) as job:
            job.tell({"rows": 10})
            job.ended = ended
    assert facts("out")["state"] == "complete"
    assert facts("out")["rows"] == 20
    with registered(place, [], "hashing", rank=0) as job:
        assert facts("out")["state"] == "running"
        job.ended = "stopped"
    assert facts("out")["state"] == "stopped"
    (path,) = (data_folder() / "jobs").glob("*/entry-1.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"ended": None, "host": "elsewhere"}))
    assert facts("out")["state"] == "unknown"
    assert "can only be seen on" in run("jobs", "out").stdout


def test_forgetting() -> None:
    run("embed", "a.jsonl", "-o", "out", "--model", "hashing")
    assert "no longer in the list" in run("jobs", "out", "--forget").stdout
    assert json.loads(run("jobs", "--json").stdout) == []
    assert facts("out")["state"] == "complete"
    assert "holds no job" in run("jobs", "none", "--forget", code=2).stderr
    run("jobs", "--forget", code=2)
    run("jobs", "--verify", code=2)
    run("jobs", "out", "--forget", "--verify", code=2)
