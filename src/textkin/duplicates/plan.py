"""How the compiled join goes about it, chosen from a sample of pairs: speed, never the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textkin.duplicates.cascade import row_samples
from textkin.duplicates.frame import Centred, Frame, Split, centred_axes, make_frame, quantise, small_product
from textkin.duplicates.kernel_code import GROUP, Kernel
from textkin.duplicates.unit_rows import UnitRows

_LADDER = (16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Components, the one for the rest included."""
_AXES_SAMPLE = 2048
_SCALE_SAMPLE = 1024
_HIT = 25.0
"""Nanoseconds that a candidate of the first step costs, as measured on one machine; only ratios matter."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What to look at.

    Attributes:
        centred: for both steps.
        first: looked at for every pair that is not pruned.
        second: looked at for what the first step left; None: nothing.
        share: part of the pairs that reach the threshold, estimated from a sample.
        sampled: pairs in that sample.
        pairs: in all.
        cost: expected nanoseconds of one core a pair, for the first step.
        row_cost: likewise a row, for turning it into whole numbers.
    """

    centred: Centred
    first: Frame
    second: Frame | None
    share: float
    sampled: int
    pairs: int
    cost: float
    row_cost: float


def choose_plan(left: UnitRows, right: UnitRows, threshold: float, kernel: Kernel) -> Plan:
    """The cheapest plan for these rows; ``right`` may be ``left`` itself."""
    a, b = row_samples(left, right)
    unit_a, unit_b = left.take(a), right.take(b)
    share = float(np.mean(small_product(unit_a, unit_b.T) >= threshold))
    picked = np.linspace(0, left.count - 1, min(left.count, _AXES_SAMPLE)).astype(np.int64)
    sample = left.take(picked)
    if right is not left:
        picked = np.linspace(0, right.count - 1, min(right.count, _AXES_SAMPLE)).astype(np.int64)
        sample = np.concatenate([sample, right.take(picked)])
    dimensions = left.dimensions
    ladder = tuple(c for c in _LADDER if c - 1 <= min(0.6 * dimensions, len(sample) / 2))
    trial = _Trial(left, right, a, b, threshold, kernel)
    thin = centred_axes(sample, ladder[-1] - 1) if ladder else None
    whole = centred_axes(sample, dimensions)
    pairs = left.count * right.count / (2 if right is left else 1)
    rows = left.count + (0 if right is left else right.count)
    exact = 40.0 + 0.5 * dimensions

    def a_row(axes: int) -> float:
        return 4.0 * dimensions + 0.06 * dimensions * axes + 0.06 * axes**2

    def prepared(axes: int) -> float:
        return rows / pairs * a_row(axes)

    firsts = [(c - 1, thin) for c in ladder if thin is not None] + [(dimensions, whole)]
    best: tuple[float, Centred, Frame, Frame | None] | None = None
    for axes, centred in firsts:
        product = _product_cost(kernel, axes + 1)
        if best is not None and product >= best[0]:
            break
        first, some = trial.first(centred, axes)
        cost = product + prepared(axes) + some * (_HIT + exact)
        if best is None or cost < best[0]:
            best = cost, centred, first, None
        for c in ladder if centred is thin else ():
            floor = product + prepared(c - 1) + some * (_HIT + 10 + 0.2 * c)
            if c - 1 <= axes or floor >= best[0]:
                continue
            second, less = trial.second(centred, c - 1)
            cost = floor + less * exact
            if cost < best[0]:
                best = cost, centred, first, second
    assert best is not None
    _, centred, first, second_frame = best
    cost = _product_cost(kernel, first.components)
    row_cost = a_row(max(first.axes, second_frame.axes if second_frame else 0))
    return Plan(centred, first, second_frame, share, len(a) * len(b), int(pairs), cost, row_cost)


class _Trial:
    """Frames for a sample of pairs, and the part of these that each would leave."""

    def __init__(
        self,
        left: UnitRows,
        right: UnitRows,
        a: npt.NDArray[np.int64],
        b: npt.NDArray[np.int64],
        threshold: float,
        kernel: Kernel,
    ) -> None:
        self._sides = (left, a), (right, b)
        self._threshold = threshold
        self._kernel = kernel
        self._splits: dict[int, tuple[Split, Split]] = {}
        self._made: dict[tuple[int, int, int], tuple[Frame, float]] = {}

    def first(self, centred: Centred, axes: int) -> tuple[Frame, float]:
        return self._frame(centred, axes, self._kernel.bits, self._kernel.packed)

    def second(self, centred: Centred, axes: int) -> tuple[Frame, float]:
        """With 8 bits on every processor."""
        return self._frame(centred, axes, 8, GROUP)

    def _frame(self, centred: Centred, axes: int, bits: int, multiple: int) -> tuple[Frame, float]:
        key = axes, bits, multiple
        if key not in self._made:
            left, right = self._split(centred)
            part = slice(None, None, max(1, len(left[1]) // _SCALE_SAMPLE))
            some = (
                np.concatenate([left[0][part], right[0][part]]),
                np.concatenate([left[1][part], right[1][part]]),
                np.concatenate([left[2][part], right[2][part]]),
            )
            frame = make_frame(centred, some, axes, bits, multiple)
            self._made[key] = frame, _share(frame, left, right, self._threshold)
        return self._made[key]

    def _split(self, centred: Centred) -> tuple[Split, Split]:
        if id(centred) not in self._splits:
            (left, a), (right, b) = self._sides
            self._splits[id(centred)] = centred.split(left, a), centred.split(right, b)
        return self._splits[id(centred)]


def _share(frame: Frame, left: Split, right: Split, threshold: float) -> float:
    a, b = quantise(frame, left), quantise(frame, right)
    largest = max(float(a.size.max()), float(b.size.max()))
    # Exact as float32 for 8 bits up to 1,000 components, and near enough for an estimate beyond.
    product = small_product(a.components.astype(np.float32), b.components.astype(np.float32).T)
    product += b.starts(frame, largest)
    return float(np.mean(product >= a.borders(frame, threshold, largest)[:, None]))


def _product_cost(kernel: Kernel, components: int) -> float:
    """Nanoseconds of a pair, as measured on one machine; only ratios matter."""
    return 0.01 + (0.0044 if kernel.bits == 8 else 0.0088) * components
