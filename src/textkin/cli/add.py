"""``textkin add``: single texts from the command line or standard input."""

from __future__ import annotations

import io
import json
from typing import Any

import click

from textkin._progress import bar
from textkin.cli.fetching import open_for_writing
from textkin.cli.money import spent_lines, telling_at_a_stop
from textkin.cli.options import (
    WORDS,
    TextCommand,
    budget_of,
    budget_options,
    ledger_option,
    model_option,
    place_argument,
    server_option,
)
from textkin.cli.output import counted, json_option, say, write_object
from textkin.cli.reports import index_report_row, tell_losses
from textkin.errors import InputError
from textkin.stores.resolve import without_password
from textkin.text.csv_table import typed
from textkin.text.options import ReadOptions, ignore_note
from textkin.text.standard_input import LINES, process_stdin, standard_input


@click.command(cls=TextCommand)
@place_argument
@click.argument("texts", nargs=-1, type=WORDS, metavar="[TEXT]...")
@click.option(
    "--id", "ids", type=WORDS, metavar="ID", multiple=True, help="One for each TEXT. [default: made from the text]"
)
@click.option(
    "--meta",
    type=WORDS,
    metavar="KEY=VALUE",
    multiple=True,
    help="Metadata of all TEXTs; numbers, true, false and empty are recognised as in CSV files.",
)
@click.option("--meta-json", type=WORDS, metavar="JSON", help="Metadata as one JSON object, typed exactly.")
@model_option
@ledger_option
@budget_options
@server_option
@json_option
def add(
    place: str,
    texts: tuple[str, ...],
    ids: tuple[str, ...],
    meta: tuple[str, ...],
    meta_json: str | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Add each TEXT to COLLECTION, made when it isn't there; without TEXT, each line of standard input.

    A text that is there already changes nothing.

    \b
    textkin add notes.kin "Refunds take five days" --id refunds --meta lang=en
    grep -h TODO src/*.py | textkin add notes.kin
    """
    metadata = _metadata(meta, meta_json)
    many = _lines(place) if texts in ((), ("-",)) else list(texts)
    for number, text in enumerate(many, 1):
        if not text.strip():
            raise InputError(f"TEXT {number} is empty; expected words to add")
    with (
        open_for_writing(
            place, model, ledger=not no_ledger, budget=budget_of(limits), base_url=base_url
        ) as collection,
        telling_at_a_stop(collection.spend),
        bar("adding") as progress,
    ):
        report = collection.add(
            many,
            ids=list(ids) if ids else None,
            metadata=metadata,
            progress=progress,
        )
        spent = collection.spend.spent()
    tell_losses(report)
    if as_json:
        write_object({**index_report_row(report), "spent": spent.to_dict()})
    else:
        say(f"{counted(report.added, 'record')} added, {report.changed:,} changed, {report.unchanged:,} unchanged")
        for line in spent_lines(spent):
            say(line)


def _lines(place: str) -> list[str]:
    """The lines of standard input that hold more than white space.

    Raises:
        InputError: standard input is a terminal, holds no such line, or is not UTF-8.
    """
    stream = process_stdin()
    if stream.isatty():
        raise InputError("no text; give TEXT arguments, or pipe texts in, a line each")
    data = stream.read()
    if data.strip():
        with standard_input(io.BytesIO(data), ReadOptions(), ignore_note) as given:
            if given.form != LINES:
                raise InputError(
                    f"standard input is {given.form.upper()}, not a text a line; textkin index - --to "
                    f"{without_password(place)} reads it, and takes each line as a text with --stdin-format lines"
                )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"line {line} of standard input is not UTF-8; convert it: iconv -f latin1 -t utf-8"
        ) from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines:
        raise InputError("standard input holds no text; expected texts, a line each")
    return lines


def _metadata(pairs: tuple[str, ...], exact: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if exact is not None:
        try:
            found = json.loads(exact)
        except json.JSONDecodeError as error:
            raise InputError(f"--meta-json is not JSON ({error}): {exact:.200}") from None
        if not isinstance(found, dict):
            raise InputError(f'--meta-json must be an object such as {{"year": 2020}}, not {exact:.200}')
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"--meta {pair!r}: expected KEY=VALUE, e.g. lang=en")
        found[key] = typed(value)
    return found
