"""``textkin export`` and ``textkin import``: a collection from one store to another."""

from __future__ import annotations

import click

from textkin.cli.fetching import ensure_weights, refuse_in_vain
from textkin.cli.money import spent_lines, telling_at_a_stop
from textkin.cli.options import maker_option
from textkin.cli.output import counted, json_option, say, talk, write_object
from textkin.stores.resolve import may_be_foreign

_merge = click.option(
    "--merge",
    is_flag=True,
    help="Keep other records of the same model that are at the target; replace those with the same id.",
)


@click.command()
@click.argument("source", metavar="COLLECTION")
@click.argument("target", metavar="TARGET")
@_merge
@maker_option
@json_option
def export(
    source: str,
    target: str,
    merge: bool,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    as_json: bool,
) -> None:
    """Copy COLLECTION with its vectors to TARGET, a place of any kind; nothing is embedded.

    Stopped at any moment, the same command goes on. At the end the records are counted, and a sample is read back
    and compared.

    \b
    textkin export notes.kin chroma:db
    textkin export notes.kin postgresql://localhost/notes
    textkin export notes.kin vectors.npy
    """
    _copy(source, target, model, base_url, merge, as_json, ledger=not no_ledger)


@click.command("import")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="COLLECTION")
@_merge
@maker_option
@json_option
def import_(
    source: str,
    target: str,
    merge: bool,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    as_json: bool,
) -> None:
    """Copy what is kept at SOURCE, a place of any kind, into COLLECTION; nothing is embedded.

    What another tool made is taken over too, when its model is named; a few texts are embedded to check it.
    SOURCE may also be the folder that textkin embed -o OUT/ wrote, with float32 or float16 vectors and texts.

    \b
    textkin import chroma:db notes.kin
    textkin import OUT/ notes.kin
    textkin import "chroma:db?collection=theirs" notes.kin --model all-MiniLM-L6-v2
    """
    _copy(source, target, model, base_url, merge, as_json, ledger=not no_ledger)


def _copy(
    source: str,
    target: str,
    model: str | None,
    base_url: str | None,
    merge: bool,
    as_json: bool,
    *,
    ledger: bool,
) -> None:
    from textkin.jobs.copying import copy_collection
    from textkin.models.spending import Spend

    if model is not None and may_be_foreign(source):
        refuse_in_vain(source, model, reading=True)
        refuse_in_vain(target, model)
        ensure_weights(model)
    spend = Spend()
    with telling_at_a_stop(spend), spend.counting():
        report = copy_collection(
            source, target, model=model, base_url=base_url, merge=merge, ledger=ledger, progress=True
        )
    spent = spend.spent()
    if as_json:
        write_object(report.row() | ({} if spent.model is None else {"spent": spent.to_dict()}))
        return
    say(
        f"{counted(report.copied, 'record')} copied, {report.unchanged:,} there already; {report.target} holds "
        f"{report.records:,} of {report.source}. {counted(report.compared, 'record')} read back: the same, "
        f"vectors within {report.largest_difference:.1g}"
    )
    if report.note:
        talk(report.note)
    for line in spent_lines(spent):
        talk(line)
