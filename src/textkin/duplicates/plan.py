"""How the compiled join goes about it, chosen from a sample of pairs: speed, never the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textkin.duplicates.cascade import row_samples
from textkin.duplicates.frame import Centred, Frame, centred_axes, make_frame, quantise
from textkin.duplicates.kernel_code import GROUP, Kernel
from textkin.duplicates.unit_rows import Doubles, UnitRows

_LADDER = (16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Components, the one for the rest included."""
_AXES_SAMPLE = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What to look at.

    Attributes:
        centred: for both steps.
        first: looked at for every pair that is not pruned.
        second: looked at for what the first step left; None: nothing.
        share: part of the pairs that reach the threshold, estimated from a sample.
        sampled: pairs in that sample.
        cost: expected nanoseconds of one core a pair, for the first step.
    """

    centred: Centred
    first: Frame
    second: Frame | None
    share: float
    sampled: int
    cost: float


def choose_plan(left: UnitRows, right: UnitRows, threshold: float, kernel: Kernel) -> Plan:
    """The cheapest plan for these rows; ``right`` may be ``left`` itself."""
    a, b = row_samples(left, right)
    unit_a, unit_b = left.take(a), right.take(b)
    share = float(np.mean(unit_a @ unit_b.T >= threshold))
    picked = np.linspace(0, left.count - 1, min(left.count, _AXES_SAMPLE)).astype(np.int64)
    sample = left.take(picked)
    if right is not left:
        picked = np.linspace(0, right.count - 1, min(right.count, _AXES_SAMPLE)).astype(np.int64)
        sample = np.concatenate([sample, right.take(picked)])
    dimensions = left.dimensions
    ladder = tuple(c for c in _LADDER if c - 1 <= min(0.6 * dimensions, len(sample) / 2))
    whole = _Option(centred_axes(sample, dimensions), dimensions, left, right, a, b, threshold, kernel)
    thin: list[_Option] = []
    if ladder:
        centred = centred_axes(sample, ladder[-1] - 1)
        thin = [_Option(centred, c - 1, left, right, a, b, threshold, kernel) for c in ladder]
    pairs = left.count * right.count / (2 if right is left else 1)
    rows = left.count + (0 if right is left else right.count)
    best: tuple[float, _Option, _Option | None] | None = None
    exact = 40.0 + 0.5 * dimensions
    for first in (*thin, whole):
        for second in (None, *thin, whole):
            if second is not None and (second.axes <= first.axes or second.centred is not first.centred):
                continue
            most = max(first.axes, second.axes if second else 0)
            prepare = rows / pairs * (4.0 * dimensions + 0.05 * dimensions * most + most**2 * 0.1)
            cost = prepare + _product_cost(kernel, first.first.components)
            if second is None:
                cost += first.share * (10 + exact)
            else:
                cost += first.share * (15 + 0.15 * second.second.components) + second.refined * exact
            if best is None or cost < best[0]:
                best = cost, first, second
    assert best is not None
    _, first, second = best
    return Plan(
        first.centred,
        first.first,
        second.second if second else None,
        share,
        len(a) * len(b),
        _product_cost(kernel, first.first.components),
    )


class _Option:
    """A number of axes, and the part of the sampled pairs that it leaves."""

    def __init__(
        self,
        centred: Centred,
        axes: int,
        left: UnitRows,
        right: UnitRows,
        a: npt.NDArray[np.int64],
        b: npt.NDArray[np.int64],
        threshold: float,
        kernel: Kernel,
    ) -> None:
        self.centred = centred
        self.axes = axes
        splits = centred.split(left, a), centred.split(right, b)
        both = tuple(np.concatenate(pair) for pair in zip(*splits, strict=True))
        sample = (both[0], both[1], both[2])
        self.first = make_frame(centred, sample, axes, kernel.bits, kernel.packed)
        self.share = _share(self.first, *splits, threshold)
        # Second steps have 8 bits on every processor.
        self.second = make_frame(centred, sample, axes, 8, GROUP)
        self.refined = self.share if kernel.bits == 8 else _share(self.second, *splits, threshold)


def _share(
    frame: Frame,
    left: tuple[Doubles, Doubles, Doubles],
    right: tuple[Doubles, Doubles, Doubles],
    threshold: float,
) -> float:
    a, b = quantise(frame, left), quantise(frame, right)
    largest = max(float(a.size.max()), float(b.size.max()))
    # Exact as float32 for 8 bits up to 1,000 components, and near enough for an estimate beyond.
    product = a.components.astype(np.float32) @ b.components.astype(np.float32).T
    product += b.starts(frame, largest)
    return float(np.mean(product >= a.borders(frame, threshold, largest)[:, None]))


def _product_cost(kernel: Kernel, components: int) -> float:
    """Nanoseconds of a pair, as measured on one machine; only ratios matter."""
    return 0.01 + (0.0044 if kernel.bits == 8 else 0.0088) * components
