"""Homes that can't be written, or aren't there: reading works, embedding says the cures, nothing empty stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rights import give_up_rights
from textkin.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
READING = (
    "list x.kin",
    "show x.kin u.csv:1",
    "info x.kin",
    "search x.kin text",
    "similar x.kin u.csv:1",
    "similar x.kin --text text",
    "duplicates x.kin",
    "outliers x.kin",
    "plan u.csv --model hashing",
    "models",
    "models where",
    "doctor",
    "ledger",
    "jobs",
    "index u.csv --to x.kin",
    "export x.kin copy.npy",
)
EMBEDDING = (
    "index u.csv --to new.kin --model hashing",
    "add new.kin text --model hashing",
    "add x.kin another",
    "duplicates u.csv --model hashing",
    "duplicates u.csv --against x.kin",
    "calibrate u.csv --model hashing",
    "embed u.csv -o new.npy --model hashing",
    "embed u.csv -o NEW --model hashing",
    "embed u.csv --to new.kin --model hashing",
)
# Each command in a child of one process; a word of what it is to say, or nothing where it is to work.
SCRIPT = """
import os, sys, tempfile
import textkin.cli.main, textkin.collection, textkin.jobs.plan
for line in sys.argv[1:]:
    told = tempfile.TemporaryFile(dir=".")
    child = os.fork()
    if child == 0:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
        try:
            textkin.cli.main.main(line.split(), prog_name="textkin")
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told.seek(0)
    print(code, " ".join(told.read().decode().split()), flush=True)
"""


def run(*lines: str) -> list[tuple[int, str]]:
    """Exit code and output of each, in a process that has no more rights than its user's."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *lines],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=give_up_rights,
    )
    ends = [line.partition(" ") for line in done.stdout.splitlines()]
    assert len(ends) == len(lines), done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return [(int(code), told) for code, _, told in ends]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"alpha text {number**3} of {number},{number}\n" for number in range(60))
    Path("u.csv").write_text(f"text,n\n{rows}")
    assert run("index u.csv --to x.kin --model hashing")[0][0] == 0
    for variable in ("TEXTKIN_DATA", "TEXTKIN_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


SELDOM = [pytest.param(name, marks=pytest.mark.slow) for name in ("shut", "missing", "a file")]


@pytest.fixture(params=["read-only", "no right to write the ledger", *SELDOM])
def home(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = place / "home" / "user"
    home.parent.mkdir()
    if request.param == "a file":
        home.write_text("not a folder")
    elif request.param != "missing":
        home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    if request.param.startswith("no right"):
        monkeypatch.setenv("TEXTKIN_DATA", str(home))
        assert run("index u.csv --to other.kin --model hashing:64")[0][0] == 0
        for file in home.iterdir():
            file.chmod(0o400)
        assert (home / "ledger.db").exists()
    home.parent.chmod(0o500)
    if home.is_dir():
        home.chmod(0 if request.param == "shut" else 0o500)
    yield home
    if home.is_dir():
        home.chmod(0o700)
    home.parent.chmod(0o700)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith("tmp"))


def test_reading_needs_no_home(home: Path, place: Path) -> None:
    for line, (code, told) in zip(READING, run(*READING), strict=True):
        if line == "models" and code:
            assert "can't be read" in told
        elif line == "doctor":
            assert code == 0 or "TEXTKIN_" in told, told
        elif line == "jobs" and code:
            assert "can't be read" in told
        else:
            assert code == 0, (line, told)


def test_embedding_says_what_to_do_and_leaves_nothing(home: Path, place: Path) -> None:
    before = names(place)
    for line, (code, told) in zip(EMBEDDING, run(*EMBEDDING), strict=True):
        assert code == 8, (line, told)
        assert "TEXTKIN_DATA" in told, (line, told)
        assert "--no-ledger" in told or "--to" in line, (line, told)  # its rejects lie there, too
    assert names(place) == before


def test_embedding_works_without_the_ledger(home: Path, place: Path) -> None:
    lines = [f"{line} --no-ledger".replace("new", f"new{number}") for number, line in enumerate(EMBEDDING)]
    for line, (code, told) in zip(lines, run(*lines), strict=True):
        assert code == 0 or ("embed" in line and "--to" in line and "TEXTKIN_DATA" in told), (line, told)


def test_every_command_that_takes_a_model_can_do_without_the_ledger() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        if "--model" in options:
            assert "--no-ledger" in options, name


def test_databases_that_can_not_be_written(place: Path) -> None:
    stores = {
        "qdrant": "qdrant:q",
        "chroma": "chroma:c",
        "lancedb": "lancedb:l",
        "array": "a/v.npy",
        "folder": "y.kin",
    }
    Path("a").mkdir()
    for code, told in run(*(f"export x.kin {url}" for url in stores.values())):
        assert code == 0, told
    inside = [item for name in ("q", "c", "l", "a", "y.kin") for item in (Path(name), *Path(name).rglob("*"))]
    for item in inside:
        item.chmod(0o500 if item.is_dir() else 0o400)
    lines = [f"{what}" for url in stores.values() for what in (f"list {url}", f"add {url} more --no-ledger")]
    ends = dict(zip(lines, run(*lines), strict=True))
    for item in inside:
        if item.is_dir():
            item.chmod(0o700)
    for url in stores.values():
        code, told = ends[f"list {url}"]
        refused = url in ("qdrant:q", "chroma:c")
        assert code == (8 if refused else 0), told
        assert not refused or "copy " in told
        code, told = ends[f"add {url} more --no-ledger"]
        assert code == 8, told
        assert "read-only" in told


def test_places_that_can_not_be_entered(place: Path) -> None:
    Path("shut").mkdir(mode=0)
    lines = (
        "list shut/x.kin",
        "list shut/v.npy",
        "duplicates shut",
        "duplicates u.csv --against shut/x.kin --no-ledger",
        "index shut --to new.kin --model hashing --no-ledger",
        "embed u.csv -o shut/e.npy --model hashing --no-ledger",
        "embed u.csv -o shut/e --model hashing --no-ledger",
        "import shut/OUT new.kin",
        f"list {'n' * 300}.kin",
    )
    for line, (code, told) in zip(lines, run(*lines), strict=True):
        assert code in (2, 8), (line, told)
        assert "shut" in told or "nnn" in told
    assert not Path("new.kin").exists()
