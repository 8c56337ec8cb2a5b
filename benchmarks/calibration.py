"""How good calibration is: F1 of what it chooses, whether it says that it can't tell, false pairs predicted.

The first part takes labelled sets (`_calibration_sets.py`): those that the rule was made with, and those that
only judge it. The second takes texts that are all about something different, so that every pair counts as false: a
quarter of them is calibrated on, and pairs among the rest are counted at thresholds that ever fewer reach.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _calibration_sets import DESIGN, JUDGING, PLAIN, LabelledSet, Make
from _common import Goal, Report, Table, arguments, command_line, finish, say, work_folder
from textkin.duplicates.calibrate import calibrate
from textkin.duplicates.calibration import Calibration
from textkin.duplicates.null import fit_tail, sample_null
from textkin.duplicates.unit_rows import Numbers
from textkin.ledger import Ledger, embed
from textkin.models.resolve import Precision, load_model
from textkin.types import Matrix

MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
CORPORA = ("scifact titles", "stackoverflow titles", "search questions")
FOUND = (1000, 100, 30, 10)
WITHIN = 2.0
LEAST = 30
LOSS = 0.05
PRECISION = 0.85
NEGLIGIBLE = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """A calibration beside the labels.

    Attributes:
        found: it.
        records: how many.
        positives: pairs that are the same.
        f1: of its threshold, over all pairs.
        best: the best F1 that any threshold has.
        precision: of its threshold.
        ratios: false pairs predicted and found, the larger by the smaller, where 30 or more are found false.
        near: at each threshold that finds 30 pairs: within 2x, or off by less than 5 % of what is found.
    """

    found: Calibration
    records: int
    positives: int
    f1: float
    best: float
    precision: float
    ratios: list[float]
    near: list[bool]


def main(given: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names, joined by commas")
    parser.add_argument("--limit", type=int, default=2500, help="texts of a set or corpus at most")
    parser.add_argument("--precision", default="float32", help="of the models: float32, or int8, which is faster")
    parser.add_argument("--only", choices=("design", "judging"), help="only the sets of this kind, nothing else")
    parser.add_argument("--splits", type=int, default=5, help="random quarters to calibrate on")
    options = parser.parse_args(given)
    report = Report("Calibration", command_line("calibration.py", given))
    if options.data is None:
        report.notes.append("not measured: needs the data folder (--data, see benchmarks/README.md)")
        finish(report, options)
        return
    work_folder(options)
    names = options.models.split(",")
    for kind, which in (("design", DESIGN), ("judging", JUDGING)):
        if options.only in (None, kind):
            _sets(names, which, f"{kind} sets", options, report)
    if options.only is None:
        _tails(names, options, report)
    report.notes += [
        "auto: no label is seen. F1, best F1 and precision are over all pairs of different texts of a set.",
        "The rule was made with the design sets; the judging sets were run when it stood (docs/duplicates.md).",
        "false, worst: false pairs predicted and found, the larger by the smaller, over all thresholds from 0.3 "
        f"at which {LEAST} or more are false; in 2x: at how many of these it is at most {WITHIN:g}; {LEAST} "
        f"found: at how many thresholds that find {LEAST} pairs it is, or the two differ by less than "
        f"{NEGLIGIBLE:.0%} of the pairs found.",
    ]
    finish(report, options)


def _tails(names: Sequence[str], options: argparse.Namespace, report: Report) -> None:
    """Predict the pairs of three quarters of some texts from those of one."""
    tails = Table(
        "False pairs predicted / found among the other three quarters, median of the splits (least to greatest)",
        ("model", "corpus", *(f"at {count:,} found" for count in FOUND)),
    )
    worst: list[tuple[float, str]] = []
    single: list[bool] = []
    for name in names:
        say(f"{name} …")
        for corpus in CORPORA:
            texts = _texts(options.data, corpus)
            if len(texts) > options.limit:
                texts = random.Random(5).sample(texts, options.limit)
            ratios = _ratios(_vectors(name, texts, options.precision), options.splits)
            tails.rows.append((name, corpus, *(_shown(ratios[count]) for count in FOUND)))
            for count in FOUND:
                single += [1 / WITHIN <= ratio <= WITHIN for ratio in ratios[count]]
                middle = float(np.median(ratios[count]))
                worst.append((max(middle, 1 / middle), f"{count:,} found ({name}, {corpus})"))
    off, where = max(worst)
    report.goals.append(
        Goal(
            "false pairs predicted / found, median of the splits",
            f"within {WITHIN:g}x",
            f"{off:.2f}x off at {where}",
            off <= WITHIN,
        )
    )
    report.tables.append(tails)
    report.notes += [
        "Predicted from a random quarter of the texts, counted on the pairs of the rest (nine times as many); "
        "at 10 found, about one pair of the sample is expected that high, so that the curve is extrapolated.",
        f"Of the {len(single)} single figures behind the medians {sum(single)} are within {WITHIN:g}x.",
        "Every pair counts as false, though a few of these texts do say the same.",
    ]


def _judged(name: str, made: LabelledSet, precision: Precision) -> Judged:
    """Calibrate on a set, and hold the result against its labels."""
    vectors = _vectors(name, made.texts, precision)
    found = calibrate(made.texts, vectors, model=name, fingerprint="00" * 32)
    thing = np.array(made.thing)
    scores, same = [], []
    for start in range(0, len(thing), 512):
        stop = min(start + 512, len(thing))
        later = np.arange(len(thing))[None, :] > np.arange(start, stop)[:, None]
        scores.append((vectors[start:stop] @ vectors.T)[later])
        same.append((thing[start:stop, None] == thing[None, :])[later])
    score, true = np.concatenate(scores), np.concatenate(same)
    order = np.argsort(-score)
    ranked, right = score[order], np.cumsum(true[order])
    positives = int(true.sum())
    f1 = 2 * right / (np.arange(1, len(ranked) + 1) + max(positives, 1))

    def count(threshold: float) -> tuple[int, int]:
        pairs = int(np.searchsorted(-ranked, -(threshold - 1e-6)))
        return pairs, int(right[pairs - 1]) if pairs else 0

    pairs, hits = count(found.threshold)
    off: list[tuple[float, bool, bool]] = []
    for level in found.levels:
        reached, of_these = count(level.threshold)
        false = reached - of_these
        if reached >= LEAST:
            ratio = max(level.false, false) / max(min(level.false, false), 1e-9)
            off.append(
                (ratio, false >= LEAST, ratio <= WITHIN or abs(level.false - false) <= NEGLIGIBLE * reached)
            )
    return Judged(
        found,
        len(thing),
        positives,
        2 * hits / max(pairs + positives, 1),
        float(f1.max()),
        hits / pairs if pairs else 1.0,
        [ratio for ratio, plenty, _ in off if plenty],
        [near for _, _, near in off],
    )


def _sets(
    names: Sequence[str], which: Mapping[str, Make], title: str, options: argparse.Namespace, report: Report
) -> None:
    """Judge all models on some sets: one table, and goals over its rows."""
    table = Table(
        f"{title}: without labels",
        (
            "set",
            "model",
            "records",
            "same",
            "auto",
            "",
            "F1",
            "best",
            "precision",
            "false, worst",
            "in 2x",
            "30 found",
        ),
    )
    rows: list[tuple[str, Judged]] = []
    for label, make in which.items():
        try:
            made = make(options.data, options.limit)
        except FileNotFoundError as error:
            report.notes.append(f"not measured: {label}: {Path(error.filename).name} is not in the data folder")
            continue
        for name in names:
            say(f"{name}: {label} …")
            one = _judged(name, made, options.precision)
            rows.append((label, one))
            within = sum(ratio <= WITHIN for ratio in one.ratios)
            table.rows.append(
                (
                    label,
                    name,
                    f"{one.records:,}",
                    f"{one.positives:,}",
                    f"{one.found.threshold:.2f}",
                    "sure" if one.found.confident else "can't tell",
                    f"{one.f1:.3f}",
                    f"{one.best:.3f}",
                    f"{one.precision:.3f}",
                    f"{max(one.ratios):.2f}x" if one.ratios else "-",
                    f"{within} of {len(one.ratios)}",
                    f"{sum(one.near)} of {len(one.near)}",
                )
            )
    report.tables.append(table)
    sure = [(label, one) for label, one in rows if one.found.confident]
    plain = [(label, one) for label, one in rows if label in PLAIN]
    loss, where = max(((one.best - one.f1, label) for label, one in sure), default=(0.0, "none"))
    least, there = min(((one.precision, label) for label, one in sure), default=(1.0, "none"))
    worst, place = max(((max(one.ratios, default=1.0), label) for label, one in rows), default=(1.0, "none"))
    told = [label for label, one in plain if not one.found.confident]
    report.goals += [
        Goal(
            f"{title}: F1 of auto where it is sure",
            f"within {LOSS} of the best",
            f"{loss:.3f} less ({where})",
            loss <= LOSS,
        ),
        Goal(
            f"{title}: precision of what it finds there",
            f"{PRECISION} at least",
            f"{least:.3f} ({there})",
            least >= PRECISION,
        ),
        Goal(f"{title}: plain near-copies are told", "all", f"{len(plain) - len(told)} of {len(plain)}", not told),
        Goal(
            f"{title}: false pairs predicted / found, where {LEAST} or more are",
            f"within {WITHIN:g}x",
            f"{worst:.2f}x ({place})",
            worst <= WITHIN,
        ),
    ]


def _ratios(vectors: Matrix, splits: int) -> dict[int, list[float]]:
    ratios: dict[int, list[float]] = {count: [] for count in FOUND}
    for seed in range(splits):
        order: Numbers = np.random.default_rng(seed).permutation(len(vectors))
        quarter = len(vectors) // 4
        sample, rest = sample_null(vectors[order[:quarter]]), sample_null(vectors[order[quarter:]])
        predicted = fit_tail(sample.histogram()).above(sample.histogram()) / sample.pairs * rest.pairs
        counted = np.append(np.cumsum(rest.histogram()[::-1])[::-1], 0.0)
        for count in FOUND:
            level = int(np.argmin(np.abs(np.log((counted + 0.01) / count))))
            ratios[count].append(float(predicted[level] / counted[level]))
    return ratios


def _shown(ratios: Sequence[float]) -> str:
    return f"{math.exp(float(np.median(np.log(ratios)))):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _vectors(name: str, texts: Sequence[str], precision: Precision) -> Matrix:
    with Ledger() as ledger:
        return embed(load_model(name, precision=precision).unwrap(), texts, "document", ledger).vectors


def _texts(data: Path, corpus: str) -> list[str]:
    if corpus == "scifact titles":
        with gzip.open(data / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
            found = [str(json.loads(line)["title"]) for line in file]
    elif corpus == "stackoverflow titles":
        found = [row["title"] for row in _tsv(data / "stackoverflow_titles" / "titles.tsv")]
    else:
        found = [row["text"] for row in _tsv(data / "query_wellformedness" / "queries.tsv")]
    return list(dict.fromkeys(found))


def _tsv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"), strict=True)) for line in file]


if __name__ == "__main__":
    main(sys.argv[1:])
