"""``textkin duplicates``: near-duplicates in a collection or in files, with the record to keep of each group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textkin.cli.duplicate_lines import summary_line, table_rows
from textkin.cli.duplicate_sources import Wish, of_collection, of_files
from textkin.cli.kept_file import LINES, check_apart, check_outside, check_writable, kept_rows, write_lines
from textkin.cli.money import spent_lines
from textkin.cli.options import (
    THRESHOLD,
    WORDS,
    budget_of,
    budget_options,
    engine_options,
    files_model_option,
    ledger_option,
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
from textkin.cli.reports import tell_unread
from textkin.errors import InputError, StoreNotFoundError
from textkin.stores.resolve import array_path, is_database
from textkin.vectors.outputs import holds_output

if TYPE_CHECKING:
    from textkin.jobs.deduplicating import Threshold
    from textkin.models.resolve import Precision

_COLUMNS = (Column("group", right=True), Column("what"), score_column(), Column("id"), text_column())
_PAIR_COLUMNS = (score_column(), Column("id"), Column("other"))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="COLLECTION|OUT/|FILE...")
@click.option(
    "--threshold",
    type=THRESHOLD,
    default="0.95",
    show_default=True,
    metavar="X|auto",
    help="Cosine from which two records are near-duplicates; auto: what textkin calibrate says; where "
    "the data can't tell, a cautious number, and --apply asks for --yes.",
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
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write what stays: JSON Lines, or CSV by its name; of OUT/ also .parquet.",
)
@click.option("--audit", metavar="FILE", help="Write one JSON line a record that could go, and one a veto.")
@click.option("--plot", metavar="FILE.svg", help="Draw pairs by score and groups by size.")
@click.option("--apply", is_flag=True, help="Delete from COLLECTION what could go: all or nothing, undoable.")
@click.option(
    "--yes",
    is_flag=True,
    help="With --apply and --threshold auto: delete also where the data can't tell the threshold.",
)
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
@ledger_option
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where OUT/ is joined: here, or on a Ray cluster.",
)
@click.option(
    "--address",
    metavar="A",
    help="The Ray cluster: auto, or HOST:PORT. [default: one on this machine, for this job]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Cores of a Ray cluster that is started for this job. [default: all]",
)
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
    yes: bool,
    undo: bool,
    forget_undo: bool,
    approximate_above: int | None,
    where: str | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    precision: Precision | None,
    device: str,
    threads: int | None,
    verbose: bool,
    form: str | None,
    **given: Any,
) -> None:
    """Find all pairs of records that are nearly the same, in groups around the one to keep.

    Exact: no pair is missed. Nothing is removed without --apply. CSV and JSON lines have a row for each
    record that could go, with its score against the record kept. OUT/ is what textkin embed -o OUT/ wrote: its
    vectors are compared as they are stored, and nothing is embedded.

    \b
    textkin duplicates notes.kin --threshold auto --veto numbers,negation
    textkin duplicates reviews.jsonl --keep longest -o kept.jsonl --audit audit.jsonl
    textkin duplicates new.jsonl --against notes.kin -o really-new.jsonl
    textkin duplicates OUT/ -o kept.parquet --engine ray
    textkin duplicates notes.kin --apply        # and back: textkin duplicates notes.kin --undo
    """
    _check_rule(keep, date_field)
    collection = is_collection(paths)
    if apply + undo + forget_undo > 1:
        raise click.UsageError("give one of --apply, --undo and --forget-undo")
    if undo or forget_undo:
        _take_back(paths, collection, undo=undo)
        return
    is_output = any(holds_output(path) for path in paths)
    if engine == "ray" and not is_output:
        raise click.UsageError("--engine ray joins what textkin embed -o OUT/ wrote; a collection is joined here")
    if engine == "local" and (address is not None or workers is not None):
        raise click.UsageError("--address and --workers go with --engine ray")
    check_writable(output, (*LINES, ".parquet") if is_output else LINES)
    check_writable(audit)
    check_writable(plot, (".svg",))
    check_apart(paths, (output, audit, plot))
    if is_output:
        check_outside(paths, (output, audit, plot))
    vetoes = tuple(name.strip() for name in veto.split(",") if name.strip())
    budget = budget_of(given)
    loading = {"device": device, "precision": precision or "float32", "threads": threads, "base_url": base_url}
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
        if collection or is_output or unfit:
            what = f"{', '.join(unfit)} has no meaning there"
            if collection or is_output:
                what = f"{paths[0]} is {'a collection' if collection else 'the output of an embedding job'}"
            raise click.UsageError(
                f"--against says which records of FILE are in a collection already, and keeps what is new: {what}"
            )
        find_against(
            paths, against, threshold, vetoes, options, output, audit, form,
            model=model, base_url=base_url, budget=budget, ledger=not no_ledger, verbose=verbose,
        )  # fmt: skip
        return
    if apply and (not collection or groups == "pairs"):
        raise click.UsageError("--apply deletes from a COLLECTION, by groups; of files, write what stays: -o")
    if output and groups == "pairs":
        raise click.UsageError("--groups pairs doesn't say which records stay; leave it out to write them with -o")
    shape = "stars" if groups == "pairs" else groups
    wish = Wish(threshold, keep, date_field, vetoes, shape, where, approximate_above, apply and not yes)
    written = None
    if is_output:
        from textkin.cli.output_duplicates import RayPlace, find_in_output

        if model is not None or base_url is not None:
            raise click.UsageError(f"{paths[0]} holds its vectors already; leave --model and --base-url out")
        found, written = find_in_output(paths, wish, RayPlace(address, workers) if engine == "ray" else None)
    elif collection:
        found = of_collection(paths[0], wish, model, base_url, budget, ledger=not no_ledger)
    else:
        if where is not None:
            raise click.UsageError("--where is for collections")
        found = of_files(paths, wish, options, model, loading, budget, verbose, ledger=not no_ledger)
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
    if output is not None and written is not None and output.lower().endswith(".parquet"):
        from textkin.cli.output_duplicates import write_kept

        write_kept(written, output, report.kept)
    elif output is not None:
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
    if collection or is_output:
        tell_unread(report.unread)
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
