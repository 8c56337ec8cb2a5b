"""``textkin export`` and ``textkin import``: a collection from one store to another."""

from __future__ import annotations

import click

from textkin.cli.output import counted, json_option, say, write_object

_merge = click.option(
    "--merge", is_flag=True, help="Keep other records of the same model that are at the target already."
)


@click.command()
@click.argument("source", metavar="COLLECTION")
@click.argument("target", metavar="TARGET")
@_merge
@json_option
def export(source: str, target: str, merge: bool, as_json: bool) -> None:
    """Copy COLLECTION with its vectors to TARGET, a place of any kind; nothing is embedded.

    Stopped at any moment, the same command goes on. At the end the records are counted, and a sample is read back
    and compared.

    \b
    textkin export notes.kin chroma:db
    textkin export notes.kin postgresql://localhost/notes
    textkin export notes.kin vectors.npy
    """
    _copy(source, target, merge, as_json)


@click.command("import")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="COLLECTION")
@_merge
@json_option
def import_(source: str, target: str, merge: bool, as_json: bool) -> None:
    """Copy what textkin keeps at SOURCE, a place of any kind, into COLLECTION; nothing is embedded.

    \b
    textkin import chroma:db notes.kin
    """
    _copy(source, target, merge, as_json)


def _copy(source: str, target: str, merge: bool, as_json: bool) -> None:
    from textkin.jobs.copying import copy_collection

    report = copy_collection(source, target, merge=merge, progress=True)
    if as_json:
        write_object(report.row())
        return
    say(
        f"{counted(report.copied, 'record')} copied, {report.unchanged:,} there already; {report.target} holds "
        f"{report.records:,} of {report.source}. {counted(report.compared, 'record')} read back: the same, "
        f"vectors within {report.largest_difference:.1g}"
    )
