"""docs/cli.md says what the commands say of themselves, and the commands say enough."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
import pytest

from textkin import errors
from textkin.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cli.md"


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    spec = spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(
    group: click.Group = main, path: tuple[str, ...] = ("textkin",)
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def page_text() -> str:
    return any_click(PAGE.read_text(encoding="utf-8"))


def any_click(text: str) -> str:
    """Help without the one thing in it that differs between versions of click."""
    return text.replace("[COMMAND]", "COMMAND")


def test_page_is_up_to_date(make_docs: ModuleType) -> None:
    assert page_text() == any_click(make_docs.cli_reference()), "docs/cli.md is old; run: make docs"


def test_every_command_and_option_is_on_the_page() -> None:
    page = page_text()
    for path, command in commands():
        section = re.search(rf"^#+ {path}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section is not None, f"no section for {path}"
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in section[1], f"{path} {option} is not on the page"


def test_every_command_and_option_has_help() -> None:
    for path, command in commands():
        assert command.help, f"{path} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_the_list_of_commands_says_what_they_do() -> None:
    page = page_text()
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", page, re.MULTILINE), name


def test_every_error_is_on_the_page_with_its_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (.+) \|$", page_text(), re.MULTILINE)
    told = {name: int(code) for code, name, _ in rows}
    tree = [errors.TextkinError]
    for error in tree:
        tree.extend(error.__subclasses__())
        assert told.get(error.__name__) == error.exit_code


@pytest.mark.slow
def test_a_real_process_prints_the_same_help() -> None:
    page = page_text()
    wide = {**os.environ, "COLUMNS": "120"}
    for path, _ in commands():
        line = [sys.executable, "-m", *path.split(), "--help"]
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60, env=wide)
        assert any_click(done.stdout) in page, path
        assert done.stderr == ""
