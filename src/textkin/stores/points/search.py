"""Search over points: ask for more until the answer is certain, judge filters here, score in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from textkin.stores.points.backend import KIND, Points
from textkin.stores.points.encoding import Read, is_plain, key_of, read_point
from textkin.stores.points.loosen import loosened
from textkin.types import Hit, Vector
from textkin.where import matches
from textkin.where.conditions import And, Condition, In

_FIRST: Final = 32
_GROWTH: Final = 6
_MARGIN: Final = 1e-5
"""A database's own scores are float32 products: closer ones may stand in another order than ours."""


class _Best:
    """The best point of each record so far, and which points are not to be counted."""

    def __init__(self, query: Vector, k: int, wanted: Callable[[Read], bool]) -> None:
        self._query = query.astype(np.float64)
        self._k = k
        self._wanted = wanted
        self._seen: dict[str, tuple[float, Read]] = {}

    def take(self, reads: Iterable[Read]) -> float:
        """Look at these; returns the lowest score among them, whether wanted or not."""
        lowest = 1.0
        for read in reads:
            score = float((read.point.vector.astype(np.float64) * self._query).sum())
            lowest = min(lowest, score)
            if not self._wanted(read):
                continue
            known = self._seen.get(read.id)
            if known is None or (-score, read.spans[0].start) < (-known[0], known[1].spans[0].start):
                self._seen[read.id] = (score, read)
        return lowest

    def ranked(self) -> list[tuple[float, Read]]:
        """The k best, ties in order of insertion."""
        return sorted(self._seen.values(), key=lambda item: (-item[0], item[1].order))[: self._k]

    @property
    def full(self) -> bool:
        """Whether there are k."""
        return len(self._seen) >= self._k

    def certain(self, lowest: float) -> bool:
        """Whether nothing below ``lowest`` can be among the k best."""
        best = self.ranked()
        return len(best) == self._k and lowest < best[-1][0] - _MARGIN


def search_points(
    points: Points, query: Vector, k: int, where: Condition | None, *, whole: bool, dropped: frozenset[str]
) -> list[tuple[float, Read]]:
    """The k records whose best passage (or whose whole) scores highest.

    Args:
        points: the database.
        query: unit row.
        k: records, 1 or more.
        where: what they must satisfy.
        whole: by the unit mean of their passages.
        dropped: keys of points that are not to be counted.

    Returns:
        Scores and points, best first.
    """
    kinds = ("record", "whole") if whole else ("record", "passage")
    asked = None if where is None else askable(points, where)
    if asked is not None:
        # A filter costs many databases more than the few points it keeps away, so the kind alone is judged here.
        asked = And((In(KIND, kinds), asked))

    def wanted(read: Read) -> bool:
        return (
            read.point.fields[KIND] in kinds
            and read.point.key not in dropped
            and (where is None or matches(where, read.metadata))
        )

    count = max(_FIRST, 2 * k)
    while count <= points.most:
        best = _Best(query, k, wanted)
        found = points.nearest(query, count, asked)
        lowest = best.take(read_point(point, points.url) for point in found)
        # An index that is not exact may run dry before it has come to all that satisfy a filter.
        dry = len(found) < count
        if best.certain(lowest) or (dry and (points.exact or best.full)):
            return best.ranked()
        if dry:
            break
        count = points.most if count < points.most < count * _GROWTH else count * _GROWTH
    best = _Best(query, k, wanted)
    for page in points.pages(In(KIND, kinds) if asked is None else asked, vectors=True):
        best.take(read_point(point, points.url) for point in page)
    return best.ranked()


def askable(points: Points, where: Condition) -> Condition | None:
    """What of a user's filter the database can be asked for; fields of our own names are only in the payload."""
    return loosened(where, lambda leaf: is_plain(leaf.field) and points.can(leaf))


def stale(points: Points, found: Iterable[Read]) -> frozenset[str]:
    """Keys of passages whose record is not (or no longer) what they were written with: left by a killed write."""
    passages = [read for read in found if read.is_passage]
    if not passages:
        return frozenset()
    heads = points.fetch(sorted({key_of(read.id) for read in passages}), vectors=False)
    digests = {key: read_point(point, points.url).digest for key, point in heads.items()}
    return frozenset(read.point.key for read in passages if digests.get(key_of(read.id)) != read.digest)


def to_hit(score: float, read: Read) -> Hit:
    """What the user gets."""
    return Hit(read.id, min(1.0, max(-1.0, score)), read.passage_text, read.metadata, read.spans[0])
