"""Labelled pairs: read from a CSV file, and what they say about thresholds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from textkin.duplicates.unit_rows import Doubles
from textkin.errors import FileReadError, InputError

_YES: Final = frozenset({"1", "1.0", "true", "yes", "y"})
_NO: Final = frozenset({"0", "0.0", "false", "no", "n"})
_RECALLS: Final = (0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two ids or two texts, and whether somebody took them for the same."""

    one: str
    other: str
    same: bool


@dataclass(frozen=True, slots=True)
class LabelScores:
    """What labelled pairs say.

    Attributes:
        pairs: how many.
        same: how many of them are the same.
        threshold: where F1 is best.
        f1: there.
        precision: there.
        recall: there.
        average_precision: area under precision over recall.
        precision_at: for some recalls, the best precision that has at least this recall, and its threshold.
    """

    pairs: int
    same: int
    threshold: float
    f1: float
    precision: float
    recall: float
    average_precision: float
    precision_at: tuple[tuple[float, float, float], ...]


def read_labels(path: str | Path) -> list[LabelledPair]:
    """Pairs out of a CSV (or, by its suffix, TSV) file: two ids or texts and a label, the last three columns.

    A header is known by its label, which is neither yes (1, true, yes, y) nor no (0, false, no, n).

    Raises:
        FileReadError: the file can't be read.
        InputError: a row that is not one, by its line.
    """
    place = Path(path)
    tabs = place.suffix.lower() in (".tsv", ".tab")
    pairs: list[LabelledPair] = []
    try:
        with place.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if tabs else ",")
            for row in reader:
                if not row:
                    continue
                label = row[-1].strip().casefold()
                if len(row) >= 3 and label in _YES | _NO:
                    pairs.append(LabelledPair(row[-3].strip(), row[-2].strip(), label in _YES))
                elif pairs or reader.line_num > 1:
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected two ids (or texts) and a label of 1 or 0, "
                        f"found {row!r}"
                    )
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileReadError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not pairs:
        raise InputError(
            f"{path} holds no labelled pair; expected rows of two ids (or texts) and a label of 1 or 0"
        )
    return pairs


def judge(scores: Doubles, same: Sequence[bool]) -> LabelScores:
    """Find the best thresholds for labelled pairs.

    A threshold lies in the middle between two scores, so that it is not tied to one pair.

    Raises:
        InputError: the pairs are all the same or all different.
    """
    truth = np.asarray(same, dtype=np.bool_)
    positives = int(truth.sum())
    if not 0 < positives < len(truth):
        raise InputError(f"of {len(truth)} labelled pairs {positives} are the same; some must be and some not")
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    found, right = last + 1, right[last]
    precision, recall = right / found, right / positives
    f1 = 2 * right / (found + positives)
    levels = ranked[last]
    thresholds = (levels + np.append(levels[1:], levels[-1])) / 2
    best = int(np.argmax(f1))
    at = []
    for wanted in _RECALLS:
        enough = np.flatnonzero(recall >= wanted - 1e-12)
        place = int(enough[np.argmax(precision[enough])])
        at.append((wanted, float(precision[place]), float(thresholds[place])))
    steps = np.diff(np.concatenate([[0.0], recall]))
    return LabelScores(
        pairs=len(truth),
        same=positives,
        threshold=float(thresholds[best]),
        f1=float(f1[best]),
        precision=float(precision[best]),
        recall=float(recall[best]),
        average_precision=float((steps * precision).sum()),
        precision_at=tuple(at),
    )
