"""How many columns each step of the join looks at, chosen from a sample of pairs: speed, never the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textkin.duplicates.bound import Axes, margin, principal_axes, thin_rows, whole_rows
from textkin.duplicates.unit_rows import UnitRows
from textkin.types import Matrix

_LADDER = (15, 23, 31, 47, 63, 95, 127)
_SAMPLE = 1024
_SMALL = 8192
"""Below this many rows a side, choosing costs more than it saves (384 dimensions)."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One comparison of all candidates: left and right columns, and the least product that stays a candidate."""

    left: Matrix
    right: Matrix
    margin: float

    @property
    def columns(self) -> int:
        return int(self.left.shape[1])

    def border(self, threshold: float) -> np.float32:
        """A pair whose float32 product is below this has a score below ``threshold``."""
        return np.float32(np.nextafter(np.float32(threshold - self.margin), np.float32(-2)))


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """The steps before the exact scores.

    Attributes:
        steps: the first looks at every pair, the next at what the one before left.
        share: part of the pairs that reach the threshold, estimated from a sample; None when it was not.
        sampled: pairs in that sample.
    """

    steps: tuple[Step, ...]
    share: float | None
    sampled: int


def choose_cascade(left: UnitRows, right: UnitRows, threshold: float) -> Cascade:
    """The cheapest cascade for these rows; ``right`` may be ``left`` itself."""
    ladder = tuple(k for k in _LADDER if 2 * k <= left.dimensions)
    same = left is right
    if min(left.count, right.count) < _SMALL:
        return Cascade((_whole_step(left, right),), None, 0)
    a, b = row_samples(left, right)
    whole = left.take(a) @ right.take(b).T >= threshold
    share = float(np.mean(whole))
    if not ladder or threshold <= 0:
        return Cascade((_whole_step(left, right),), share, whole.size)
    axes = principal_axes(left, ladder[-1])
    shares = _shares(_part(left, a), _part(right, b), axes, ladder, threshold)
    chosen = _cheapest(ladder, shares, share, left.dimensions)
    if not chosen:
        return Cascade((_whole_step(left, right),), share, whole.size)
    lefts = thin_rows(left, axes, chosen)
    rights = lefts if same else thin_rows(right, axes, chosen)
    steps = tuple(
        Step(x, y, margin(x.shape[1], axes, left.dimensions)) for x, y in zip(lefts, rights, strict=True)
    )
    return Cascade(steps, share, whole.size)


def _cheapest(ladder: tuple[int, ...], shares: dict[int, float], share: float, dimensions: int) -> tuple[int, ...]:
    """One or two widths, or none where the whole product is cheaper.

    Costs are nanoseconds a pair as measured on one machine; only their ratios matter.
    """
    exact = 100.0 + 5.0 * dimensions
    best: tuple[int, ...] = ()
    cost = _product_cost(dimensions) + share * exact
    for first in ladder:
        start = _product_cost(first + 1)
        options: list[tuple[tuple[int, ...], float]] = [((first,), start + shares[first] * exact)]
        options += [
            ((first, k), start + shares[first] * (60.0 + 2.0 * k) + shares[k] * exact) for k in ladder if k > first
        ]
        for widths, total in options:
            if total < cost:
                best, cost = widths, total
    return best


def _product_cost(columns: int) -> float:
    return 0.15 + 0.015 * columns


def _shares(
    left: UnitRows, right: UnitRows, axes: Axes, ladder: tuple[int, ...], threshold: float
) -> dict[int, float]:
    """For each width the part of the sampled pairs that would stay candidates."""
    lefts, rights = thin_rows(left, axes, ladder), thin_rows(right, axes, ladder)
    return {k: float(np.mean(x @ y.T >= threshold)) for k, x, y in zip(ladder, lefts, rights, strict=True)}


def row_samples(
    left: UnitRows, right: UnitRows
) -> tuple[np.typing.NDArray[np.int64], np.typing.NDArray[np.int64]]:
    """Row numbers of both sides; disjoint when the sides are one, since a row is no duplicate of itself."""
    rng = np.random.default_rng(0)
    if left is right:
        order = rng.permutation(left.count)[: 2 * _SAMPLE]
        half = len(order) // 2
        return np.sort(order[:half]), np.sort(order[half:])
    a = np.sort(rng.permutation(left.count)[:_SAMPLE])
    return a, np.sort(rng.permutation(right.count)[:_SAMPLE])


def _part(rows: UnitRows, picked: np.typing.NDArray[np.int64]) -> UnitRows:
    peak = None if rows.peak is None else rows.peak[picked]
    return UnitRows(rows.source[picked], peak, rows.length[picked], rows.zero[picked])


def _whole_step(left: UnitRows, right: UnitRows) -> Step:
    columns = whole_rows(left)
    return Step(
        columns,
        columns if right is left else whole_rows(right),
        margin(left.dimensions, None, left.dimensions),
    )
