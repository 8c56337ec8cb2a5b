"""stdin: the same bytes mean what they mean in a file."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import FileReadError, InputError
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs
from textkin.types import Record

CSV = b'id,text,n\nx,"alpha, beta",1\ny,"two\nlines",2\n'
TSV = b"key\ttitle\nx\talpha\ny\tbeta\n"
ARRAY = b'[\n  {"id": "x", "text": "alpha"},\n  {"id": "y", "text": "beta"}\n]\n'
OBJECT = b'{\n "data": [\n  {"id": "x", "text": "alpha"},\n  {"id": "y", "text": "beta"}\n ]\n}\n'
JSONL = b'\n{"id": "x", "text": "alpha"}\n{"id": "y", "text": "beta"}\n'


def piped(content: bytes, **options: Any) -> list[Record]:
    return list(read_inputs(["-"], options=ReadOptions(**options), stdin=io.BytesIO(content)))


def parquet() -> bytes:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["x", "y"], "text": ["alpha", "beta"]}), sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    return {
        "t.csv": CSV,
        "t.tsv": TSV,
        "t.json": ARRAY,
        "o.json": OBJECT,
        "t.jsonl": JSONL,
        "t.parquet": parquet(),
        "t.csv.gz": gzip.compress(CSV, mtime=0),
        "t.json.gz": gzip.compress(ARRAY, mtime=0),
        "t.jsonl.gz": gzip.compress(JSONL, mtime=0),
        "one.json": b'[{"text": "alpha"}]',
        "s.json": b'["alpha", "beta"]\n',
        "bom.csv": b"\xef\xbb\xbf" + CSV,
        "wide.csv": CSV.decode().encode("utf-16"),
        "wide.jsonl": JSONL.decode().encode("utf-16"),
        "semi.csv": b"titel;text\na;alpha\nb;beta\n",
        "n.csv": b"words,n\nalpha beta,1\ngamma delta,20\n",
        "broken.jsonl": b'{"text": "al\n{"text": "beta"}\n{"text": "gamma"}\n',
    }


@pytest.mark.parametrize("bulk", [False, True])
def test_the_same_bytes_mean_the_same(tmp_path: Path, contents: dict[str, bytes], bulk: bool) -> None:
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        options = ReadOptions(bulk=bulk)
        told: tuple[list[Skipped], list[Skipped]] = ([], [])
        from_file = list(read_inputs([path], options=options, on_skip=told[0].append))
        from_pipe = list(read_inputs(["-"], options=options, on_skip=told[1].append, stdin=io.BytesIO(content)))
        assert [(one.text, dict(one.metadata)) for one in from_pipe] == [
            (one.text, dict(one.metadata)) for one in from_file
        ], name
        assert [one.id.rpartition(":")[2] for one in from_pipe] == [one.id.rpartition(":")[2] for one in from_file]
        assert [one.row for one in told[0]] == [one.row for one in told[1]], name
        assert {(one.id.rpartition(":")[0], one.source) for one in from_pipe} == {("-", "-")}, name


def test_columns_that_are_named_are_taken() -> None:
    for content in (CSV, ARRAY, JSONL, parquet(), gzip.compress(CSV, mtime=0)):
        assert [one.id for one in piped(content, id_column="id", text_column="text")] == ["x", "y"]
    # Nothing but the option says that these are tables.
    assert [one.text for one in piped(b"a,b\n1,one\n2,two\n", text_column="b")] == ["one", "two"]
    assert [one.text for one in piped(b"word\none\ntwo\n", text_column="word")] == ["one", "two"]
    (record,) = piped(b"k,words\n7,one\n", bulk=True, columns=None)
    assert dict(record.metadata) == {"k": 7}
    assert [one.text for one in piped(b"one\ntwo\n", bulk=True, columns=None)] == ["one", "two"]
    with pytest.raises(InputError, match="can't tell which column"):
        piped(b"one, two\nthree, four\n", bulk=True, columns=None)
    with pytest.raises(InputError, match=r"stdin has no column 'text' \(--text-column\).*'one'"):
        piped(b"one\ntwo\n", text_column="text")
    with pytest.raises(InputError, match="stdin has no column 'key'"):
        piped(JSONL, id_column="key")


def test_plain_lines_stay_lines() -> None:
    for content in (
        b"one, two\nthree, four\n",
        b"id,name\n1,two\n",
        b"text,title\n",
        b"Dear text, this is a comment\nsecond, line\n",
        b"text,n\none\ntwo,2,3\n",
        b"[draft] one\ntwo\n",
        b"[1] one\n",
        b'["quoted"] one\ntwo\n',
        b"{not json\nat all\n",
        b"1,2\n3,4\n5,6\n",
        b"cat,dog\nfish,bird\nant,bee\n",
        b"In 2020, 5\nIn 2021, 6\nIn 2022, 7\n",
        b"{1} a\n",
        b'"text"\n',
        b"text\nalpha\n",
    ):
        assert [one.text for one in piped(content)] == content.decode().splitlines(), content
    assert [one.text for one in piped(gzip.compress(b"one\ntwo\n", mtime=0))] == ["one", "two"]


def test_a_form_can_be_said() -> None:
    assert len(piped(CSV, stdin_format="lines")) == 4
    assert piped(JSONL, stdin_format="lines")[0].text.startswith("{")
    tsv = piped(b'a\tb\n1\tsay "no\n', stdin_format="tsv", text_column="b")
    assert tsv[0].text.startswith("say")
    assert [one.text for one in piped(b"text\nalpha\n", stdin_format="csv")] == ["alpha"]
    assert [one.text for one in piped(gzip.compress(b"text\nalpha\n", mtime=0), stdin_format="csv")] == ["alpha"]
    with pytest.raises(FileReadError, match="stdin"):
        piped(b"one\n", stdin_format="parquet")
    with pytest.raises(FileReadError, match="stdin"):
        piped(b"one\n", stdin_format="json")
    with pytest.raises(InputError, match="xml"):
        piped(b"one\n", stdin_format="xml")
    with pytest.raises(InputError, match="not among the inputs"):
        list(read_inputs([__file__], options=ReadOptions(stdin_format="csv")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04rest\n", "zip"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"BZh91AY", "bzip2"),
        (gzip.compress(b"%PDF-1.7\n", mtime=0), "a PDF"),
        (gzip.compress(b"PAR1", mtime=0), "Parquet"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-12], "gzip"),
        (b"PAR1" + b"x" * 40, "Parquet"),
        (b'[\n {"text": "a"},\n', "JSON"),
        (b'[{"text": "a"} {"text": "b"}]\n', "JSON"),
        (b"[]\n", "records"),
        (b"", "nothing came through stdin"),
        (gzip.compress(b"", mtime=0), "nothing came through stdin"),
    ],
)
def test_what_a_file_would_be_refused_for_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        piped(content)


def test_lines_are_read_as_they_come() -> None:
    class Endless(io.BytesIO):
        """Gives a line when it is asked for one."""

        given = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.given += 1
            assert self.given < 50
            return b"one text\n"

        def read1(self, size: int | None = -1, /) -> bytes:
            return self.readline()

    stream = Endless()
    records = read_inputs(["-"], stdin=stream)
    assert [next(records).text for _ in range(3)] == ["one text"] * 3
    assert stream.given < 30


def test_saying_whether_there_is_a_header_makes_it_a_table() -> None:
    found = piped(b"alpha,beta\ngamma,delta\n", header=False, text_column="column_2")
    assert [one.text for one in found] == ["beta", "delta"]
    with pytest.raises(InputError, match="Its columns: 'alpha', 'beta'"):
        piped(b"alpha,beta\ngamma,delta\n", header=True)


def test_a_line_that_is_not_utf8_among_others_is_named_not_guessed() -> None:
    skipped: list[Skipped] = []
    content = "größe\nnaïve\n".encode() + "größer\n".encode("cp1252") + "ärger\n".encode()
    found = list(read_inputs(["-"], stdin=io.BytesIO(content), on_skip=skipped.append))
    assert [one.text for one in found] == ["größe", "naïve", "ärger"]
    assert [(one.row, "not UTF-8" in one.reason) for one in skipped] == [(3, True)]


def test_a_damaged_line_is_no_line_that_is_gone() -> None:
    skipped: list[Skipped] = []
    list(read_inputs(["-"], stdin=io.BytesIO("é\n".encode() + b"\xe9\n"), on_skip=skipped.append))
    assert [one.kind for one in skipped] == ["failed"]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b'{"id": "a", "text": "' + b"word " * 20_000 + b'"}\n{"id": "b", "text": "other"}\n', 2),
        (b'["' + b"word " * 20_000 + b'", "other"]', 2),
        (b"id\ttext\tnote\n1\thello\t\n2\tworld\tx\n", 2),
        (b"id,text\n1,hello\n2,world\n3,wor,ld\n4,foo\n", 3),
        (b"sep=;\r\nid;text\r\n1;hello\r\n2;world\r\n", 2),
        (b'{"text": "a", "x": ' + b"9" * 5000 + b'}\n{"text": "b"}\n', 1),
    ],
)
def test_it_is_read_as_the_same_file_is(content: bytes, texts: int, tmp_path: Path) -> None:
    suffix = {b"{": "jsonl", b"[": "json", b"i": "csv", b"s": "csv"}[content[:1]]
    suffix = "tsv" if b"\t" in content else suffix
    (tmp_path / f"t.{suffix}").write_bytes(content)
    here = [one.text for one in read_inputs([str(tmp_path / f"t.{suffix}")])]
    assert len(here) == texts
    assert [one.text for one in piped(content)] == here


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "idna", "undefined"])
def test_an_encoding_that_can_not_be_is_named(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\nabc\n")
    options = ReadOptions(encoding=encoding)
    with pytest.raises(FileReadError, match=encoding):
        list(read_inputs([str(tmp_path / "a.csv")], options=options))
    skipped: list[Skipped] = []
    assert not list(read_inputs(["-"], options=options, stdin=io.BytesIO(b"abc\n"), on_skip=skipped.append))
    assert [one.kind for one in skipped] == ["failed"]
