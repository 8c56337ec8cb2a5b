"""``textkin list``, ``show``, ``remove`` and ``info``: the records of a collection."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.fetching import open_for_reading, refuse_in_vain
from textkin.cli.hints import tell_why_nothing
from textkin.cli.options import WORDS, TextCommand, maker_option, place_argument, where_option
from textkin.cli.output import (
    Column,
    counted,
    form_options,
    json_option,
    metadata_text,
    say,
    talk,
    text_column,
    write_facts,
    write_object,
    write_rows,
)
from textkin.cli.visible import safe
from textkin.errors import InputError, RecordNotFoundError
from textkin.stores.arrays.pair import files_of
from textkin.stores.resolve import array_path, is_database, may_be_foreign, without_password
from textkin.types import Record

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.stores.foreign import ForeignFacts

_COLUMNS = (Column("id"), Column("metadata", lambda metadata: metadata_text(metadata)[:60]), text_column())
_SOURCES_NAMED = 5
_SHOWN = 20


@click.command("list")
@place_argument
@where_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"How many at most; 0 for all. [default: {_SHOWN} in a table, all as JSON or CSV]",
)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="How many to leave out first.")
@maker_option
@form_options
def list_(
    place: str,
    where: str | None,
    limit: int | None,
    offset: int,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    form: str | None,
) -> None:
    """List the records of COLLECTION in the order in which they were added.

    \b
    textkin list notes.kin --limit 5
    textkin list notes.kin --where 'lang in ("en", "fr")' --jsonl > notes.jsonl
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        total = collection.count(where)
        most = limit if limit is not None else _SHOWN if form is None else 0
        stop = offset + most if most else None
        write_rows(map(_row, islice(collection.records(where), offset, stop)), _COLUMNS, form)
        if not total:
            talk("no records")
            if where is not None:
                tell_why_nothing(collection, where)
            return
    last = min(total, stop) if stop else total
    if offset or last < total:
        talk(
            f"{offset + 1:,} to {last:,} of {counted(total, 'record')}; --limit and --offset choose others"
            if offset < last
            else f"there are only {counted(total, 'record')}"
        )


@click.command(cls=TextCommand)
@place_argument
@click.argument("ids", nargs=-1, required=True, type=WORDS, metavar="ID...")
@maker_option
@form_options
def show(
    place: str, ids: tuple[str, ...], model: str | None, base_url: str | None, no_ledger: bool, form: str | None
) -> None:
    """Show records of COLLECTION in full.

    \b
    textkin show notes.kin docs/refunds.md
    textkin show notes.kin a1 b7 --json
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        found = [collection.get(name) for name in ids]
    if form is not None:
        write_rows(map(_row, found), _COLUMNS, form)
        return
    for number, record in enumerate(found):
        if number:
            say()
        write_facts(dict(_facts(record)))
        say()
        say(record.text)


@click.command(cls=TextCommand)
@place_argument
@click.argument("ids", nargs=-1, type=WORDS, metavar="[ID]...")
@where_option
@click.option(
    "--source",
    metavar="PATH",
    help="All that was indexed from this path, as given then; - for standard input. It may be gone already.",
)
@click.option("--yes", is_flag=True, help="With --where and --source: remove without asking.")
@json_option
def remove(
    place: str, ids: tuple[str, ...], where: str | None, source: str | None, yes: bool, as_json: bool
) -> None:
    """Remove records from COLLECTION by id, all that satisfy --where, or all of one --source.

    \b
    textkin remove notes.kin docs/old.md
    textkin remove notes.kin --where 'year < 2015' --yes
    textkin remove notes.kin --source old-notes/ --yes
    """
    from textkin.collection import Collection

    if bool(ids) + (where is not None) + (source is not None) != 1:
        raise click.UsageError("give either the IDs of records, --where or --source")
    if may_be_foreign(place):
        refuse_in_vain(place, None)
    with Collection(place, create=False) as collection:
        if source is not None:
            removed = _remove_source(collection, place, source, yes)
        elif where is not None:
            count = collection.count(where)
            if not count:
                tell_why_nothing(collection, where)
            elif not yes:
                _confirm(counted(count, "record"), place)
            with collection.writing("remove"):
                removed = collection.remove([record.id for record in collection.records(where)])
        else:
            removed = collection.remove(ids)
        left = collection.count()
    if as_json:
        write_object({"removed": removed, "records": left})
    else:
        say(f"{counted(removed, 'record')} removed, {left:,} left")


@click.command()
@place_argument
@maker_option
@click.option("--recall", is_flag=True, help="Measure what search misses, on 100 of the collection's own records.")
@json_option
def info(
    place: str, model: str | None, base_url: str | None, no_ledger: bool, recall: bool, as_json: bool
) -> None:
    """Say how many records COLLECTION has, how large it is and which model made its vectors.

    \b
    textkin info notes.kin
    textkin info chroma:db --recall
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        found = collection.info()
        measured = None
        if recall:
            with bar("reading") as progress:
                measured = collection.recall(progress=progress)
    made_with = found.model
    size = place_bytes(place)
    if as_json:
        write_object(
            {
                "place": found.place,
                "records": found.records,
                "bytes": size,
                "exact": found.exact,
                "recall": None
                if measured is None
                else {"k": measured.k, "recall": measured.share, "interval": measured.interval}
                | {"sampled": measured.sampled},
                "model": None
                if made_with is None
                else {
                    "name": made_with.name,
                    "dimensions": made_with.dimensions,
                    "max_tokens": made_with.max_tokens,
                    "precision": made_with.precision,
                    "fingerprint": made_with.fingerprint,
                    "details": dict(made_with.details),
                },
                **({} if found.foreign is None else {"foreign": asdict(found.foreign)}),
            }
        )
        return
    facts = {"collection": found.place, "records": f"{found.records:,}"}
    if size is not None:
        facts["size"] = f"{size / 1e6:,.1f} MB"
    if made_with is None:
        facts["model"] = "none yet: nothing has been added"
    else:
        most = made_with.max_tokens
        limit = "no limit known" if most is None else f"reads {most:,} tokens of a passage"
        facts["model"] = f"{made_with.name}: {made_with.dimensions} dimensions, {made_with.precision}, {limit}"
        facts["fingerprint"] = made_with.fingerprint
    facts["search"] = "compares every vector" if found.exact else "by the database's own index, may miss some"
    if measured is not None:
        facts["recall"] = str(measured)
    if found.foreign is not None:
        facts.update(_foreign_facts(found.foreign))
    write_facts(facts)


def _foreign_facts(found: ForeignFacts) -> Iterator[tuple[str, str]]:
    cut = f"; {found.cut} longer than the model reads: only their beginning counts" if found.cut else ""
    yield (
        "made by",
        f"another tool, read-only. {counted(found.compared, 'text')} embedded again: cosine {found.least:.6f} or "
        f"more, median {found.median:.6f}{cut}",
    )
    for number, line in enumerate(found.lines()):
        yield f"note {number + 1}", line


def place_bytes(place: str) -> int | None:
    """What the files of a collection take together; None where a database keeps them."""
    if is_database(place):
        return None
    numbers = array_path(place)
    if numbers is not None:
        return files_of(numbers).size()
    return sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())


def _remove_source(collection: Collection, place: str, source: str, yes: bool) -> int:
    """Remove what came from a source.

    Raises:
        RecordNotFoundError: nothing did; names the sources that there are.
    """
    if not source:
        raise InputError("--source is empty; give the path that was indexed")
    if not yes:
        _confirm(f"all records of {source}", place)
    removed = collection.remove_source(source)
    if not removed:
        known = sorted({record.source for record in collection if record.source is not None})
        named = ", ".join(known[:_SOURCES_NAMED]) + (" …" if len(known) > _SOURCES_NAMED else "")
        raise RecordNotFoundError(
            f"no record of {without_password(place)} came from {source}; its sources: {named or 'none'}"
        )
    return removed


def _confirm(what: str, place: str) -> None:
    shown = without_password(place)
    if not sys.stdin.isatty():
        raise InputError(f"this would remove {what} from {shown}; say so with --yes")
    click.confirm(safe(f"Remove {what} from {shown}?"), abort=True, err=True)


def _row(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "text": record.text,
        "metadata": dict(record.metadata),
        "source": record.source,
        "passages": [[span.start, span.end] for span in record.spans],
    }


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "id", record.id
    if record.source is not None:
        yield "source", record.source
    if len(record.spans) > 1:
        yield "passages", str(len(record.spans))
    for key, value in record.metadata.items():
        yield f"metadata {key}", "(none)" if value is None else str(value)
