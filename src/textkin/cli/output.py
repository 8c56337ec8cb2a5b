"""What commands write: rows to stdout as a table, JSON, JSON lines or CSV; remarks to stderr."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import click

from textkin.cli import streams
from textkin.cli.visible import for_reader, safe, safe_json

Row = Mapping[str, Any]
_Command = TypeVar("_Command", bound=Callable[..., Any])

_NARROWEST = 24


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: the row's key and the heading.
        show: turns the value into text; the result is made safe for a terminal.
        right: align right.
        shrink: shorten to what is left of the line; at most one column of a table.
    """

    name: str
    show: Callable[[Any], str] = str
    right: bool = False
    shrink: bool = False


def score_column(name: str = "score") -> Column:
    """Scores with four decimals."""
    return Column(name, lambda value: f"{value:.4f}", right=True)


def number_column(name: str) -> Column:
    """Whole numbers with thousands separators."""
    return Column(name, lambda value: f"{value:,}", right=True)


def text_column(name: str = "text") -> Column:
    """Text on one line, shortened."""
    return Column(name, shrink=True)


def form_options(command: _Command) -> _Command:
    """Give a command ``--json``, ``--jsonl`` and ``--csv``; it gets ``form``, None for a table."""
    for name, text in (
        ("csv", "CSV in UTF-8, values exactly as they are (a spreadsheet may run one that begins with =)."),
        ("jsonl", "One JSON object a line."),
        ("json", "JSON with full values."),
    ):
        command = click.option(f"--{name}", is_flag=True, expose_value=False, callback=_choose_form, help=text)(
            command
        )
    return command


def _choose_form(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    chosen = ctx.params.setdefault("form", None)
    if not given:
        return
    if chosen is not None:
        raise click.UsageError(f"--{chosen} and --{option.name} are two forms; choose one", ctx)
    ctx.params["form"] = option.name


def json_option(command: _Command) -> _Command:
    """Give a command whose answer is one object ``--json``; it gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON with full values.")(command)


def write_rows(rows: Iterable[Row], columns: Sequence[Column], form: str | None) -> None:
    """Write rows to stdout.

    Args:
        rows: all with the same keys; the keys and full values go to JSON and CSV.
        columns: what a table shows of them.
        form: ``json``, ``jsonl``, ``csv`` or None for a table.
    """
    streams.answering()
    if form is None:
        _write_table(rows, columns)
        return
    _exact_stdout()
    if form == "csv":
        _write_csv(rows)
    elif form == "jsonl":
        for row in rows:
            sys.stdout.write(as_json_text(row) + "\n")
    else:
        mark = "[\n"
        for row in rows:
            sys.stdout.write(f"{mark}  {as_json_text(row)}")
            mark = ",\n"
        sys.stdout.write("[]\n" if mark == "[\n" else "\n]\n")


def write_object(value: Any) -> None:
    """Write one JSON object to stdout."""
    streams.answering()
    _exact_stdout()
    sys.stdout.write(as_json_text(value, indent=2) + "\n")


def write_facts(facts: Mapping[str, str]) -> None:
    """Write names and values, a line each, values aligned."""
    streams.answering()
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{safe(name):<{width}}  {safe(value)}\n")


def say(message: str = "") -> None:
    """A line of a command's answer for a person, to stdout."""
    sys.stdout.write(safe(message) + "\n")


def talk(message: str) -> None:
    """A remark, to stderr."""
    sys.stdout.flush()
    streams.complain(message)


def as_json_text(value: Any, indent: int | None = None) -> str:
    """JSON in which nothing steers a terminal or hides; every value is exact."""
    return safe_json(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent))


def one_line(text: str, width: int | None = None) -> str:
    """Text on one line, safe for a terminal, at most ``width`` cells wide.

    Args:
        text: of any length; runs of white space become one space.
        width: cells; East Asian characters take two. None: as long as it is.
    """
    if width is None:
        return safe(" ".join(text.split()))
    from rich.cells import cell_len, set_cell_size

    line = safe(" ".join(text[: width * 8].split()))
    if len(text) <= width * 8 and cell_len(line) <= width:
        return line
    mark = "…" if _can_write("…") else "..."
    return set_cell_size(line, max(width - len(mark), 0)).rstrip() + mark


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Metadata for a table: ``lang=en year=2024``."""
    return " ".join(f"{key}={value}" for key, value in metadata.items())


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 record``, ``1,234 records``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _write_table(rows: Iterable[Row], columns: Sequence[Column]) -> None:
    from rich.cells import cell_len

    shown = list(rows)
    if not shown:
        return
    cells = [[_cell(column, row[column.name]) if not column.shrink else "" for column in columns] for row in shown]
    widths = [
        max(len(column.name), *(cell_len(line[number]) for line in cells)) for number, column in enumerate(columns)
    ]
    rest = shutil.get_terminal_size((100, 24)).columns - sum(
        width + 2 for width, column in zip(widths, columns, strict=True) if not column.shrink
    )
    for line, row in zip(cells, shown, strict=True):
        for number, column in enumerate(columns):
            if column.shrink:
                line[number] = one_line(column.show(row[column.name]), max(rest, _NARROWEST))
                widths[number] = max(widths[number], cell_len(line[number]))
    head = _line([column.name for column in columns], widths, columns)
    sys.stdout.write((click.style(head, bold=True) if _coloured() else head) + "\n")
    for line in cells:
        sys.stdout.write(_line(line, widths, columns) + "\n")


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    from rich.cells import cell_len

    padded = []
    for cell, width, column in zip(cells, widths, columns, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.right else cell + space)
    return "  ".join(padded).rstrip()


def _cell(column: Column, value: Any) -> str:
    return "" if value is None else one_line(column.show(value))


def _write_csv(rows: Iterable[Row]) -> None:
    writer = csv.writer(for_reader(sys.stdout), lineterminator="\n")
    stream = iter(rows)
    for first in islice(stream, 1):
        writer.writerow(first)
        writer.writerow(_csv_values(first))
    for row in stream:
        writer.writerow(_csv_values(row))


def _csv_values(row: Row) -> list[Any]:
    return [as_json_text(value) if isinstance(value, (dict, list, bool)) else value for value in row.values()]


def _exact_stdout() -> None:
    """Formats for programs are UTF-8 whatever the locale; a lone surrogate becomes an escape."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")


def _coloured() -> bool:
    import os

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _can_write(mark: str) -> bool:
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
