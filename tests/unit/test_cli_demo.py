"""textkin demo on a few texts (the whole of it runs with the published weights in the slow tests)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from textkin.cli import demo
from textkin.cli.main import main
from textkin.text import pydocs
from textkin.types import Record

DOCS = {
    "csv.reader": "Read rows from a file of comma separated values.",
    "shutil.copy": "Copy data and mode bits.",
    "shutil.copy2": "Copy data and mode bits. ",
    "shutil.copyfile": "Copy data from one file to another.",
}


def few() -> Iterator[Record]:
    for name, doc in DOCS.items():
        yield Record(id=name, text=f"{name}\n{doc}", metadata={"kind": "function"})


def test_it_says_what_it_did_and_embeds_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pydocs, "python_documentation", few)
    first = CliRunner().invoke(main, ["demo", "--model", "hashing"])
    assert first.exit_code == 0, first.output
    assert "4 records added" in first.stdout
    assert "4 texts embedded now" in first.stdout
    for query in demo._QUERIES:
        assert f"search {query!r}" in first.stdout
    assert "similar to shutil.copy\n" in first.stdout
    assert "none missed" in first.stdout
    assert "search notes.kin" in first.stdout
    second = CliRunner().invoke(main, ["demo", "--model", "hashing"])
    assert "0 records added, 0 changed, 4 unchanged, 0 removed" in second.stdout
    assert "0 texts embedded now" in second.stdout


def test_the_program_is_named_so_that_it_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".venv" / "bin" / "textkin"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert demo._program() == ".venv/bin/textkin"
    monkeypatch.setenv("PATH", str(program.parent))
    assert demo._program() == "textkin"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(program.parent)
    assert demo._program() == "./textkin"
    monkeypatch.setattr(sys, "argv", ["/x/textkin/__main__.py"])
    assert demo._program() == f"{sys.executable} -m textkin"


@pytest.mark.slow
@pytest.mark.usefixtures("real_cache")
def test_the_demo_finds_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["demo"])
    assert done.exit_code == 0, done.output
    answers = done.stdout.partition("search 'read a spreadsheet exported as text'\n")[2].split("\n\n")[0]
    assert "csv." in answers
    again = CliRunner().invoke(main, ["demo"])
    assert "0 texts embedded now" in again.stdout
