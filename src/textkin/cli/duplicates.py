"""``textkin duplicates``: near-duplicates in a collection or in files, with the record to keep of each group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from textkin._progress import bar
from textkin.cli.fetching import load_with_bar
from textkin.cli.hints import tell_why_nothing
from textkin.cli.options import WORDS, engine_options, read_options, read_options_of, where_option
from textkin.cli.output import (
    Column,
    counted,
    form_options,
    score_column,
    talk,
    text_column,
    write_object,
    write_rows,
)
from textkin.cli.reports import skips, tell_cut, tell_refused
from textkin.errors import InputError, StoreNotFoundError
from textkin.stores.resolve import is_database

if TYPE_CHECKING:
    from textkin.duplicates.groups import DuplicateReport
    from textkin.duplicates.keep import Rule
    from textkin.text.options import ReadOptions

_KEEP = ("first", "last", "longest", "newest", "central")
_COLUMNS = (Column("group", right=True), Column("what"), score_column(), Column("id"), text_column())


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="COLLECTION|FILE...")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="Cosine from which two records are near-duplicates.",
)
@click.option(
    "--keep",
    type=click.Choice(_KEEP),
    default="first",
    show_default=True,
    help="Which record of a group stays; first and last as added, newest by --date-field, central: the one with "
    "most near-duplicates.",
)
@click.option(
    "--date-field",
    type=WORDS,
    metavar="FIELD",
    help="For --keep newest, which needs it: the metadata that holds the date.",
)
@where_option
@click.option("--model", metavar="NAME", help="For files: a model's name or folder. [default: all-MiniLM-L6-v2]")
@read_options
@engine_options
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped in files.")
@form_options
def duplicates(
    paths: tuple[str, ...],
    threshold: float,
    keep: str,
    date_field: str | None,
    where: str | None,
    model: str | None,
    precision: Literal["float32", "int8"] | None,
    device: str,
    threads: int | None,
    verbose: bool,
    form: str | None,
    **reading: Any,
) -> None:
    """Find all pairs of records that are nearly the same, in groups around the one to keep.

    Exact: no pair is missed. Nothing is removed. CSV and JSON lines have a row for each record that
    could go, with its score against the record kept.

    \b
    textkin duplicates notes.kin --threshold 0.9
    textkin duplicates reviews.csv --text-column review --keep longest --csv > drop.csv
    """
    if keep == "newest" and date_field is None:
        raise click.UsageError(
            "--keep newest needs --date-field FIELD, the metadata with the date; --keep last keeps the last added"
        )
    if keep != "newest" and date_field is not None:
        raise click.UsageError("--date-field is for --keep newest")
    if _is_collection(paths):
        report, texts = _of_collection(paths[0], threshold, keep, date_field, where)
    else:
        if where is not None:
            raise click.UsageError("--where is for collections")
        engine = {"device": device, "precision": precision or "float32", "threads": threads}
        options = read_options_of(reading)
        report, texts = _of_files(paths, threshold, keep, date_field, options, model, engine, verbose)
    if form == "json":
        write_object(report.to_dict())
    elif form is None:
        write_rows(_table_rows(report, texts), _COLUMNS, None)
    else:
        write_rows(report.rows(), (), form)
    talk(_summary(report))


def _is_collection(paths: Sequence[str]) -> bool:
    """Whether the arguments name one collection.

    Raises:
        StoreNotFoundError: it is named like one, and isn't there.
        InputError: a collection among other arguments.
    """
    found = [
        path
        for path in paths
        if is_database(path) or path.endswith(".kin") or (Path(path) / "collection.db").exists()
    ]
    if found and len(paths) > 1:
        raise InputError(f"{found[0]} is a collection; give one collection, or files")
    if found and not is_database(found[0]) and not Path(found[0]).exists():
        raise StoreNotFoundError(
            f"there is no collection at {found[0]}; make one: textkin index PATH --to {found[0]}"
        )
    return bool(found)


def _of_collection(
    place: str, threshold: float, keep: str, date_field: str | None, where: str | None
) -> tuple[DuplicateReport, Mapping[str, str]]:
    from textkin.collection import Collection

    with Collection(place, create=False) as collection:
        with bar("comparing") as progress:
            report = collection.duplicates(
                threshold, keep=keep, date_field=date_field, where=where, progress=progress
            )
        named = {name for group in report for name in (group.kept, *(record.id for record in group.dropped))}
        texts = {record.id: record.text for record in collection.records(where) if record.id in named}
        if where is not None and not report.total:
            tell_why_nothing(collection, where)
    return report, texts


def _of_files(
    paths: Sequence[str],
    threshold: float,
    keep: str,
    date_field: str | None,
    options: ReadOptions,
    model: str | None,
    engine: Mapping[str, Any],
    verbose: bool,
) -> tuple[DuplicateReport, Mapping[str, str]]:
    from textkin.duplicates.find import find_duplicates
    from textkin.jobs.embedding import embed_records, record_vectors
    from textkin.ledger import Ledger
    from textkin.text.read import read_inputs

    with skips(verbose) as on_skip:
        records = list(read_inputs(paths, options=options, on_skip=on_skip))
    loaded = load_with_bar(model, **engine)
    with Ledger() as ledger, bar("embedding") as progress:
        embedded = embed_records(loaded.unwrap(), records, ledger, progress)
    talk(f"{counted(embedded.embedded, 'text')} embedded now, {embedded.from_ledger:,} from the ledger")
    tell_cut(embedded.truncated)
    tell_refused(embedded.failed)
    records = list(embedded.records)
    vectors = record_vectors(embedded.records, embedded.vectors)
    ids, texts = [record.id for record in records], [record.text for record in records]
    dates = None if date_field is None else [record.metadata.get(date_field) for record in records]
    with bar("comparing") as progress:
        report = find_duplicates(ids, texts, vectors, threshold, keep=keep, dates=dates, progress=progress)
    return report, dict(zip(ids, texts, strict=True))


def _table_rows(report: DuplicateReport, texts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(report, 1):
        yield {"group": number, "what": "keep", "score": None, "id": group.kept, "text": texts[group.kept]}
        for record in group.dropped:
            yield {
                "group": "",
                "what": record.reason,
                "score": record.score,
                "id": record.id,
                "text": texts[record.id],
            }


def _summary(report: DuplicateReport) -> str:
    pairs, groups = counted(len(report.pairs), "pair"), counted(len(report), "group")
    return (
        f"{counted(report.total, 'record')}, {pairs} at {report.threshold:g} or more, {groups}; "
        f"{counted(len(report.dropped), 'record')} could go. Exact: no pair was missed; nothing was removed."
    )
