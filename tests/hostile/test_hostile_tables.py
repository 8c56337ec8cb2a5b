"""Files that are damaged in one place, or are not what their name says: the same answer from each command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs

MODEL = ("--model", "hashing")


class Told:
    """One call of `read_inputs` with everything that it told."""

    def __init__(self, *paths: str, **options: object) -> None:
        self.skipped: list[Skipped] = []
        self.notes: dict[str, str] = {}
        self.texts = {
            record.id: record.text
            for record in read_inputs(
                paths,
                options=ReadOptions(**options),  # type: ignore[arg-type]
                on_skip=self.skipped.append,
                on_note=self.notes.__setitem__,
            )
        }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(args))
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "# Größe\n\nnaïve café {}\n\nund so weiter\n"),
        ("a.html", "<p>Größe und\n\nnaïve café {}</p><p>weiter</p>\n"),
        ("a.py", '"""Größe, naïve\n\ncafé {} and so on."""\n'),
        ("a.txt", "Größe und\n\nnaïve café {} weiter"),
    ],
)
def test_a_document_with_a_bad_byte_stays_and_the_place_is_named(name: str, content: str) -> None:
    Path(name).write_bytes(content.encode().replace(b"{}", b"caf\xe9"))
    told = Told(name)
    assert "naïve café caf\ufffd" in " ".join(told.texts[name].split()) or "café caf\ufffd and" in told.texts[name]
    assert "Größe" in told.texts[name]
    assert "not UTF-8 in line 3" in told.notes[name]
    assert told.skipped == []


def test_a_document_in_another_encoding_is_still_guessed_and_said() -> None:
    Path("a.txt").write_bytes("Die Größe der Häuser im Süden".encode("cp1252"))
    told = Told("a.txt")
    assert told.texts == {"a.txt": "Die Größe der Häuser im Süden"}
    assert "guessed: cp1252" in told.notes["a.txt"]


@pytest.mark.parametrize(
    "command",
    [
        ("index", "t.csv", "--to", "n.kin", *MODEL),
        ("plan", "t.csv", *MODEL),
        ("duplicates", "t.csv", "--threshold", "0.9", *MODEL),
        ("embed", "t.csv", "-o", "v.npy", *MODEL),
        ("embed", "t.csv", "-o", "out/", "--verbose", *MODEL),
    ],
    ids=lambda command: " ".join(command[:4]),
)
def test_every_command_says_the_same_of_the_same_bytes(command: tuple[str, ...]) -> None:
    rows = "".join(f"{n},Größe {n}\n" for n in range(9)).encode()
    Path("t.csv").write_bytes(b"n,text\n" + rows + b"9,gr\xf6\xdfe\n")
    error = " ".join(run(*command).stderr.split())
    assert "10" in error
    assert "'text' is not UTF-8 (0xF6, 0xDF)" in error
    Path("t.csv").write_bytes("n,text\n1,Größe der Häuser\n".encode("cp1252"))
    command = tuple("out2/" if word == "out/" else word for word in command)
    assert "note: t.csv: it is not UTF-8; its encoding was guessed: cp1252" in run(*command).stderr
    Path("t.csv").write_text("1,a text\n2,another text\n")
    command = tuple("out3/" if word == "out2/" else word for word in command)
    assert "--header says otherwise" in run(*command).stderr


def test_header_options() -> None:
    Path("t.csv").write_text("It rained all day long\nThe sun was out again\n")
    error = run("index", "t.csv", "--to", "n.kin", *MODEL, code=2).stderr
    assert "--no-header" in error
    run("index", "t.csv", "--to", "n.kin", *MODEL, "--no-header")
    listed = [json.loads(line) for line in run("list", "n.kin", "--jsonl").stdout.splitlines()]
    assert [row["text"] for row in listed] == ["It rained all day long", "The sun was out again"]


def test_the_option_that_a_message_names_is_one_of_each_command() -> None:
    Path("t.jsonl").write_text('{"text": "' + "x" * 200 + '"}\n{"text": "a"}\n')
    for command in (
        ("index", "t.jsonl", "--to", "n.kin", *MODEL),
        ("plan", "t.jsonl", *MODEL),
        ("duplicates", "t.jsonl", "--threshold", "0.9", *MODEL),
        ("embed", "t.jsonl", "-o", "v.npy", *MODEL),
        ("embed", "t.jsonl", "-o", "out/", "--verbose", *MODEL),
    ):
        assert "--max-text" in run(*command, "--max-text", "100").stderr


def test_columns_of_one_name_and_of_none() -> None:
    Path("t.csv").write_text("id,text,text,\n1,a,b,7\n")
    with pytest.raises(Exception, match=r"'text' .*'text \(1\)', 'text \(2\)', 'column_4'"):
        Told("t.csv", text_column="text")
    assert Told("t.csv", text_column="text (2)").texts == {"t.csv:1": "b"}
    with pytest.raises(Exception, match="can't tell which column"):
        Told("t.csv")


LINES = [{"text": "a", "n": 1}, {"text": "b"}, {"text": "c"}]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", "\n".join(map(json.dumps, LINES))),
        ("t.json", " ".join(map(json.dumps, LINES))),
        ("t.json", "\n".join(json.dumps(row, indent=2) for row in LINES)),
        ("t.jsonl", json.dumps(LINES)),
        ("t.jsonl", json.dumps(LINES, indent=2)),
        ("t.jsonl", "[\n" + ",\n".join(map(json.dumps, LINES)) + "\n]"),
        ("t.jsonl", "\n".join(json.dumps(row, indent=2) for row in LINES)),
        ("t.ndjson", json.dumps({"rows": LINES}, indent=1)),
        ("t.json", "\ufeff" + json.dumps(LINES)),
        ("t.jsonl", "\ufeff" + "\r\n".join(map(json.dumps, LINES))),
    ],
)
def test_json_under_another_name(name: str, content: str, suffix: str) -> None:
    data = content.encode()
    Path(name + suffix).write_bytes(gzip.compress(data) if suffix else data)
    told = Told(name + suffix)
    assert list(told.texts.values()) == ["a", "b", "c"]
    assert told.skipped == []


def test_a_bad_line_of_json_lines_is_named_whatever_the_file_is_called() -> None:
    for name in ("t.json", "t.jsonl"):
        Path(name).write_text('{"text": "a"}\n{"text": "b"\n{"text": "c", "n": 1, "n": 2}\n{"text": "d"}\n')
        told = Told(name)
        assert list(told.texts) == [f"{name}:1", f"{name}:4"]
        assert [item.row for item in told.skipped] == [2, 3]
        assert "two values called 'n'" in told.skipped[1].reason


def test_one_object_is_a_record_when_its_text_is_named() -> None:
    Path("t.json").write_text('{"text": "a", "n": [1]}')
    with pytest.raises(Exception, match="no list of records"):
        Told("t.json")
    assert list(Told("t.json", text_column="text").texts.values()) == ["a"]
