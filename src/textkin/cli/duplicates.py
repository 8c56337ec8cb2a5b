"""``textkin duplicates``: near-duplicates in a collection or in files, with the record to keep of each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.duplicate_lines import summary_line, table_rows
from textkin.cli.fetching import begin, open_for_reading
from textkin.cli.file_records import embed_files
from textkin.cli.hints import tell_why_nothing
from textkin.cli.kept_file import check_apart, check_writable, kept_rows, write_lines
from textkin.cli.money import spent_lines, telling_what_is_kept
from textkin.cli.options import (
    THRESHOLD,
    WORDS,
    budget_of,
    budget_options,
    engine_options,
    files_model_option,
    read_options,
    read_options_of,
    server_option,
    where_option,
)
from textkin.cli.output import (
    Column,
    counted,
    form_options,
    say,
    score_column,
    talk,
    text_column,
    write_object,
    write_rows,
)
from textkin.errors import InputError, StoreNotFoundError
from textkin.stores.resolve import array_path, is_database

if TYPE_CHECKING:
    from textkin.duplicates.groups import DuplicateReport
    from textkin.jobs.deduplicating import Threshold
    from textkin.models.resolve import Precision
    from textkin.models.spending import Budget, Spent
    from textkin.text.options import ReadOptions
    from textkin.types import Record

_COLUMNS = (Column("group", right=True), Column("what"), score_column(), Column("id"), text_column())
_PAIR_COLUMNS = (score_column(), Column("id"), Column("other"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say on finding and grouping."""

    threshold: Threshold
    keep: str
    date_field: str | None
    veto: tuple[str, ...]
    groups: str
    where: str | None
    approximate_above: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A report, the records that it is of, the rows of tables that they came from, and what was spent on them."""

    report: DuplicateReport
    records: Sequence[Record]
    rows: Mapping[str, Mapping[str, Any]]
    spent: Spent


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="COLLECTION|FILE...")
@click.option(
    "--threshold",
    type=THRESHOLD,
    default="0.95",
    show_default=True,
    metavar="X|auto",
    help="Cosine from which two records are near-duplicates; auto: what textkin calibrate says.",
)
@click.option(
    "--keep",
    type=WORDS,
    default="first",
    show_default=True,
    metavar="RULE",
    help="Which record of a group stays: first or last as added, longest, newest by --date-field, central (with "
    "most near-duplicates), or the name of a metadata field: its highest number or date.",
)
@click.option(
    "--date-field",
    type=WORDS,
    metavar="FIELD",
    help="For --keep newest, which needs it: the metadata that holds the date.",
)
@click.option(
    "--veto",
    metavar="LIST",
    default="",
    help="numbers, negation or numbers,negation: records whose texts differ in numbers (any script) or in "
    "negation (English) are not duplicates.",
)
@click.option(
    "--groups",
    type=click.Choice(["stars", "pairs", "components"]),
    default="stars",
    show_default=True,
    help="stars: each record that could go is near the one kept; components: or hangs on it by a chain; pairs: "
    "all pairs, ungrouped.",
)
@click.option("--against", metavar="COLLECTION", help="Which records of FILE are already in this collection.")
@click.option("-o", "--output", metavar="FILE", help="Write what stays: JSON Lines, or CSV by its name.")
@click.option("--audit", metavar="FILE", help="Write one JSON line a record that could go, and one a veto.")
@click.option("--plot", metavar="FILE.svg", help="Draw pairs by score and groups by size.")
@click.option("--apply", is_flag=True, help="Delete from COLLECTION what could go: all or nothing, undoable.")
@click.option("--undo", is_flag=True, help="Bring back what the last --apply deleted.")
@click.option("--forget-undo", is_flag=True, help="Drop for good what the last --apply deleted.")
@click.option(
    "--approximate-above",
    type=click.IntRange(min=0),
    metavar="N",
    help="For more than N records, search with FAISS and say the recall measured. [default: always exact]",
)
@where_option
@files_model_option
@server_option
@read_options
@engine_options
@budget_options
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped in files.")
@form_options
def duplicates(
    paths: tuple[str, ...],
    threshold: Threshold,
    keep: str,
    date_field: str | None,
    veto: str,
    groups: str,
    against: str | None,
    output: str | None,
    audit: str | None,
    plot: str | None,
    apply: bool,
    undo: bool,
    forget_undo: bool,
    approximate_above: int | None,
    where: str | None,
    model: str | None,
    base_url: str | None,
    precision: Precision | None,
    device: str,
    threads: int | None,
    verbose: bool,
    form: str | None,
    **given: Any,
) -> None:
    """Find all pairs of records that are nearly the same, in groups around the one to keep.

    Exact: no pair is missed. Nothing is removed without --apply. CSV and JSON lines have a row for each
    record that could go, with its score against the record kept.

    \b
    textkin duplicates notes.kin --threshold auto --veto numbers,negation
    textkin duplicates reviews.jsonl --keep longest -o kept.jsonl --audit audit.jsonl
    textkin duplicates new.jsonl --against notes.kin -o really-new.jsonl
    textkin duplicates notes.kin --apply        # and back: textkin duplicates notes.kin --undo
    """
    _check_rule(keep, date_field)
    collection = is_collection(paths)
    if apply + undo + forget_undo > 1:
        raise click.UsageError("give one of --apply, --undo and --forget-undo")
    if undo or forget_undo:
        _take_back(paths, collection, undo=undo)
        return
    for path in (output, audit):
        check_writable(path)
    check_writable(plot, (".svg",))
    check_apart(paths, (output, audit, plot))
    vetoes = tuple(name.strip() for name in veto.split(",") if name.strip())
    budget = budget_of(given)
    engine = {"device": device, "precision": precision or "float32", "threads": threads, "base_url": base_url}
    options = read_options_of(given)
    if against is not None:
        from textkin.cli.against import find_against

        others = {
            "--apply": apply,
            "--groups": groups != "stars",
            "--where": where is not None,
            "--plot": plot is not None,
            "--keep": keep != "first",
            "--approximate-above": approximate_above is not None,
        }
        unfit = [name for name, given_too in others.items() if given_too]
        if collection or unfit:
            what = f"{paths[0]} is a collection" if collection else f"{', '.join(unfit)} has no meaning there"
            raise click.UsageError(
                f"--against says which records of FILE are in a collection already, and keeps what is new: {what}"
            )
        find_against(
            paths, against, threshold, vetoes, options, output, audit, form,
            model=model, base_url=base_url, budget=budget, verbose=verbose,
        )  # fmt: skip
        return
    if apply and (not collection or groups == "pairs"):
        raise click.UsageError("--apply deletes from a COLLECTION, by groups; of files, write what stays: -o")
    if output and groups == "pairs":
        raise click.UsageError("--groups pairs doesn't say which records stay; leave it out to write them with -o")
    shape = "stars" if groups == "pairs" else groups
    wish = Wish(threshold, keep, date_field, vetoes, shape, where, approximate_above)
    if collection:
        found = _of_collection(paths[0], wish, model, base_url, budget)
    else:
        if where is not None:
            raise click.UsageError("--where is for collections")
        found = _of_files(paths, wish, options, model, engine, budget, verbose)
    report = found.report
    if groups == "pairs":
        pairs = ({"id": one, "other": other, "score": score} for one, other, score in report.pairs)
        write_rows(pairs, _PAIR_COLUMNS, form)
    elif form == "json":
        spent = {} if found.spent.model is None else {"spent": found.spent.to_dict()}
        write_object({**report.to_dict(), **spent})
    elif form is None:
        texts = {record.id: record.text for record in found.records}
        write_rows(table_rows(report, texts), _COLUMNS, None)
    else:
        write_rows(report.rows(), (), form)
    if output is not None:
        count = write_lines(output, kept_rows(found.records, found.rows, report.kept))
        talk(f"{output}: {counted(count, 'record')} kept")
    if audit is not None:
        talk(f"{audit}: {counted(write_lines(audit, report.audit()), 'line')}")
    if plot is not None:
        report.draw(plot)
    removed = None
    if apply:
        from textkin.collection import Collection

        with Collection(paths[0], create=False) as opened:
            removed = opened.apply(report)
    talk(summary_line(report, paths[0], removed))
    for line in spent_lines(found.spent):
        talk(line)


def is_collection(paths: Sequence[str]) -> bool:
    """Whether the arguments name one collection.

    Raises:
        StoreNotFoundError: it is named like one, and isn't there.
        InputError: a collection among other arguments.
    """
    found = [
        path
        for path in paths
        if is_database(path)
        or array_path(path) is not None
        or path.endswith(".kin")
        or (Path(path) / "collection.db").exists()
    ]
    if found and len(paths) > 1:
        raise InputError(f"{found[0]} is a collection; give one collection, or files")
    if found and not is_database(found[0]) and not (array_path(found[0]) or Path(found[0])).exists():
        raise StoreNotFoundError(
            f"there is no collection at {found[0]}; make one: textkin index PATH --to {found[0]}"
        )
    return bool(found)


def _check_rule(keep: str, date_field: str | None) -> None:
    if keep == "newest" and date_field is None:
        raise click.UsageError(
            "--keep newest needs --date-field FIELD, the metadata with the date; --keep last keeps the last added"
        )
    if keep != "newest" and date_field is not None:
        raise click.UsageError("--date-field is for --keep newest")


def _take_back(paths: Sequence[str], collection: bool, *, undo: bool) -> None:
    from textkin.collection import Collection

    if not collection:
        raise click.UsageError("--undo and --forget-undo are for a COLLECTION")
    with Collection(paths[0], create=False) as opened:
        if undo:
            say(f"{counted(opened.undo(), 'record')} brought back, {opened.count():,} in all")
        else:
            say(f"{counted(opened.forget_undo(), 'record')} dropped for good")


def _of_collection(place: str, wish: Wish, model: str | None, base_url: str | None, budget: Budget) -> Found:
    from textkin.cli.calibrate import auto_threshold
    from textkin.cli.fetching import ensure_model_of

    with (
        open_for_reading(place, model, base_url, budget) as collection,
        telling_what_is_kept(collection.spend),
    ):
        threshold = wish.threshold
        if threshold == "auto":
            if collection.calibration() is None:
                ensure_model_of(collection)
            threshold = auto_threshold(collection)
        with bar("comparing") as progress:
            report = collection.duplicates(
                threshold,
                keep=wish.keep,
                date_field=wish.date_field,
                veto=wish.veto,
                groups=wish.groups,
                where=wish.where,
                approximate_above=wish.approximate_above,
                progress=progress,
            )
        records = list(collection.records(wish.where))
        if wish.where is not None and not report.total:
            tell_why_nothing(collection, wish.where)
        return Found(report, records, {}, collection.spend.spent())


def _of_files(
    paths: Sequence[str],
    wish: Wish,
    options: ReadOptions,
    model: str | None,
    engine: Mapping[str, Any],
    budget: Budget,
    verbose: bool,
) -> Found:
    from textkin.duplicates.approximate import approximate_join
    from textkin.duplicates.find import find_duplicates
    from textkin.duplicates.keep import field_values
    from textkin.duplicates.work import exact_join
    from textkin.models.spending import Spend

    spend = Spend(budget)
    with telling_what_is_kept(spend), spend.counting():
        begin(spend, model)
        read = embed_files(paths, options, model, engine, verbose)
        threshold = wish.threshold
        if threshold == "auto":
            from textkin.cli.calibrate import calibrate_files, tell_auto

            calibration = calibrate_files(read)
            tell_auto(calibration)
            threshold = calibration.threshold
    keep, values, rule = field_values(read.records, wish.keep, wish.date_field)
    join = exact_join if wish.approximate_above is None else approximate_join(wish.approximate_above, exact_join)
    with bar("comparing") as progress:
        report = find_duplicates(
            [record.id for record in read.records],
            [record.text for record in read.records],
            read.vectors,
            float(threshold),
            keep=keep,
            dates=values,
            metadata=[record.metadata for record in read.records],
            rule=rule,
            veto=wish.veto,
            groups=wish.groups,
            progress=progress,
            join=join,
        )
    return Found(report, read.records, read.rows, spend.spent())
