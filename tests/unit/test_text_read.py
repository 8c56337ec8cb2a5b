"""`read_inputs`: what becomes a record, what is named instead, and what is an error."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import pytest

from textkin.errors import FileReadError, InputError
from textkin.text.options import ReadOptions, Skipped, Unread
from textkin.text.read import read_inputs
from textkin.types import Record


class Run:
    """One call of `read_inputs` with everything that it told."""

    def __init__(self, *paths: str | Path, stdin: bytes | None = None, **options: object) -> None:
        self.skipped: list[Skipped] = []
        self.notes: list[tuple[str, str]] = []
        self.records: list[Record] = list(
            read_inputs(
                paths,
                options=ReadOptions(**options),  # type: ignore[arg-type]
                on_skip=self.skipped.append,
                on_note=lambda path, what: self.notes.append((path, what)),
                stdin=None if stdin is None else io.BytesIO(stdin),
            )
        )

    @property
    def texts(self) -> dict[str, str]:
        return {record.id: record.text for record in self.records}

    @property
    def why(self) -> dict[str, str]:
        return {item.path if item.row is None else f"{item.path}:{item.row}": item.reason for item in self.skipped}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_one_record(here: Path) -> None:
    Path("d").mkdir()
    Path("d/a.MD").write_bytes(b"# Title\r\n\r\nBody\r\n")
    assert Run("./d/a.MD").records == [
        Record("d/a.MD", "# Title\n\nBody\n", {"suffix": "md"}, f"{here.as_posix()}/d/a.MD")
    ]


def unread(*failed: Skipped) -> Unread:
    noted = Unread()
    for one in failed:
        noted.add(one)
    return noted


def test_a_folder_gives_what_can_be_read_and_names_the_rest() -> None:
    Path("d").mkdir()
    Path("d/README").write_text("no suffix")
    Path("d/p.html").write_text("<title>T</title><p>B")
    Path("d/empty.txt").write_text(" \n")
    Path("d/fake.txt").write_bytes(b"ab\0c")
    Path("d/late.txt").write_bytes(b"a" * 10_000 + b"\0")
    Path("d/i.png").write_bytes(b"\x89PNG")
    Path("d/doc.pdf").write_bytes(b"%PDF")
    Path("d/x.weird").write_text("text")
    Path("d/big.txt").write_text("x" * 101_000)
    Path("d/old.txt").write_bytes("café".encode("cp1252"))
    Path("d/package.json").write_text('{"name": "p", "files": []}')
    Path("d/numbers.csv").write_text("a,b\n1,2\n")
    run = Run("d", max_text=20_000)
    assert run.texts == {"d/README": "no suffix", "d/old.txt": "café", "d/p.html": "T\n\nB"}
    assert [(path, "cp1252" in what) for path, what in run.notes] == [("d/old.txt", True)]
    never = {item.path for item in run.skipped if item.kind == "skipped"}
    assert never == {"d/empty.txt", "d/i.png", "d/doc.pdf", "d/x.weird"}
    for path, part in {
        "d/empty.txt": "no text",
        "d/fake.txt": "NUL",
        "d/late.txt": "NUL",
        "d/i.png": "image",
        "d/doc.pdf": "PDF",
        "d/x.weird": "--include '*.weird'",
        "d/big.txt": "101,000",
        "d/package.json": "no list of records",
        "d/numbers.csv": "--text-column",
    }.items():
        assert part in run.why[path]
    assert run.records[0].metadata == {}


def test_named_files_that_cannot_be_read_are_errors() -> None:
    Path("i.png").write_bytes(b"\x89PNG")
    Path("b.txt").write_bytes(b"\0\1\2")
    Path("n.csv").write_text("a,b\n1,2\n")
    Path("bad.json").write_text("{")
    Path("odd.weird").write_text("fine")
    for name, error in (
        ("i.png", InputError),
        ("b.txt", FileReadError),
        ("n.csv", InputError),
        ("bad.json", FileReadError),
    ):
        with pytest.raises(error, match=name):
            Run(name)
    assert Run("odd.weird").texts == {"odd.weird": "fine"}


def test_arguments_are_checked_before_anything_is_read() -> None:
    Path("a.txt").write_text("a")
    for bad in ("missing.txt", "*.nothing", "nowhere/**"):
        with pytest.raises(InputError, match=r"missing|nothing|nowhere"):
            read_inputs(["a.txt", bad])
    with pytest.raises(InputError, match="stdin"):
        read_inputs(["-", "-"])
    with pytest.raises(InputError, match="encoding"):
        read_inputs(["a.txt"], options=ReadOptions(encoding="klingon"))
    with pytest.raises(InputError, match="both"):
        read_inputs(["a.txt"], options=ReadOptions(text_column="a", id_column="a"))


def test_a_file_found_twice_is_read_once() -> None:
    Path("d").mkdir()
    Path("d/a.txt").write_text("a")
    Path("d/b.txt").write_text("b")
    run = Run("d/b.txt", "d", "d/*.txt", str(Path("d/a.txt").absolute()))
    assert [record.id for record in run.records] == ["d/b.txt", "d/a.txt"]


def test_included_suffix_is_read_as_text() -> None:
    Path("d").mkdir()
    Path("d/x.weird").write_text("text")
    assert Run("d", include=("*.weird",)).texts == {"d/x.weird": "text"}


def test_csv_rows() -> None:
    Path("t.csv").write_text('id,Text,stars\nb7,"two\nlines",5\n007,x,\n', encoding="utf-8-sig")
    plain = Run("t.csv")
    assert plain.texts == {"t.csv:1": "two\nlines", "t.csv:2": "x"}
    assert plain.records[1].metadata == {"id": "007", "stars": None}
    assert [record.id for record in Run("t.csv", id_column="id").records] == ["b7", "007"]
    assert Run("t.csv", text_column=("Text", "stars")).texts["t.csv:1"] == "two\nlines\n5"


@pytest.mark.parametrize("rows", ["1,a\n1,b\n", "1,a\n,b\n", "1,a\n  ,b\n"])
def test_bad_ids_end_the_run(rows: str) -> None:
    Path("d").mkdir()
    Path("d/t.csv").write_text(f"key,text\n{rows}")
    for path in ("d/t.csv", "d"):
        with pytest.raises(InputError, match=r"d/t\.csv, row 2: .*'key'"):
            Run(path, id_column="key")


def test_ids_are_unique_across_tables() -> None:
    Path("a.csv").write_text("key,text\n1,a\n")
    Path("b.jsonl").write_text('{"key": 1, "text": "b"}\n')
    with pytest.raises(InputError, match="used before"):
        Run("a.csv", "b.jsonl", id_column="key")


def test_missing_columns_are_listed() -> None:
    Path("t.csv").write_text("alpha,beta\nx,y\n")
    with pytest.raises(InputError, match=r"--text-column.*'alpha', 'beta'"):
        Run("t.csv")
    with pytest.raises(InputError, match="no column 'gamma'"):
        Run("t.csv", text_column="gamma")
    with pytest.raises(InputError, match=r"no column 'gamma' \(--id-column\)"):
        Run("t.csv", text_column="alpha", id_column="gamma")
    assert Run("t.csv", text_column="ALPHA").texts == {"t.csv:1": "x"}


def test_jsonl_goes_on_after_a_bad_line() -> None:
    lines = [
        b'{"text": "a", "n": 1.5, "tags": ["x"], "nan": NaN}',
        b"{bad",
        b"",
        b'{"text": null}',
        b'{"text": "\xff"}',
        b'"plain"',
        b"7",
        b'{"text": 12}',
        b'{"text": {"deep": 1}}',
        b'{"text": "\\ud800!"}',
    ]
    Path("t.jsonl").write_bytes(b"\n".join(lines))
    run = Run("t.jsonl")
    assert run.texts == {"t.jsonl:1": "a", "t.jsonl:6": "plain", "t.jsonl:8": "12", "t.jsonl:10": "\ufffd!"}
    assert run.records[0].metadata == {"n": 1.5, "tags": ["x"], "nan": None}
    assert sorted(run.why) == ["t.jsonl:2", "t.jsonl:4", "t.jsonl:5", "t.jsonl:7", "t.jsonl:9"]


@pytest.mark.parametrize(
    "content",
    ['[{"text": "a"}, {"text": "b"}]', '["a", "b"]', '{"v": 1, "rows": [{"text": "a"}, {"text": "b"}], "x": [1]}'],
)
def test_json_lists(content: str) -> None:
    Path("t.json").write_text(content)
    assert Run("t.json").texts == {"t.json:1": "a", "t.json:2": "b"}


def test_gzip() -> None:
    for name, content in (("a.csv.gz", "text\nx\n"), ("b.jsonl.gz", '{"text": "x"}\n'), ("c.json.gz", '["x"]')):
        Path(name).write_bytes(gzip.compress(content.encode()))
        assert list(Run(name).texts.values()) == ["x"]


def test_stdin_lines_and_jsonl() -> None:
    run = Run("-", stdin=b"\xef\xbb\xbfone\r\n\n  two  \nsome caf\xe9\nb\0d\n")
    assert run.texts == {"-:1": "one", "-:3": "two", "-:4": "some café"}
    assert [(path, "cp1252" in what) for path, what in run.notes] == [("-", True)]
    assert list(run.why) == ["-:5"]
    assert {record.source for record in run.records} == {"-"}
    jsonl = Run("-", stdin=b'\n{"body": "x", "k": 1}\nnot json\n')
    assert jsonl.records == [Record("-:2", "x", {"k": 1}, "-")]
    assert list(jsonl.why) == ["-:3"]
    assert Run("-", stdin="a\nb\n".encode("utf-16")).texts == {"-:1": "a", "-:2": "b"}
    with pytest.raises(InputError, match="nothing came through stdin"):
        Run("-", stdin=b" \n")
    assert Run("-", stdin=b"[1]\n").texts == {"-:1": "[1]"}


def test_encoding_that_does_not_fit() -> None:
    Path("d").mkdir()
    Path("d/a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(FileReadError, match=r"utf-8.*--encoding"):
        Run("d/a.txt", encoding="utf-8")
    run = Run("d", encoding="utf-8")
    assert [(item.path, item.kind) for item in run.skipped] == [("d/a.txt", "failed")]
    assert Run("d", encoding="latin-1").texts == {"d/a.txt": "café"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_and_folders_are_failures() -> None:
    Path("d/closed").mkdir(parents=True)
    Path("d/a.txt").write_text("a")
    Path("d/a.txt").chmod(0)
    Path("d/closed").chmod(0)
    try:
        run = Run("d")
    finally:
        Path("d/closed").chmod(0o700)
    assert [(item.path, item.kind) for item in run.skipped] == [("d/a.txt", "failed"), ("d/closed", "failed")]


def test_a_file_that_vanishes_during_the_run_is_a_failure() -> None:
    Path("d").mkdir()
    for name in "abc":
        Path(f"d/{name}.txt").write_text(name)
    told: list[Skipped] = []
    stream = read_inputs(["d"], on_skip=told.append)
    assert next(stream).id == "d/a.txt"
    Path("d/b.txt").unlink()
    assert [record.id for record in stream] == ["d/c.txt"]
    assert [(item.path, item.kind) for item in told] == [("d/b.txt", "failed")]
    assert unread(told[0]).may_hold("d/b.txt", told[0].source)
    assert not unread(told[0]).may_hold("d/bb.txt", told[0].source)
    assert not unread(told[0]).may_hold("d/b.txt", "elsewhere")


def test_a_damaged_table_keeps_the_rows_it_gave_before() -> None:
    Path("d").mkdir()
    rows = "".join(json.dumps({"text": os.urandom(20).hex()}) + "\n" for _ in range(20_000))
    whole = gzip.compress(rows.encode())
    Path("d/t.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    run = Run("d")
    assert 0 < len(run.records) < 20_000
    (failure,) = run.skipped
    assert failure.kind == "failed"
    assert unread(failure).may_hold("d/t.jsonl.gz:19999", failure.source)
    with pytest.raises(FileReadError, match=r"d/t\.jsonl\.gz is not a whole gzip file"):
        Run("d/t.jsonl.gz")
    Path("e.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(FileReadError, match=r"e\.csv\.gz"):
        Run("e.csv.gz")


def test_failed_table_with_an_id_column_may_hold_any_id() -> None:
    Path("d").mkdir()
    Path("d/t.json").write_text("[")
    (failure,) = Run("d", id_column="key").skipped
    assert unread(failure).may_hold("anything", failure.source)


def test_a_table_without_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("text,n\n")
    told: list[Skipped] = []
    assert list(read_inputs([tmp_path], on_skip=told.append)) == []
    assert [one.reason for one in told] == ["a table without rows"]
