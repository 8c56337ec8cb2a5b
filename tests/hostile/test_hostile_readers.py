"""Inputs made to hurt: deep, huge, endless, mislabelled. Each is named, and none takes its neighbours along."""

from __future__ import annotations

import gzip
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from textkin.errors import FileReadError, InputError
from textkin.text.options import ReadOptions, Skipped
from textkin.text.read import read_inputs


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("d/good.txt").write_text("good")
    return tmp_path


def run(*paths: str, **options: object) -> tuple[list[str], list[Skipped]]:
    told: list[Skipped] = []
    records = read_inputs(paths, options=ReadOptions(**options), on_skip=told.append)  # type: ignore[arg-type]
    return [record.id for record in records], told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.json", b"[" * 200_000),
        ("number.json", b'[{"text": "a", "n": ' + b"9" * 10_000 + b"}]"),
        ("bad.parquet", b"PAR1 not really PAR1"),
        ("short.csv.gz", gzip.compress(b"text\nsome words\n", mtime=0)[:-9]),
        ("tail.csv.gz", gzip.compress(b"text,n\nsome words,1\n", mtime=0) + b"garbage after the end"),
        ("half.json", b'[{"text": "a"},'),
    ],
)
def test_a_broken_file_does_not_end_the_run(name: str, content: bytes) -> None:
    Path("d", name).write_bytes(content)
    ids, told = run("d")
    assert ids == ["d/good.txt"]
    assert [(item.path, item.kind) for item in told] == [(f"d/{name}", "failed")]
    with pytest.raises(FileReadError, match=name.replace(".", r"\.")):
        run(f"d/{name}")


@pytest.mark.parametrize(
    ("name", "content", "good", "bad"),
    [
        ("quote.csv", b'text,n\n"open,1\nx,2\n', [2], [1]),
        ("utf16.csv", b"\xff\xfet\0e\0x\0t\0\n\0b\0\n\0a", [1], [2]),
    ],
)
def test_a_broken_row_does_not_end_the_file(name: str, content: bytes, good: list[int], bad: list[int]) -> None:
    Path("d", name).write_bytes(content)
    ids, told = run(f"d/{name}")
    assert ids == [f"d/{name}:{row}" for row in good]
    assert [item.row for item in told] == bad


def test_a_deep_line_is_one_bad_line() -> None:
    Path("t.jsonl").write_bytes(b'{"text": "a"}\n{"text": ' + b"[" * 200_000 + b'\n{"text": "c"}\n')
    ids, told = run("t.jsonl")
    assert ids == ["t.jsonl:1", "t.jsonl:3"]
    assert [item.row for item in told] == [2]


def test_a_spreadsheet_named_csv_is_recognised() -> None:
    Path("d/book.csv").write_bytes(b"PK\x03\x04" + os.urandom(100))
    _, told = run("d")
    assert "zip archive or office document" in told[0].reason


def test_names_that_are_no_text() -> None:
    if sys.platform != "linux":
        pytest.skip("needs a file system that takes any bytes")
    bad = os.fsencode("d/na") + b"\xff.txt"
    Path(os.fsdecode(bad)).write_text("odd")
    Path("d/with\nbreak.txt").write_text("odd")
    ids, _ = run("d")
    assert ids == ["d/good.txt", "d/na\\xff.txt", "d/with\nbreak.txt"]
    assert all(record_id.encode() for record_id in ids)


def test_a_very_deep_folder() -> None:
    path = Path("d")
    for _ in range(300):
        path /= "sub"
    path.mkdir(parents=True)
    (path / "bottom.txt").write_text("x")
    ids, told = run("d")
    assert len(ids) == 2
    assert told == []


def test_circles_of_links_end() -> None:
    for name in "abc":
        Path("d", name).mkdir()
    for name, target in (("a/x", "b"), ("b/x", "c"), ("c/x", "a"), ("self", "self")):
        Path("d", name).symlink_to(Path("d", target).absolute())
    outside = Path("outside")
    outside.mkdir()
    (outside / "o.txt").write_text("o")
    (outside / "back").symlink_to(Path("d").absolute())
    Path("d/out").symlink_to(outside.absolute())
    ids, told = run("d")
    assert ids == ["d/good.txt", "d/out/o.txt"]
    assert [item.path for item in told if item.kind == "failed"] == ["d/self"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.csv.gz"])
def test_memory_does_not_grow_with_the_table(name: str) -> None:
    peaks = []
    for rows in (1_000, 20_000):
        if name == "t.jsonl":
            content = b"".join(b'{"text": "row %d of a table", "n": %d}\n' % (n, n) for n in range(rows))
        else:
            content = b"text,n\n" + b"".join(b"row %d of a table,%d\n" % (n, n) for n in range(rows))
        Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        del content
        tracemalloc.start()
        assert sum(1 for _ in read_inputs([name])) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The same blocks and buffers for 20 times the rows; a list of the records would take 15 MB more.
    assert peaks[1] < peaks[0] + 4_000_000


def test_a_pattern_cannot_leave_its_folder() -> None:
    with pytest.raises(InputError, match="relative"):
        read_inputs(["d"], options=ReadOptions(include=("../*",)))
    with pytest.raises(InputError, match="empty"):
        read_inputs(["d"], options=ReadOptions(exclude=("",)))


def test_a_bomb_of_text_is_refused_by_size() -> None:
    with Path("d/huge.txt").open("wb") as file:
        file.truncate(5_000_000_000)
    ids, told = run("d", max_text=1_000_000)
    assert ids == ["d/good.txt"]
    assert "1,000,000" in told[0].reason


def _long_row(suffix: str) -> bytes:
    """20 MB in one row, between two that are short."""
    text = b"words " * 3_500_000
    if suffix == "jsonl":
        return b'{"text": "a"}\n{"text": "' + text + b'"}\n{"text": "b"}\n'
    if suffix == "json":
        return b'{"head": 1, "rows": [{"text": "a"}, {"text": ["' + text + b'"]}, {"text": "b"}]}'
    lines = b"\n".join([text[:20_000]] * 1000) if suffix == "csv" else text
    mark = b"\t" if suffix == "tsv" else b","
    return b"n%stext\n1%sa\n2%s" % (mark, mark, mark) + b'"' + lines + b'"\n3%sb\n' % mark


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv"])
@pytest.mark.parametrize("bulk", [True, False])
def test_a_row_beyond_the_limit_is_never_built(suffix: str, bulk: bool) -> None:
    path = Path(f"t.{suffix}.gz")
    path.write_bytes(gzip.compress(_long_row(suffix), 1))
    told: list[Skipped] = []
    tracemalloc.start()
    options = ReadOptions(max_text=10_000, bulk=bulk)
    records = [(record.id, record.text) for record in read_inputs([path], options=options, on_skip=told.append)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert records == [(f"t.{suffix}.gz:{row}", text) for row, text in ((1, "a"), (3, "b"))]
    assert [(item.row, item.kind) for item in told] == [(2, "failed")]
    assert "over-long" in told[0].reason
    assert "--max-text" in told[0].reason
    assert peak < 12_000_000
