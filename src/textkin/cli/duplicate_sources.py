"""Where ``textkin duplicates`` finds them: in a collection, or in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textkin._progress import bar
from textkin.cli.fetching import begin, open_for_reading
from textkin.cli.file_records import embed_files
from textkin.cli.hints import tell_why_nothing
from textkin.cli.money import telling_what_is_kept

if TYPE_CHECKING:
    from textkin.duplicates.groups import DuplicateReport
    from textkin.jobs.deduplicating import Threshold
    from textkin.models.spending import Budget, Spent
    from textkin.text.options import ReadOptions
    from textkin.types import Record


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say on finding and grouping; ``must_be_sure``: of the threshold, where that is ``auto``."""

    threshold: Threshold
    keep: str
    date_field: str | None
    veto: tuple[str, ...]
    groups: str
    where: str | None
    approximate_above: int | None
    must_be_sure: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A report, the records that it is of, the rows of tables that they came from, and what was spent on them."""

    report: DuplicateReport
    records: Sequence[Record]
    rows: Mapping[str, Mapping[str, Any]]
    spent: Spent


def of_collection(
    place: str, wish: Wish, model: str | None, base_url: str | None, budget: Budget, *, ledger: bool
) -> Found:
    """Find those of a collection."""
    from textkin.cli.calibrate import auto_threshold
    from textkin.cli.fetching import ensure_model_of

    with (
        open_for_reading(place, model, base_url, budget, ledger=ledger) as collection,
        telling_what_is_kept(collection.spend, ledger=ledger),
    ):
        threshold = wish.threshold
        if threshold == "auto":
            if collection.calibration() is None:
                ensure_model_of(collection)
            threshold = auto_threshold(collection, must_be_sure=wish.must_be_sure)
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


def of_files(
    paths: Sequence[str],
    wish: Wish,
    options: ReadOptions,
    model: str | None,
    engine: Mapping[str, Any],
    budget: Budget,
    verbose: bool,
    *,
    ledger: bool,
) -> Found:
    """Find those of files, which are embedded."""
    from textkin.duplicates.approximate import approximate_join
    from textkin.duplicates.find import find_duplicates
    from textkin.duplicates.keep import field_values
    from textkin.duplicates.work import exact_join
    from textkin.models.resolve import model_reader
    from textkin.models.spending import Spend

    spend = Spend(budget)
    with telling_what_is_kept(spend, ledger=ledger), spend.counting():
        begin(spend, model)
        read = embed_files(paths, options, model, engine, verbose, ledger=ledger)
        threshold = wish.threshold
        if threshold == "auto":
            from textkin.cli.calibrate import calibrate_files, tell_auto

            calibration = calibrate_files(read, ledger=ledger)
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
            reader=model_reader(read.model.unwrap()),
        )
    return Found(report, read.records, read.rows, spend.spent())
