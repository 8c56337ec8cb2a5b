"""Write docs/cli.md from the commands' own help and the error tree, so that neither can differ from the docs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from textkin import errors
from textkin.cli.main import COMMANDS, main

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
WIDTH = 98
"""What click uses of a terminal of 100 columns."""

_HEAD = """\
# Command line

<!-- Written by tools/make_docs.py (make docs) from the commands' own help; changes belong there. -->

stdout is data (a table, or `--json`, `--jsonl`, `--csv`), stderr is talk. Where a table is shortened to fit the
terminal, the other forms have the full values.
"""

_EXIT_CODES = """\
## Exit codes

0 is success, 2 also a wrong option, 70 a bug in textkin, 130 a stop by Ctrl-C, 141 a reader of stdout that went
away. The others come from the errors of `textkin.errors`:

| code | error | when |
|---|---|---|
"""


def cli_reference() -> str:
    """The whole of docs/cli.md."""
    root = click.Context(main, info_name="textkin", terminal_width=WIDTH)
    root.help_option_names = ["-h", "--help"]
    links = ", ".join(f"[{name}](#textkin-{name})" for name in COMMANDS)
    parts = [_HEAD, f"{links}, [exit codes](#exit-codes)\n", _section(root, "##")]
    for name in COMMANDS:
        parts.extend(_sections(_child(root, name), "##"))
    return "\n".join(parts) + "\n" + _EXIT_CODES + "".join(_error_rows())


def _sections(context: click.Context, marks: str) -> Iterator[str]:
    """A command's section, then those of its subcommands."""
    yield _section(context, marks)
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            yield from _sections(_child(context, name), marks + "#")


def _section(context: click.Context, marks: str) -> str:
    return f"{marks} {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n"


def _child(parent: click.Context, name: str) -> click.Context:
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None, f"{parent.command_path} lists {name}, but has no such command"
    return click.Context(command, info_name=name, parent=parent)


def _error_rows() -> Iterator[str]:
    """A table row for each class of the error tree, by exit code."""
    tree = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.TextkinError)
    ]
    for error in sorted(tree, key=lambda error: error.exit_code):
        yield f"| {error.exit_code} | {error.__name__} | {inspect.getdoc(error)} |\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(cli_reference(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(Path.cwd()) if TARGET.is_relative_to(Path.cwd()) else TARGET}")
