"""textkin as a process: the main flow, pipes that close, plain locales, what is imported, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from held import PATIENCE, held

TEXTKIN = (sys.executable, "-W", "error", "-m", "textkin")


def textkin(
    *args: str, code: int = 0, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TEXTKIN, *args],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_main_flow_says_nothing_but_its_answer(place: Path) -> None:
    (place / "a.md").write_text("Refunds take five days.")
    (place / "b.md").write_text("We are open from nine to five.")
    textkin("index", "a.md", "b.md", "--to", "n.kin", "--model", "hashing")
    again = textkin("index", "a.md", "b.md", "--to", "n.kin")
    assert "0 records added, 0 changed, 2 unchanged, 0 removed" in again.stdout
    assert again.stderr == ""
    hits = textkin("search", "n.kin", "when are you open", "--json")
    assert [hit["id"] for hit in json.loads(hits.stdout)] == ["b.md", "a.md"]
    assert hits.stderr == ""
    assert textkin("duplicates", "n.kin", "--json").stdout
    assert textkin("--version").stdout.startswith("textkin ")


def test_a_closed_pipe_ends_quietly(place: Path) -> None:
    lines = "".join(f"text number {number} of many\n" for number in range(3000))
    textkin("add", "n.kin", "--model", "hashing", stdin=lines)
    for form in ("--jsonl", "--csv", "--json"):
        with subprocess.Popen(
            [*TEXTKIN, "list", "n.kin", "--limit", "0", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as reader:
            assert reader.stdout is not None
            assert reader.stderr is not None
            reader.stdout.readline()
            reader.stdout.close()
            assert reader.stderr.read() == b""
        assert reader.returncode == 141


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_plain_locale_is_no_obstacle(place: Path, locale: dict[str, str]) -> None:
    (place / "ü.md").write_text("Größe, 漢字, 🙂 and the rest", encoding="utf-8")
    textkin("index", "ü.md", "--to", "n.kin", "--model", "hashing", env=locale)
    textkin("list", "n.kin", env=locale)
    textkin("show", "n.kin", "missing ü", code=3, env=locale)
    textkin(
        "add", "n.kin", "Größe", "--id", "ö", "--meta", "Länge=ä", "--meta-json", '{"straße": "ß"}', env=locale
    )
    where = "`Länge` = 'ä' and straße = 'ß'"
    found = json.loads(textkin("search", "n.kin", "Größe", "--where", where, "--json", env=locale).stdout)
    assert [(hit["id"], hit["text"], hit["metadata"]) for hit in found] == [
        ("ö", "Größe", {"Länge": "ä", "straße": "ß"})
    ]
    assert found[0]["score"] == pytest.approx(1)
    textkin("show", "n.kin", "ö", env=locale)
    assert "2 records removed" in textkin("remove", "n.kin", "ö", "ü.md", env=locale).stdout


def test_a_warning_is_one_plain_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    textkin("add", "n.kin", "a text", "--model", "hashing")
    (place / "data").mkdir()
    (place / "data" / "ledger.db").write_bytes(b"no database at all, but long enough" * 10)
    monkeypatch.setenv("TEXTKIN_DATA", str(place / "data"))
    done = subprocess.run(
        [sys.executable, "-m", "textkin", "search", "n.kin", "a text", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)) == 1
    assert done.stderr.startswith("warning: the query was embedded without the ledger: ")
    assert done.stderr.count("\n") == 1


def test_an_ascii_terminal_gets_escapes(place: Path) -> None:
    textkin("add", "n.kin", "漢字 " * 100, "--id", "a", "--model", "hashing")
    shown = textkin("list", "n.kin", env={"PYTHONIOENCODING": "ascii"}).stdout
    assert shown.splitlines()[1].startswith("a")
    assert shown.splitlines()[1].endswith("...")


@pytest.mark.parametrize("command", [("list", "n.kin"), ("similar", "n.kin", "a"), ("search", "n.kin", "words")])
def test_a_command_loads_only_what_it_needs(place: Path, command: tuple[str, ...]) -> None:
    textkin("add", "n.kin", "some words", "--id", "a", "--model", "hashing")
    code = (
        "import sys, atexit\n"
        "from textkin.cli.main import main\n"
        "atexit.register(lambda: print(*sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr))\n"
        f"main({list(command)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "onnxruntime",
        "onnx",
        "tokenizers",
        "huggingface_hub",
        "pyarrow",
        "sklearn",
        "torch",
        "requests",
        "httpx",
    }
    assert heavy.isdisjoint(done.stderr.split())


def test_help_loads_no_numpy() -> None:
    call = "main(['--help'], standalone_mode=False)"
    code = f"import sys; from textkin.cli.main import main; {call}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "apsw", "rich"}.isdisjoint(done.stdout.split())


def test_progress_is_silent_when_stderr_is_no_terminal(place: Path) -> None:
    done = textkin("add", "n.kin", "--model", "hashing", stdin="one\ntwo\n")
    assert done.stderr == ""


@pytest.mark.parametrize("no_ledger", [["--no-ledger"], []])
def test_interrupting_keeps_what_was_stored_and_the_same_command_goes_on(
    place: Path, no_ledger: list[str]
) -> None:
    total = 3_000
    lines = "".join(json.dumps({"text": f"text {n} " + "words " * 40}) + "\n" for n in range(total))
    (place / "many.jsonl").write_text(lines)
    args = ["index", "many.jsonl", "--to", "n.kin", "--model", "hashing", *no_ledger]
    with held(*args, call="upsert", below=place, nth=2) as here:
        here.process.send_signal(signal.SIGINT)
        _, errors = here.process.communicate(timeout=PATIENCE)
    assert here.process.returncode == 130
    assert "Traceback" not in errors
    assert "are stored in n.kin" in errors
    assert ("vectors made for further texts are in the ledger" in errors) == (not no_ledger)
    stored = json.loads(textkin("info", "n.kin", "--json").stdout)["records"]
    assert f"{stored:,} record" in errors
    assert 0 < stored < total
    rest = json.loads(textkin("index", "many.jsonl", "--to", "n.kin", *no_ledger, "--json").stdout)
    assert rest["unchanged"] == stored
    assert rest["added"] == total - stored


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_output_that_finds_no_room_is_an_error(place: Path, form: list[str]) -> None:
    textkin("add", "n.kin", "a text", "--model", "hashing")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*TEXTKIN, "list", "n.kin", *form], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 10
    assert done.stderr.startswith("error: no room left")
    assert "Traceback" not in done.stderr
