"""textkin doctor: what is in order, what is broken, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main


def run(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(args))
    assert done.exit_code == code, done.output
    return done


def states(done: Result) -> dict[str, str]:
    return {finding["name"]: finding["state"] for finding in json.loads(done.stdout)["findings"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run("add", "n.kin", "one", "two", "--model", "hashing")
    return tmp_path


def test_a_healthy_machine(place: Path) -> None:
    found = states(run("doctor", "n.kin", "--json"))
    assert "broken" not in found.values()
    assert {"pyarrow", "scikit-learn", "sentence-transformers"} <= set(found)
    assert {"python", "sqlite", "cache", "data", "ledger", "collection", "its model"} <= set(found)
    assert run("doctor").stdout.endswith("All in order.\n")


def test_a_damaged_collection_is_broken_with_a_cure(place: Path) -> None:
    database = place / "n.kin" / "collection.db"
    data = bytearray(database.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    database.write_bytes(data)
    for rest in place.glob("n.kin/collection.db-*"):
        rest.unlink()
    done = run("doctor", "n.kin", "--json", code=1)
    assert states(done)["collection"] == "broken"
    assert all(finding["cure"] for finding in json.loads(done.stdout)["findings"] if finding["state"] == "broken")


def test_a_missing_collection_is_broken(place: Path) -> None:
    assert states(run("doctor", "none.kin", "--json", code=1))["collection"] == "broken"


def test_a_damaged_ledger_is_broken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "data").mkdir()
    (place / "data" / "ledger.db").write_bytes(b"no database at all, but long enough" * 10)
    monkeypatch.setenv("TEXTKIN_DATA", str(place / "data"))
    done = run("doctor", code=1)
    assert "BROKEN ledger" in done.stdout
    assert "1 broken" in done.stdout


def test_a_place_that_can_not_be_written_is_broken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").write_text("in the way")
    monkeypatch.setenv("TEXTKIN_CACHE", str(place / "file" / "cache"))
    assert states(run("doctor", "--json", code=1))["cache"] == "broken"
