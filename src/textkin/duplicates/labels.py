"""Labelled pairs: read from a CSV file, and what they say about thresholds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from textkin.duplicates.find import plain
from textkin.duplicates.unit_rows import Doubles, pair_scores, unit_rows
from textkin.errors import FileReadError, InputError
from textkin.types import Matrix
from textkin.vectors.proportion import wilson_interval

EmbedTexts: TypeAlias = Callable[[Sequence[str]], tuple[Matrix, Sequence[int]]]
"""Texts to one unit row each, and the places of those that the model refused (their rows are zero)."""

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
        precision_low: at the best F1, the lower end of the precision's 95 % interval (Wilson).
    """

    pairs: int
    same: int
    threshold: float
    f1: float
    precision: float
    recall: float
    average_precision: float
    precision_at: tuple[tuple[float, float, float], ...]
    precision_low: float = 0.0


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
        precision_low=wilson_interval(float(right[best]), int(found[best]))[0],
    )


def label_scores(
    pairs: Sequence[LabelledPair],
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: npt.NDArray[Any],
    embed: EmbedTexts,
) -> tuple[Doubles, list[bool]]:
    """Score labelled pairs: a name is an id, else a text of a record, else a text that is embedded now.

    Raises:
        InputError: a name that is no id where most are ids, or where it looks like one; a text that can't be
            embedded.
    """
    place_of = {plain(text): record for record, text in enumerate(texts)}
    place_of.update({name: record for record, name in enumerate(ids)})
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.one, pair.other)))
    known = {name: place_of.get(name, place_of.get(plain(name), -1)) for name in names}
    unknown = [name for name in names if known[name] < 0]
    rows = np.asarray(vectors)
    _refuse_mistyped(names, unknown, frozenset(ids))
    if unknown:
        fresh, refused = embed(unknown)
        if refused:
            raise InputError(f"{unknown[refused[0]]!r} is no id, and can't be embedded as a text")
        known.update({name: len(rows) + place for place, name in enumerate(unknown)})
        rows = np.concatenate([rows, fresh]) if len(rows) else fresh
    one = np.array([known[pair.one] for pair in pairs], dtype=np.int64)
    other = np.array([known[pair.other] for pair in pairs], dtype=np.int64)
    unit = unit_rows(rows)
    return pair_scores(unit, one, unit, other), [pair.same for pair in pairs]


def _refuse_mistyped(names: Sequence[str], unknown: Sequence[str], ids: frozenset[str]) -> None:
    """Refuse to take for texts what is meant as ids.

    Raises:
        InputError: a single word that is neither an id nor a text here, where others are ids or all are such.
    """
    mistyped = [name for name in unknown if len(name.split()) < 2]
    if mistyped and (len(mistyped) == len(names) or any(name in ids for name in names)):
        named = ", ".join(map(repr, mistyped[:5])) + (", …" if len(mistyped) > 5 else "")
        raise InputError(
            f"{len(mistyped)} of {len(names)} names in the labels are no ids of these records: {named}. Mend "
            "those pairs, or leave them out; for files, --id-column names the column that holds the ids"
        )
