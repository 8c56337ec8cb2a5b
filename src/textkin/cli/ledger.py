"""``textkin ledger``: what was embedded before, how much room it takes, and how to take less."""

from __future__ import annotations

import re

import click

from textkin.cli.output import (
    Column,
    counted,
    form_options,
    json_option,
    number_column,
    say,
    talk,
    write_object,
    write_rows,
)
from textkin.errors import InputError

_COLUMNS = (
    Column("model"),
    number_column("dimensions"),
    number_column("texts"),
    Column("megabytes", lambda value: f"{value:,.1f}", right=True),
    Column("last_used", lambda value: value or "never"),
    Column("fingerprint", lambda value: value[:8]),
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


@click.group(invoke_without_command=True)
@click.pass_context
def ledger(ctx: click.Context) -> None:
    """Show, limit or prune the ledger: the vector of every text that was ever embedded, but no text.

    A collection keeps its own vectors, so forgetting some here costs nothing but embedding a text
    again when it comes again.

    \b
    textkin ledger
    textkin ledger limit 2GB
    textkin ledger prune --older-than 90
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show, form=None)


@ledger.command()
@form_options
def show(form: str | None) -> None:
    """What each model takes.

    \b
    textkin ledger show --json
    """
    from textkin._places import data_folder
    from textkin.ledger import ledger_if_there

    standing = ledger_if_there()
    if standing is None:
        write_rows((), _COLUMNS, form)
        talk(f"there is no ledger in {data_folder()}; it is made with the first embedding")
        return
    with standing as opened:
        uses = opened.stats()
        path, size, most = opened.path, opened.size(), opened.size_limit
    rows = [
        {
            "model": use.name,
            "dimensions": use.dimensions,
            "texts": use.texts,
            "megabytes": use.bytes / 1e6,
            "last_used": None if use.last_used is None else use.last_used.isoformat(),
            "fingerprint": use.fingerprint,
        }
        for use in uses
    ]
    write_rows(rows, _COLUMNS, form)
    bound = "" if most is None else f" of at most {most / 1e6:,.1f} MB"
    talk(f"{path}: {counted(sum(use.texts for use in uses), 'vector')}, {size / 1e6:,.1f} MB{bound}")


@ledger.command()
@click.argument("size")
@json_option
def limit(size: str, as_json: bool) -> None:
    """Keep the ledger under SIZE (such as 500MB or 2GB, or none) from now on; the longest unused goes first.

    \b
    textkin ledger limit 2GB
    textkin ledger limit none
    """
    from textkin.ledger import Ledger

    wanted = None if size.lower() == "none" else _bytes(size)
    with Ledger() as opened:
        gone = opened.limit(wanted)
        left = opened.size()
    _tell(gone, left, as_json)


@ledger.command()
@click.option("--model", metavar="NAME", help="Only this model's: a name, or the start of a fingerprint.")
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="Only those not used for so many days.",
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_option
def prune(model: str | None, days: int | None, everything: bool, as_json: bool) -> None:
    """Forget vectors: of one model, or those not used for some days, or both.

    \b
    textkin ledger prune --older-than 90
    textkin ledger prune --model all-mpnet-base-v2
    """
    from textkin.ledger import Ledger

    if everything == (model is not None or days is not None):
        raise click.UsageError("say what to forget: --model, --older-than, or --all alone")
    with Ledger() as opened:
        gone = opened.prune(model, 0 if everything else days)
        left = opened.size()
    _tell(gone, left, as_json)


def _tell(gone: int, left: int, as_json: bool) -> None:
    if as_json:
        write_object({"removed": gone, "bytes": left})
    else:
        say(f"{counted(gone, 'vector')} removed, {left / 1e6:,.1f} MB left")


def _bytes(size: str) -> int:
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise InputError(f"{size!r} is no size; expected something like 500MB, 2GB or none")
    number, unit, binary = found.groups()
    if float(number) and not re.search("[A-Za-z]", size):
        raise InputError(f"{size} what? Say the unit: {size}MB, {size}GB, or {size}B for bytes")
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))
