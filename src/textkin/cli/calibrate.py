"""``textkin calibrate``: what each threshold would find and miss in these texts."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.fetching import begin, ensure_model_of, open_for_reading
from textkin.cli.file_records import FileRecords, embed_files
from textkin.cli.kept_file import check_writable
from textkin.cli.money import spent_lines, telling_what_is_kept
from textkin.cli.options import (
    budget_of,
    budget_options,
    engine_options,
    files_model_option,
    ledger_option,
    read_options,
    read_options_of,
    server_option,
)
from textkin.cli.output import Column, form_options, talk, write_object, write_rows
from textkin.duplicates.calibration import about
from textkin.errors import InputError

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.duplicates.calibration import Calibration
    from textkin.duplicates.labels import LabelledPair
    from textkin.models.resolve import Precision

_COPIES = 256
_MIN_PRECISION = 0.9
_MIN_SCORE = 0.6
_FROM = 0.5
_STEPS = 5


_COLUMNS = (
    Column("threshold", lambda value: f"{value:.2f}", right=True),
    Column("found", about, right=True),
    Column("false", right=True),
    Column("at most", about, right=True),
    Column("copies", about, right=True),
    Column("different", about, right=True),
    Column("missed", lambda value: f"{value:.1%}", right=True),
    Column("advice"),
)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="COLLECTION|FILE...")
@click.option(
    "--labels",
    metavar="PAIRS.csv",
    help="Pairs that somebody judged: two ids (or texts) and 1 or 0 a line. Then auto is their best F1.",
)
@click.option(
    "--copies",
    type=click.IntRange(min=0),
    default=_COPIES,
    show_default=True,
    help="How many lightly edited copies of texts to embed, to see which are missed; 0 for none.",
)
@click.option(
    "--min-precision",
    type=click.FloatRange(0, 1, min_open=True),
    default=_MIN_PRECISION,
    show_default=True,
    metavar="SHARE",
    help="Share of the found pairs that must be true at the least where auto is sure.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(-1, 1, min_open=True),
    default=_MIN_SCORE,
    show_default=True,
    metavar="X",
    help="auto is never lower.",
)
@click.option("--plot", metavar="FILE.svg", help="Draw thresholds against found, false and missed.")
@click.option("--all", "every", is_flag=True, help="All thresholds from 0.3 in steps of 0.01, also in the table.")
@files_model_option
@server_option
@ledger_option
@read_options
@engine_options
@budget_options
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped in files.")
@form_options
def calibrate(
    paths: tuple[str, ...],
    labels: str | None,
    copies: int,
    min_precision: float,
    min_score: float,
    plot: str | None,
    every: bool,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    verbose: bool,
    form: str | None,
    **given: Any,
) -> None:
    """Which threshold? Estimate from your texts and model what each would find, and what it would miss.

    found: pairs of different texts that reach the threshold. false: how many of them are expected to be no
    duplicates, and at most; ~ marks what is extrapolated from random pairs. copies: how many of them differ like
    a copy with slips. different: by numbers, a negation, or a word that is exchanged in other pairs as well.
    missed: share of lightly edited copies (typos, case, punctuation, a word dropped …) that stay below. For a
    collection the result is kept, and textkin duplicates --threshold auto uses it. Where the data can't tell
    which threshold is right, it says so.

    \b
    textkin calibrate notes.kin --plot thresholds.svg
    textkin calibrate reviews.jsonl --labels judged.csv
    """
    from textkin.cli.duplicates import is_collection
    from textkin.duplicates.labels import read_labels
    from textkin.models.spending import Spend

    check_writable(plot, (".svg",))
    judged = None if labels is None else read_labels(labels)
    budget = budget_of(given)
    if is_collection(paths):
        with open_for_reading(paths[0], model, base_url, budget, ledger=not no_ledger) as collection:
            spend = collection.spend
            if copies or labels:
                ensure_model_of(collection)
            with telling_what_is_kept(spend, ledger=not no_ledger), bar("scoring") as progress:
                found = collection.calibrate(
                    labels, copies=copies, min_precision=min_precision, min_score=min_score, progress=progress
                )
    else:
        engine = {"device": device, "precision": precision or "float32", "threads": threads, "base_url": base_url}
        spend = Spend(budget)
        with telling_what_is_kept(spend, ledger=not no_ledger), spend.counting():
            begin(spend, model)
            read = embed_files(paths, read_options_of(given), model, engine, verbose, ledger=not no_ledger)
            found = calibrate_files(read, judged, copies, min_precision, min_score, ledger=not no_ledger)
    spent = spend.spent()
    if form == "json":
        write_object(found.to_dict() | ({} if spent.model is None else {"spent": spent.to_dict()}))
    elif form is not None:
        write_rows(found.rows(), (), form)
    else:
        _write_table(found, every)
    if plot is not None:
        found.draw(plot)
    _tell(found)
    for line in spent_lines(spent):
        talk(line)


def calibrate_files(
    read: FileRecords,
    labels: list[LabelledPair] | None = None,
    copies: int = _COPIES,
    min_precision: float = _MIN_PRECISION,
    min_score: float = _MIN_SCORE,
    *,
    ledger: bool = True,
) -> Calibration:
    """Calibrate on the records of files."""
    from textkin.jobs.deduplicating import calibrate_records, embedder
    from textkin.ledger import Ledger

    with Ledger() if ledger else nullcontext() as kept, bar("scoring") as progress:
        return calibrate_records(
            read.records,
            read.vectors,
            embedder(read.model.unwrap, lambda: kept),
            model=read.model.info.name,
            fingerprint=read.model.info.fingerprint,
            labels=labels,
            copies=copies,
            min_precision=min_precision,
            min_score=min_score,
            progress=progress,
        )


def auto_threshold(collection: Collection, *, must_be_sure: bool = False) -> float:
    """The threshold that ``auto`` stands for, told with its reason; calibrates where that was not done.

    Raises:
        InputError: the data can't tell it, and it must be sure.
    """
    with bar("calibrating") as progress:
        found = collection.calibrated(progress=progress)
    loose = found.min_precision < _MIN_PRECISION or found.min_score < _MIN_SCORE
    if must_be_sure and loose:
        raise InputError(
            f"{found.threshold:g} was calibrated with --min-precision {found.min_precision:g} and --min-score "
            f"{found.min_score:g}, below the usual {_MIN_PRECISION:g} and {_MIN_SCORE:g}. Nothing was deleted: "
            "calibrate again without them, or add --yes"
        )
    if must_be_sure and not found.confident:
        raise InputError(
            f"{found.why}. Nothing was deleted: see what {found.threshold:g} finds without --apply, give a "
            f"number, judge pairs for textkin calibrate --labels, or add --yes to delete at {found.threshold:g}"
        )
    tell_auto(found)
    return found.threshold


def tell_auto(found: Calibration) -> None:
    """Say which threshold ``auto`` takes, and why; or that it is only a cautious one."""
    talk(f"threshold {found.threshold:g}{'' if found.confident else ', a cautious number'}: {found.why}")


def _write_table(found: Calibration, every: bool) -> None:
    from textkin.duplicates.calibration import ADVICE

    advice = {low: f"{name}: {low:g}" + (f" to {high:g}" if high < 1 else "") for name, low, high in ADVICE}
    chosen = round(found.threshold, 2)
    rows = []
    for level in found.levels:
        hundredths = round(level.threshold * 100)
        is_chosen = abs(level.threshold - chosen) < 0.005
        if not every and not is_chosen and (level.threshold < _FROM or hundredths % _STEPS):
            continue
        marks = ["auto"] if is_chosen else []
        marks += [advice[level.threshold]] if level.threshold in advice else []
        rows.append(
            {
                "threshold": level.threshold,
                "found": level.found,
                "false": f"{'~' if level.extrapolated else ''}{about(level.false)}",
                "at most": level.false_high,
                "copies": level.copies,
                "different": level.different,
                "missed": level.missed,
                "advice": ", ".join(marks),
            }
        )
    write_rows(rows, _COLUMNS, None)


def _tell(found: Calibration) -> None:
    low, high = found.window
    beyond = "" if high >= 1 else f"; duplicates show above, so the curve is extrapolated beyond {high:.2f} (~)"
    talk(
        f"{found.texts:,} different texts of {found.records:,} records, {found.model}; random pairs of "
        f"{found.sampled:,} texts, curve fitted from {low:.2f} to {high:.2f}{beyond}"
    )
    if not found.fitted:
        talk("warning: the scores don't follow the curve well; take the expected false pairs as a rough guide")
    if found.copies:
        worst = sorted(found.at(found.threshold).missed_by.items(), key=lambda item: -item[1])[:3]
        named = ", ".join(f"{kind} {share:.0%}" for kind, share in worst if share)
        talk(f"{found.copies:,} edited copies; missed most at {found.threshold:g}: {named or 'none'}")
    if found.labels is not None:
        one = found.labels
        at = "; ".join(f"{p:.3f} at recall {r:g} (threshold {t:.3f})" for r, p, t in one.precision_at)
        talk(
            f"{one.pairs:,} labelled pairs, {one.same:,} the same: best F1 {one.f1:.3f} at {one.threshold:.3f}, "
            f"average precision {one.average_precision:.3f}; precision {at}"
        )
    tell_auto(found)
    talk(
        "the usual advice (0.95 near-copies, 0.7 to 0.85 related, 0.5 to 0.7 loosely) knows no texts and no model"
    )
