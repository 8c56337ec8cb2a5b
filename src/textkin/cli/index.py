"""``textkin index``: bring a collection up to date with files, folders or standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.fetching import open_for_writing
from textkin.cli.main import INTERRUPTED
from textkin.cli.money import spent_lines, telling_at_a_stop
from textkin.cli.options import (
    budget_of,
    budget_options,
    engine_options,
    ledger_option,
    model_option,
    read_options,
    read_options_of,
    server_option,
)
from textkin.cli.output import counted, json_option, say, write_object
from textkin.cli.reports import index_report_lines, index_report_row, skips, tell_losses, tell_stopped
from textkin.stores.resolve import without_password

if TYPE_CHECKING:
    from textkin.models.resolve import Precision


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", "place", required=True, metavar="COLLECTION", help="The collection, e.g. notes.kin.")
@model_option
@server_option
@read_options
@click.option("--keep-missing", is_flag=True, help="Keep records that are no longer in their source.")
@ledger_option
@engine_options
@budget_options
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped.")
@json_option
def index(
    paths: tuple[str, ...],
    place: str,
    model: str | None,
    base_url: str | None,
    keep_missing: bool,
    no_ledger: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    verbose: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Index each PATH (a file, a folder, a pattern, or - for standard input) into a collection.

    Run it again at any time: only what is new or changed is embedded, what is gone is dropped. Ctrl-C
    loses nothing that was stored; the same command goes on from there.

    \b
    textkin index docs/ 'notes/*.md' --to notes.kin
    textkin index reviews.csv --text-column review --id-column no --to reviews.kin
    cat titles.txt | textkin index - --to titles.kin
    textkin index docs/ --to paid.kin --model openai:text-embedding-3-small --max-cost 5
    """
    budget = budget_of(given)
    options = read_options_of(given)
    with (
        open_for_writing(
            place,
            model,
            ledger=not no_ledger,
            device=device,
            precision=precision,
            threads=threads,
            budget=budget,
            base_url=base_url,
        ) as collection,
        telling_at_a_stop(collection.spend),
        skips(verbose) as on_skip,
    ):
        try:
            with bar("indexing") as progress:
                report = collection.add_files(
                    paths,
                    options=options,
                    keep_missing=keep_missing,
                    progress=progress,
                    on_skip=on_skip,
                    on_note=on_skip.note,
                )
        except KeyboardInterrupt:
            tell_stopped(place, collection.count(), ledger=not no_ledger)
            raise click.exceptions.Exit(INTERRUPTED) from None
        records = collection.count()
        spent = collection.spend.spent()
    tell_losses(report)
    shown = without_password(place)
    skipped = {"skipped": on_skip.skipped, "failed": on_skip.failed}
    if as_json:
        row = index_report_row(report)
        write_object({"place": shown, "records": records, **row, **skipped, "spent": spent.to_dict()})
        return
    for line in index_report_lines(report):
        say(line)
    if on_skip.skipped or on_skip.failed:
        say(f"{counted(on_skip.skipped, 'input')} skipped, {on_skip.failed:,} could not be read")
    say(f"{shown} has {counted(records, 'record')} now")
    for line in spent_lines(spent):
        say(line)
