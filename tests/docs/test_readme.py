"""What the README and the pages show is what happens: their blocks run, and their links lead somewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fenced_blocks import blocks, run_page

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "sample"
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WITH_BLOCKS = [name for name, page in zip(NAMES, PAGES, strict=True) if blocks(page.read_text(encoding="utf-8"))]
ALL_LINKED = [*NAMES, "ARCHITECTURE.md"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like a reader's: a few documents, a table of notes, and the examples."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("out", "__pycache__"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_blocks_run_and_print_what_is_shown(
    name: str, folder: Path, real_cache: Path, record_property: Callable[[str, object], None]
) -> None:
    found = blocks((ROOT / name).read_text(encoding="utf-8"))
    left_out = sum(block.not_run is not None for block in found)
    done = run_page(ROOT / name, folder)
    assert done + left_out == len(found)
    assert done > 0, f"{name}: all {left_out} blocks are marked as not run"
    record_property("blocks_run", done)
    record_property("blocks_left_out", left_out)


def test_the_readme_shows_both_faces() -> None:
    languages = {block.language for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert languages == {"console", "python"}


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    found = [(name, block) for name in WITH_BLOCKS for block in blocks((ROOT / name).read_text(encoding="utf-8"))]
    left_out = [(name, block) for name, block in found if block.not_run is not None]
    for name, block in left_out:
        assert block.not_run, f"{name}:{block.line} does not say why it is not run"
    assert len(left_out) <= len(found) / 3, [f"{name}:{block.line}: {block.not_run}" for name, block in left_out]


@pytest.mark.parametrize("name", ALL_LINKED)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{name}: {file.name} has no heading #{anchor}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/") and name != "docs/index.md"])
def test_every_page_is_in_the_table_of_contents(name: str) -> None:
    assert f"]({Path(name).name})" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What links to a page's headings end with, as GitHub makes it."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
