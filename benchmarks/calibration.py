"""How good calibration is: F1 of the threshold it chooses, and false pairs predicted against found.

The first part needs records whose true matches are all known (two sources, so only pairs across them count). The
second takes texts that are all about something different, so that every pair counts as false: a quarter of them is
calibrated on, and pairs among the rest are counted at thresholds that ever fewer of the sample's pairs reach.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from _common import Goal, Report, Table, arguments, command_line, finish, say, work_folder
from textkin.duplicates.calibrate import calibrate
from textkin.duplicates.labels import judge
from textkin.duplicates.null import sample_null
from textkin.duplicates.tail import fit_tail
from textkin.duplicates.unit_rows import Doubles, Numbers
from textkin.ledger import Ledger, embed
from textkin.models.resolve import load_model
from textkin.types import Matrix

MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
CORPORA = ("scifact titles", "stackoverflow titles", "search questions")
FOUND = (1000, 100, 30, 10)
WITHIN = 2.0


def main(given: Sequence[str]) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names, joined by commas")
    parser.add_argument("--limit", type=int, default=3000, help="texts of a corpus at most")
    parser.add_argument("--splits", type=int, default=5, help="random quarters to calibrate on")
    options = parser.parse_args(given)
    report = Report("Calibration", command_line("calibration.py", given))
    if options.data is None:
        report.notes.append("not measured: needs the data folder (--data, see benchmarks/README.md)")
        finish(report, options)
        return
    work_folder(options)
    f1 = Table("F1 on dblp_acm", ("model", "auto", "F1", "best F1", "at", "share", "with labels", "share"))
    tails = Table(
        "False pairs predicted / found among the other three quarters, median of the splits (least to greatest)",
        ("model", "corpus", *(f"at {count:,} found" for count in FOUND)),
    )
    worst: list[tuple[float, str]] = []
    single: list[bool] = []
    for name in options.models.split(","):
        say(f"{name} …")
        _linkage(name, options.data, f1, report)
        for corpus in CORPORA:
            texts = _texts(options.data, corpus)
            if len(texts) > options.limit:
                texts = random.Random(5).sample(texts, options.limit)
            ratios = _ratios(_vectors(name, texts), options.splits)
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
    report.tables += [f1, tails]
    report.notes += [
        "auto: no label is seen; the threshold has the highest estimated F1. With labels: the best threshold on "
        "the training and validation pairs. Both are judged on all pairs across the two sources.",
        "Predicted from a random quarter of the texts, counted on the pairs of the rest (nine times as many); "
        "at 10 found, about one pair of the sample is expected that high, so that the curve is extrapolated.",
        f"Of the {len(single)} single figures behind the medians {sum(single)} are within {WITHIN:g}x.",
        "Every pair counts as false, though a few of these texts do say the same.",
    ]
    finish(report, options)


def _linkage(name: str, data: Path, table: Table, report: Report) -> None:
    records = _tsv(data / "dblp_acm" / "records.tsv")
    ids, texts = [row["id"] for row in records], [row["text"] for row in records]
    vectors = _vectors(name, texts)
    place = {record: number for number, record in enumerate(ids)}
    pairs = _tsv(data / "dblp_acm" / "labelled_pairs.tsv")
    left = vectors[[n for n, record in enumerate(ids) if record.startswith("A")]]
    right = vectors[[n for n, record in enumerate(ids) if record.startswith("B")]]
    every = np.sort((left @ right.T).ravel())
    same = np.array([row["match"] == "1" for row in pairs])
    one, other = (np.array([place[row[key]] for row in pairs]) for key in ("id_a", "id_b"))
    scores: Doubles = np.einsum("ij,ij->i", vectors[one].astype(np.float64), vectors[other].astype(np.float64))
    found = calibrate(texts, vectors, model=name, fingerprint="00" * 32)
    seen = np.array([row["split"] != "test" for row in pairs])
    labelled = judge(scores[seen], same[seen].tolist())
    true = np.sort(scores[same])

    def f1(threshold: float) -> float:
        right_ones = len(true) - int(np.searchsorted(true, threshold - 1e-6))
        return 2 * right_ones / (len(every) - int(np.searchsorted(every, threshold - 1e-6)) + len(true))

    grid = np.arange(0.4, 1.0, 0.001)
    best = max(grid.tolist(), key=f1)
    share, with_labels = f1(found.threshold) / f1(best), f1(labelled.threshold)
    table.rows.append(
        (
            name,
            f"{found.threshold:.2f}",
            f"{f1(found.threshold):.3f}",
            f"{f1(best):.3f}",
            f"{best:.3f}",
            f"{share:.1%}",
            f"{with_labels:.3f} at {labelled.threshold:.3f}",
            f"{with_labels / f1(best):.1%}",
        )
    )
    report.goals.append(Goal(f"F1 of auto, {name}", "95 % of the best possible", f"{share:.1%}", share >= 0.95))


def _ratios(vectors: Matrix, splits: int) -> dict[int, list[float]]:
    ratios: dict[int, list[float]] = {count: [] for count in FOUND}
    for seed in range(splits):
        order: Numbers = np.random.default_rng(seed).permutation(len(vectors))
        quarter = len(vectors) // 4
        sample, rest = sample_null(vectors[order[:quarter]]), sample_null(vectors[order[quarter:]])
        predicted = fit_tail(sample.histogram()).above() / sample.pairs * rest.pairs
        counted = np.append(np.cumsum(rest.histogram()[::-1])[::-1], 0.0)
        for count in FOUND:
            level = int(np.argmin(np.abs(np.log((counted + 0.01) / count))))
            ratios[count].append(float(predicted[level] / counted[level]))
    return ratios


def _shown(ratios: Sequence[float]) -> str:
    return f"{math.exp(float(np.median(np.log(ratios)))):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _vectors(name: str, texts: Sequence[str]) -> Matrix:
    with Ledger() as ledger:
        return embed(load_model(name).unwrap(), texts, "document", ledger).vectors


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
