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
        score: ``(n,)``: its score with ``link``; 1 when it is kept.
        link: ``(n,)``: the record that it is linked to; its keeper in a star, a neighbour in a component.
    """

    keeper: Numbers
    score: Doubles
    link: Numbers


def star_groups(
    count: int,
    links: Links,
    order: Numbers | None,
    weights: Numbers | None = None,
    ties: Numbers | None = None,
) -> Stars:
    """Go through the records in the order of the keep rule: keep each one that has no kept neighbour.

    So no two kept records are linked, and each dropped record is linked to the one that stands for it: of its kept
    neighbours the one with the highest score, ties to the first in the order.

    Args:
        count: records are numbered from 0 to ``count`` - 1.
        links: which records are near-duplicates.
        order: record numbers, the one to keep first; None: the one with most neighbours first, ties by the higher
            mean score, then by ``ties``.
        weights: ``(count,)``: how many records each one stands for when neighbours are counted; None: 1.
        ties: record numbers, the one to prefer first; None: by number.
    """
    order = keeping_order(count, links, order, weights, ties)
    # Each link from both of its ends, grouped by the end that it starts from.
    start, end, score = _both_ways(links)
    by_start = np.argsort(start, kind="stable")
    start, end, score = start[by_start], end[by_start], score[by_start]
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
    return Stars(keeper, best, keeper)


def keeping_order(
    count: int, links: Links, order: Numbers | None, weights: Numbers | None, ties: Numbers | None
) -> Numbers:
    """The order given, or by how central each record is; arguments as in `star_groups`."""
    if order is not None:
        return order
    start, end, score = _both_ways(links)
    weight = np.ones(len(end)) if weights is None else weights[end].astype(np.float64)
    neighbours = np.bincount(start, weights=weight, minlength=count)
    if weights is not None:
        neighbours += weights - 1
    sums = np.bincount(start, weights=score * weight, minlength=count)
    if weights is not None:
        sums += weights - 1
    mean = sums / np.maximum(neighbours, 1)
    rank = np.arange(count)
    if ties is not None:
        rank = np.empty(count, dtype=np.int64)
        rank[ties] = np.arange(count)
    return np.lexsort((rank, -np.round(mean, 12), -neighbours)).astype(np.int64)


def _both_ways(links: Links) -> tuple[Numbers, Numbers, Doubles]:
    return (
        np.concatenate([links.i, links.j]),
        np.concatenate([links.j, links.i]),
        np.concatenate([links.score, links.score]),
    )
