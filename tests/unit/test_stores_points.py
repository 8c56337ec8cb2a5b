"""Search over points, with a database in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from textkin.stores.points.backend import KIND, Point
from textkin.stores.points.encoding import to_points
from textkin.stores.points.search import search_points
from textkin.types import Record, Span, Vector
from textkin.where import condition
from textkin.where.conditions import Compare, Condition, In


class Dry:
    """A database whose index looks at a few points only, whatever the filter leaves of them."""

    url = "dry:"
    most = 1000

    def __init__(self, points: list[Point], *, looked_at: int, exact: bool) -> None:
        self._points = points
        self._looked_at = looked_at
        self.exact = exact
        self.read_all = 0

    def can(self, leaf: Compare | In) -> bool:
        return leaf.field == KIND

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        ordered = sorted(self._points, key=lambda point: -float(point.vector @ query))
        return ordered[: min(count, self._looked_at)]

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        self.read_all += 1
        yield self._points


def some_points(count: int) -> list[Point]:
    angles = np.linspace(0, 1, count)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    records = [Record(f"id{n}", "x", {"last": n >= count - 5}, None, (Span(0, 1),)) for n in range(count)]
    return [to_points(record, "", n, rows[n : n + 1])[0] for n, record in enumerate(records)]


def ids(points: Any, k: int, where: str | None) -> list[str]:
    query = np.array([1, 0], dtype=np.float32)
    asked = None if where is None else condition(where)
    return [read.id for _, read in search_points(points, query, k, asked, whole=False, dropped=frozenset())]


def test_an_index_that_runs_dry_hides_nothing_that_satisfies_the_filter() -> None:
    points: Any = Dry(some_points(100), looked_at=20, exact=False)
    assert ids(points, 3, "last = true") == ["id95", "id96", "id97"]
    assert points.read_all == 1
    assert ids(points, 3, None) == ["id0", "id1", "id2"]
    assert points.read_all == 1  # enough were found


def test_an_exact_search_that_finds_less_than_asked_for_has_found_all() -> None:
    points: Any = Dry(some_points(6), looked_at=6, exact=True)
    assert ids(points, 10, "last = true") == ["id1", "id2", "id3", "id4", "id5"]
    assert points.read_all == 0
