"""Walking: order, globs, hidden and excluded names, links, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from textkin.cli.main import main
from textkin.errors import InputError
from textkin.text.files import parse_argument
from textkin.text.found import absolute
from textkin.text.options import ReadOptions, Skipped


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def names(argument: str | Path, options: ReadOptions | None = None) -> list[str]:
    found = parse_argument(argument).find(options or ReadOptions(), lambda item: None)
    return [one.name for one in found]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(
        tmp_path,
        *("d/b.md", "d/a.txt", "d/sub/c.md", "d/sub/deep/e.md", "d/.hidden/h.md", "d/.dot.md"),
        *("d/.git/config", "d/node_modules/n.md", "d/__pycache__/p.md", "d/notes.kin/collection.db"),
        *("d/env/pyvenv.cfg", "d/env/v.md", "d/out/_textkin/lock-0", "d/out/part-0.jsonl", "d/out/sub/x.md"),
    )
    return tmp_path


def test_folder_in_order(tree: Path) -> None:
    expected = ["d/a.txt", "d/b.md", "d/sub/c.md", "d/sub/deep/e.md"]
    assert names("d") == names("./d/") == names(Path("d")) == expected
    assert names(tree / "d") == [f"{tree.as_posix()}/{name}" for name in expected]


def test_here_has_no_prefix(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "d" / "sub")
    assert names(".") == ["c.md", "deep/e.md"]


def test_hidden_on_request_but_never_git(tree: Path) -> None:
    found = names("d", ReadOptions(hidden=True))
    assert {"d/.dot.md", "d/.hidden/h.md"} <= set(found)
    assert not [name for name in found if ".git" in name or "node_modules" in name]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/*.md", ["d/b.md"]),
        ("d/**/*.md", ["d/b.md", "d/sub/c.md", "d/sub/deep/e.md"]),
        ("d/*/*.md", ["d/sub/c.md"]),
        ("d/**", ["d/a.txt", "d/b.md", "d/sub/c.md", "d/sub/deep/e.md"]),
        ("*/[a-b].*", ["d/a.txt", "d/b.md"]),
        ("d/**/deep/*", ["d/sub/deep/e.md"]),
        ("d/.hidden/*.md", ["d/.hidden/h.md"]),
        ("d/?.md", ["d/b.md"]),
        ("**/deep/**/*.md", ["d/sub/deep/e.md"]),
    ],
)
def test_globs(tree: Path, pattern: str, expected: list[str]) -> None:
    assert names(pattern) == expected
    source = next(parse_argument(pattern).find(ReadOptions(), lambda item: None)).source
    assert source == f"{tree.as_posix()}/{pattern}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ReadOptions(include=("*.md",)), ["d/b.md", "d/sub/c.md", "d/sub/deep/e.md"]),
        (ReadOptions(exclude=("*.md",)), ["d/a.txt"]),
        (ReadOptions(exclude=("sub",)), ["d/a.txt", "d/b.md"]),
        (ReadOptions(exclude=("sub/deep/",)), ["d/a.txt", "d/b.md", "d/sub/c.md"]),
        (ReadOptions(include=("sub/**",)), ["d/sub/c.md", "d/sub/deep/e.md"]),
        (ReadOptions(include=("sub/*.md",)), ["d/sub/c.md"]),
    ],
)
def test_include_and_exclude(tree: Path, options: ReadOptions, expected: list[str]) -> None:
    assert names("d", options) == expected


def test_a_name_with_brackets_is_a_name(tree: Path) -> None:
    make(tree, "notes [1].md")
    assert names("notes [1].md") == ["notes [1].md"]


def test_links(tree: Path) -> None:
    make(tree, "outside/o.md")
    (tree / "d" / "loop").symlink_to(tree / "d")
    (tree / "d" / "up").symlink_to(tree)
    (tree / "d" / "copy").symlink_to(tree / "d" / "sub")
    (tree / "d" / "away").symlink_to(tree / "outside")
    (tree / "d" / "zz-again").symlink_to(tree / "outside")
    (tree / "d" / "gone.md").symlink_to(tree / "nowhere")
    told: list[Skipped] = []
    found = [one.name for one in parse_argument("d").find(ReadOptions(), told.append)]
    assert found == ["d/a.txt", "d/b.md", "d/away/o.md", "d/sub/c.md", "d/sub/deep/e.md"]
    assert [(item.path, item.kind) for item in told] == [("d/gone.md", "failed"), ("d/up", "skipped")]


@pytest.mark.skipif(os.name == "nt", reason="POSIX only")
def test_pipes_are_never_opened(tree: Path) -> None:
    os.mkfifo(tree / "d" / "pipe.txt")
    told: list[Skipped] = []
    list(parse_argument("d").find(ReadOptions(), told.append))
    assert [(item.path, item.reason) for item in told] == [("d/pipe.txt", "not a regular file")]
    with pytest.raises(InputError, match="regular"):
        parse_argument("d/pipe.txt")


@pytest.mark.parametrize("given", ["nothing.md", "no/such/*.md", "d/notes.kin", "a\0b", ""])
def test_refused(tree: Path, given: str) -> None:
    if given:
        with pytest.raises(InputError):
            parse_argument(given)
    else:
        assert parse_argument(given).is_folder  # Path("") is the current folder


def test_what_a_job_wrote_is_no_text(tree: Path) -> None:
    make(tree, "e/done/_manifest.json", "e/done/part-0.jsonl", "e/other/_manifest.json", "e/other/y.md")
    Path("e/done/_manifest.json").write_text('{"format":"textkin-vectors","version":1}')
    Path("e/other/_manifest.json").write_text('{"made by": "another tool"}')
    assert names("e") == ["e/other/_manifest.json", "e/other/y.md"]
    for given in ("d/out", "e/done"):
        with pytest.raises(InputError, match=rf"textkin import {given} notes\.kin.* textkin duplicates {given}"):
            parse_argument(given)
    assert names("d/out/part-*.jsonl") == ["d/out/part-0.jsonl"]
    assert parse_argument("e/other").is_folder


def test_absolute_drops_dots(tree: Path) -> None:
    assert absolute("d/../d/./a.txt") == f"{tree.as_posix()}/d/a.txt"


def test_a_job_does_not_read_its_own_output(tree: Path) -> None:
    Path("in").mkdir()
    Path("in/rows.jsonl").write_text('"one"\n"two"\n')
    for more in ((), ("--resume",), ("--resume",)):
        arguments = ["embed", "in", "-o", "in/vectors/", "--model", "hashing:8", *more]
        assert CliRunner().invoke(main, arguments).exit_code == 0
        manifest = json.loads(Path("in/vectors/_manifest.json").read_text())
        assert (manifest["rows"], manifest["rejected"]) == (2, 0)
