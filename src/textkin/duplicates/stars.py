"""Star groups over numbered records: who is kept, and who stands for each record that is dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textkin.duplicates.unit_rows import Doubles, Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs of records that are near-duplicates: numbers and scores, each pair once, in any order."""

    i: Numbers
    j: Numbers
    score: Doubles

    def reaching(self, threshold: float) -> Links:
        """Those that score at least ``threshold``."""
        enough = self.score >= threshold
        return Links(self.i[enough], self.j[enough], self.score[enough])


@dataclass(frozen=True, slots=True, eq=False)
class Stars:
    """One answer a record.

    Attributes:
        keeper: ``(n,)``: the record kept in its place; its own number when it is kept.
        score: ``(n,)``: its score with its keeper; 1 when it is kept.
    """

    keeper: Numbers
    score: Doubles


def star_groups(count: int, links: Links, order: Numbers | None, weights: Numbers | None = None) -> Stars:
    """Go through the records in the order of the keep rule: keep each one that has no kept neighbour.

    So no two kept records are linked, and each dropped record is linked to the one that stands for it: of its kept
    neighbours the one with the highest score, ties to the first in the order.

    Args:
        count: records are numbered from 0 to ``count`` - 1.
        links: which records are near-duplicates.
        order: record numbers, the one to keep first; None: the one with most neighbours first, ties by the higher
            mean score, then by number.
        weights: ``(count,)``: how many records each one stands for when neighbours are counted; None: 1.
    """
    # Each link from both of its ends, grouped by the end that it starts from.
    start = np.concatenate([links.i, links.j])
    end = np.concatenate([links.j, links.i])
    score = np.concatenate([links.score, links.score])
    by_start = np.argsort(start, kind="stable")
    start, end, score = start[by_start], end[by_start], score[by_start]
    if order is None:
        order = _central_first(count, start, end, score, weights)
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    kept = np.ones(count, dtype=np.bool_)
    linked = np.unique(start)
    first = np.searchsorted(start, linked, side="left").tolist()
    last = np.searchsorted(start, linked, side="right").tolist()
    for place in np.argsort(rank[linked], kind="stable").tolist():
        # Any neighbour that went before and was kept has already dropped this record.
        if kept[linked[place]]:
            neighbours = end[first[place] : last[place]]
            kept[neighbours] = False
    keeper = np.arange(count, dtype=np.int64)
    best = np.ones(count)
    stands = ~kept[start] & kept[end]
    start, end, score = start[stands], end[stands], score[stands]
    choice = np.lexsort((rank[end], -score, start))
    dropped, where = np.unique(start[choice], return_index=True)
    keeper[dropped] = end[choice][where]
    best[dropped] = score[choice][where]
    return Stars(keeper, best)


def _central_first(count: int, start: Numbers, end: Numbers, score: Doubles, weights: Numbers | None) -> Numbers:
    weight = np.ones(len(end)) if weights is None else weights[end].astype(np.float64)
    neighbours = np.bincount(start, weights=weight, minlength=count)
    if weights is not None:
        neighbours += weights - 1
    sums = np.bincount(start, weights=score * weight, minlength=count)
    if weights is not None:
        sums += weights - 1
    mean = sums / np.maximum(neighbours, 1)
    return np.lexsort((np.arange(count), -np.round(mean, 12), -neighbours)).astype(np.int64)
