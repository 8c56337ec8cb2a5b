"""Connected components over numbered records: whatever hangs together by links is one group."""

from __future__ import annotations

import heapq

import numpy as np

from textkin.duplicates.stars import Links, Stars, keeping_order
from textkin.duplicates.unit_rows import Numbers


def component_groups(
    count: int,
    links: Links,
    order: Numbers | None,
    weights: Numbers | None = None,
    ties: Numbers | None = None,
) -> Stars:
    """One record kept of each component, the first in the order; arguments as in `star_groups`.

    A dropped record may be far from the kept one: the answer names the neighbour that it hangs on, along the
    strongest links from the kept record outwards, and the score with that neighbour.
    """
    rank = np.empty(count, dtype=np.int64)
    rank[keeping_order(count, links, order, weights, ties)] = np.arange(count)
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for i, j, score in zip(links.i.tolist(), links.j.tolist(), links.score.tolist(), strict=True):
        neighbours.setdefault(i, []).append((j, score))
        neighbours.setdefault(j, []).append((i, score))
    keeper = np.arange(count, dtype=np.int64)
    link = np.arange(count, dtype=np.int64)
    best = np.ones(count)
    done: set[int] = set()
    for root in sorted(neighbours, key=lambda record: int(rank[record])):
        if root in done:
            continue
        done.add(root)
        edge = [(-score, int(rank[root]), int(rank[far]), root, far) for far, score in neighbours[root]]
        heapq.heapify(edge)
        while edge:
            negative, _, _, near, far = heapq.heappop(edge)
            if far in done:
                continue
            done.add(far)
            keeper[far], link[far], best[far] = root, near, -negative
            for further, score in neighbours[far]:
                if further not in done:
                    heapq.heappush(edge, (-score, int(rank[far]), int(rank[further]), far, further))
    return Stars(keeper, best, link)
