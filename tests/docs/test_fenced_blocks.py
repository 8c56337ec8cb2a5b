"""The runner of the pages itself: it runs what it should, and it can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from fenced_blocks import blocks, commands, differs, run_page


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_blocks_are_found_with_their_lines_and_reasons() -> None:
    found = blocks(
        "a\n```console\n$ ls\n```\n<!-- not run: needs a network -->\n\n```python\nx\n```\n```json\n{}\n```\n"
    )
    assert [(block.language, block.line, block.not_run) for block in found] == [
        ("console", 2, None),
        ("python", 7, "needs a network"),
    ]


def test_commands_take_their_output_and_their_continuation() -> None:
    code = "$ echo a \\\n  b\na b\n\n$ true\n"
    assert list(commands(code)) == [("echo a \\\n  b", ["a b", ""]), ("true", [])]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a  b", "a b\n"),
        ("0.7355", "0.7359"),
        ("in … s", "in 1.2 s"),
        ("first\n…\nlast", "first\n2\n3\nlast"),
        ("first\n…\nlast", "first\nlast"),
    ],
)
def test_what_counts_as_equal(shown: str, printed: str) -> None:
    assert differs(shown.splitlines(), printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("a", "b"), ("0.7355", "0.7361"), ("a", "a\nb"), ("a\nb", "a"), ("3 texts", "4 texts"), ("-0.1", "0.1")],
)
def test_what_counts_as_different(shown: str, printed: str) -> None:
    assert differs(shown.splitlines(), printed) is not None


def test_blocks_share_names_and_folder(tmp_path: Path) -> None:
    text = (
        "```console\n$ echo 7 > seven.txt\n```\n"
        "```python\nfrom pathlib import Path\nseven = int(Path('seven.txt').read_text())\n```\n"
        "```python\nprint(seven + 1)\n#> 8\nprint(seven + 2)\n#> 9\n```\n"
    )
    assert run_page(page(tmp_path, text), tmp_path) == 3
    with pytest.raises(AssertionError, match=r"page\.md:8"):
        run_page(page(tmp_path, text.replace("#> 9", "#> 10")), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ false\n```\n",
        "```console\n$ echo a\nb\n```\n",
        "```console\n$ echo fine\nerror: it fails\n```\n",
        "```console\n$ echo 'error: other' >&2; exit 3\nerror: this one\n```\n",
        "```python\n1 / 0\n```\n",
        "```python\nprint(1)\n#> 2\n```\n",
        "```python\nimport sys; sys.exit(3)\n```\n",
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1\b"):
        run_page(page(tmp_path, text), tmp_path)


def test_a_page_may_show_an_error(tmp_path: Path) -> None:
    text = "```console\n$ echo 'error: no such thing' >&2; exit 3\nerror: no … thing\n```\n"
    assert run_page(page(tmp_path, text), tmp_path) == 1


def test_what_is_marked_is_left_out(tmp_path: Path) -> None:
    assert run_page(page(tmp_path, "<!-- not run: breaks -->\n```console\n$ false\n```\n"), tmp_path) == 0
