"""textkin ledger: what is in it, and how it shrinks."""

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


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("add", "a.kin", "one", "two", "three", "--model", "hashing")
    run("add", "b.kin", "one", "--model", "hashing:64")


@pytest.mark.usefixtures("filled")
def test_show_names_what_each_model_takes() -> None:
    rows = json.loads(run("ledger", "show", "--json").stdout)
    assert {(row["dimensions"], row["texts"]) for row in rows} == {(256, 3), (64, 1)}
    assert run("ledger").stdout.splitlines()[0].split()[:3] == ["model", "dimensions", "texts"]
    assert "4 vectors" in run("ledger").stderr


@pytest.mark.usefixtures("filled")
def test_prune_forgets_what_was_chosen() -> None:
    rows = json.loads(run("ledger", "show", "--json").stdout)
    fingerprint = next(row["fingerprint"] for row in rows if row["dimensions"] == 64)
    assert json.loads(run("ledger", "prune", "--model", fingerprint[:8], "--json").stdout)["removed"] == 1
    assert json.loads(run("ledger", "prune", "--older-than", "1", "--json").stdout)["removed"] == 0
    assert json.loads(run("ledger", "prune", "--all", "--json").stdout) == {"removed": 3, "bytes": 0}
    again = json.loads(run("embed", "-", "--model", "hashing", "-o", "v", code=2).stdout or "{}")
    assert again == {}


@pytest.mark.usefixtures("filled")
def test_prune_must_be_told_what() -> None:
    run("ledger", "prune", code=2)
    run("ledger", "prune", "--all", "--older-than", "3", code=2)
    run("ledger", "prune", "--model", "no-such-model", code=2)


@pytest.mark.usefixtures("filled")
def test_limit_takes_sizes() -> None:
    assert "0 vectors removed" in run("ledger", "limit", "1.5GiB").stdout
    assert json.loads(run("ledger", "limit", "0MB", "--json").stdout)["removed"] == 4
    run("ledger", "limit", "none")
    for wrong in ("much", "5XB", ""):
        assert "no size" in run("ledger", "limit", wrong, code=2).stderr


def test_a_limit_needs_its_unit() -> None:
    refused = CliRunner().invoke(main, ["ledger", "limit", "5"])
    assert refused.exit_code == 2
    assert "5GB" in refused.output
    assert CliRunner().invoke(main, ["ledger", "limit", "5GB"]).exit_code == 0
    assert CliRunner().invoke(main, ["ledger", "limit", "0"]).exit_code == 0
