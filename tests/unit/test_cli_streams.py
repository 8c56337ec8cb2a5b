"""The command with standard streams that are closed, full, broken, folders, or of an encoding that lacks signs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from textkin.cli.main import COMMANDS
from textkin.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors as POSIX shells do")
# Every command, with tiny work.
ARGUMENTS = {
    "demo": "demo --help",
    "index": "index u.csv --to new.kin --model hashing",
    "add": "add x.kin text",
    "search": "search x.kin alpha",
    "similar": "similar x.kin u.csv:1",
    "duplicates": "duplicates u.csv --model hashing -o kept.csv --audit audit.jsonl",
    "calibrate": "calibrate x.kin --copies 0 --plot plot.svg",
    "clusters": "clusters --help",  # all else takes scikit-learn two seconds
    "outliers": "outliers x.kin",
    "list": "list x.kin --csv",
    "show": "show x.kin u.csv:1",
    "remove": "remove x.kin u.csv:2 --yes",
    "info": "info x.kin --json",
    "export": "export x.kin copy.npy",
    "import": "import x.kin copy.kin",
    "plan": "plan u.csv --model hashing",
    "embed": "embed u.csv -o e.npy --model hashing",
    "jobs": "jobs",
    "models": "models where",
    "ledger": "ledger",
    "doctor": "doctor",
}
# One process for all commands: each is a child of it that closes a stream before the command begins.
SCRIPT = """
import json, os, sys, tempfile
import textkin.cli.main, textkin.collection, textkin.jobs.plan, textkin.cli.checks
closed, commands = int(sys.argv[1]), json.loads(sys.argv[2])
for name, line in commands.items():
    told = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        for number in (1, 2):
            os.dup2(told.fileno(), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.close(closed)
        setattr(sys, ("stdin", "stdout", "stderr")[closed], None)
        try:
            textkin.cli.main.main(line.split(), prog_name="textkin")
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told.seek(0)
    os.write(3, json.dumps([name, code, told.read().decode()]).encode() + b"\\n")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"alpha text {number**3} of {number},{number}\n" for number in range(60))
    Path("u.csv").write_text(f"text,n\n{rows}")
    run("index u.csv --to x.kin --model hashing")
    return tmp_path


def run(line: str, code: int = 0, shell: str = "") -> str:
    """Run a command with redirections that a shell makes; what it says on both streams."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m textkin {line} {shell}', sys.executable],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_every_command_is_here() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_every_command_with_a_closed_stream(place: Path, closed: int) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    line = [sys.executable, "-c", SCRIPT.replace("os.write(3", f"os.write({write}"), str(closed)]
    with subprocess.Popen([*line, json.dumps(ARGUMENTS)], pass_fds=[write]) as process:
        os.close(write)
        with os.fdopen(read) as told:
            ends = {name: (code, said) for name, code, said in map(json.loads, told)}
    assert process.returncode == 0
    assert set(ends) == set(ARGUMENTS)
    for name, (code, said) in ends.items():
        assert "Traceback" not in said, said
        answers = name in ("search", "similar", "duplicates", "calibrate", "outliers", "list", "show")
        if closed == 1 and (answers or name in ("info", "jobs", "plan", "ledger")):
            assert (code, "standard output is closed" in said) == (2, True), (name, said)
        else:
            assert code in (0, 1) if name == "doctor" else code == 0, (name, code, said)
    for made in ("new.kin", "kept.csv", "audit.jsonl", "plot.svg", "copy.npy", "copy.kin", "e.npy"):
        assert Path(made).exists(), made
    assert run("doctor new.kin --json", code=0 if ends["doctor"][0] == 0 else 1)
    assert Path("kept.csv").read_text().startswith("text,n\nalpha text 0 of 0,0\n")


@pytest.mark.parametrize(
    "line",
    ["index - --to x.kin", "add x.kin", "embed - -o e.npy --model hashing", "embed - -o OUT --model hashing"],
)
@pytest.mark.parametrize("shell", ["<&-", "0> nothing"])
def test_what_is_no_input_is_said(place: Path, line: str, shell: str) -> None:
    assert "error: " in run(line, 2, shell)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_full_streams(place: Path) -> None:
    assert "error: no room left" in run("--help", 10, "> /dev/full")
    run("index u.csv --to y.kin --model hashing --verbose", 0, "2> /dev/full")
    run("search x.kin", 2, "2> /dev/full")
    assert "standard output is closed" in run("list x.kin", 2, "1< u.csv")


def test_readers_that_have_gone(place: Path) -> None:
    run("list x.kin", 141, "| true; exit ${PIPESTATUS:-141}")
    run("duplicates u.csv --model hashing -o kept.csv", 0, "2>&1 >/dev/null | true")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_any_encoding(place: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    text = "naïve 漢字 🙂 …"
    Path("w.txt").write_text(text, encoding="utf-8")
    run("index w.txt --to y.kin --model hashing")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for form in ("", "--jsonl"):
        line = [sys.executable, "-m", "textkin", "list", "y.kin", *form.split()]
        done = subprocess.run(line, capture_output=True, check=True)
        assert done.stderr == b""
    assert json.loads(done.stdout)["text"] == text


def test_the_library_without_stderr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import textkin

    closed = (tmp_path / "closed").open("w")
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        assert textkin.load_model("hashing").encode(["a"], show_progress_bar=True).shape == (1, 256)
        textkin.Collection(tmp_path / "n.kin", "hashing").add(["a"], progress=True)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        textkin.Collection(tmp_path / "n.kin", "hashing").add_files("-")
