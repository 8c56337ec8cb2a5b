"""The threshold that ``auto`` takes, and whether the data can tell it.

A threshold is *safe* when at least ``min_precision`` of the pairs that it finds are true by the lower bound. How
good it is depends on what siblings and reworded pairs are, which nobody has said: so F1 is estimated twice,
with the lower and with the upper bound of the true pairs, and what a threshold loses against the best one is the
larger of the two losses. ``auto`` is the safe threshold that loses least. The data can tell when it loses at most
0.05; if it loses more, or nothing is safe, they can't, and the cautious number is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from textkin.duplicates.calibration import about
from textkin.duplicates.differing import Kind
from textkin.duplicates.unit_rows import Doubles, Numbers

MIN_PRECISION: Final = 0.9
MIN_SCORE: Final = 0.6
_LOSS: Final = 0.05
_END: Final = 3
"""Levels at the lower end at which no more copies should come."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What is to be weighed, from each threshold up.

    Attributes:
        thresholds: ``(levels,)``, ascending.
        found: pairs.
        false: of these, estimated.
        true_low: of these true at the least.
        true_high: at the most, as far as that can be told.
        kinds: ``(levels, 5)`` pairs by `textkin.duplicates.differing.Kind`.
    """

    thresholds: Doubles
    found: Doubles
    false: Doubles
    true_low: Doubles
    true_high: Doubles
    kinds: Doubles


def choose(bounds: Bounds, start: int, min_precision: float, min_score: float) -> tuple[float, bool, str]:
    """The threshold, whether the data can tell it, and a sentence that says why.

    Args:
        bounds: of all levels.
        start: first level whose pairs were looked at; a lower one is never chosen.
        min_precision: share of found pairs that must be true at the least.
        min_score: never choose a lower one.
    """
    allowed = np.flatnonzero(
        (bounds.thresholds >= min_score - 1e-9) & (np.arange(len(bounds.thresholds)) >= start)
    )
    top = len(bounds.thresholds) - 1
    floor = int(allowed[0]) if len(allowed) else top
    loss = np.maximum(*(_losses(true, bounds.found, floor) for true in (bounds.true_low, bounds.true_high)))
    safe = [k for k in allowed.tolist() if 0 < bounds.found[k] * min_precision <= bounds.true_low[k]]
    if safe:
        chosen = min(safe, key=lambda k: (round(float(loss[k]), 3), k))
        found = bounds.found[chosen]
        most = found - bounds.true_low[chosen]
        worst = about(max(most, bounds.false[chosen]))
        account = f"of {found:,.0f} pairs found at most {worst} are expected to be false"
        if bounds.thresholds[floor] > min_score + 1e-9 and _goes_on(bounds.true_low, floor):
            return (
                float(bounds.thresholds[chosen]),
                False,
                f"the data can't tell: {account}, but copies go on below {bounds.thresholds[floor]:g}, where "
                "pairs are too many to look at",
            )
        if loss[chosen] <= _LOSS:
            return float(bounds.thresholds[chosen]), True, f"{account}, and few copies lie below"
        return (
            float(bounds.thresholds[chosen]),
            False,
            f"the data can't tell: {account}, but a lower threshold may find more: of "
            f"{bounds.found[floor] - found:,.0f} pairs below {_what(bounds, chosen, floor)}",
        )
    cautious = float(max(bounds.thresholds[top], min_score))
    if not len(allowed) or not bounds.found[floor]:
        return cautious, False, f"the data can't tell: no two texts reach {bounds.thresholds[floor]:g}"
    share, place = _best(bounds, allowed)
    return (
        cautious,
        False,
        f"the data can't tell: at no threshold are {min_precision:.0%} of the pairs found sure to be duplicates "
        f"({share:.0%} at {bounds.thresholds[place]:g}, where of {bounds.found[place]:,.0f} pairs "
        f"{_what(bounds, top + 1, place)})",
    )


def _losses(true: Doubles, found: Doubles, floor: int) -> Doubles:
    """How much lower F1 is at each level than at the best one from the floor up, if so many are true."""
    every = true[floor]
    f1 = 2 * true / np.maximum(found + every, 1e-9)
    return np.asarray(f1[floor:].max(initial=0.0) - f1, dtype=np.float64)


def _goes_on(true: Doubles, floor: int) -> bool:
    """Whether at the lower end of what was looked at there are still true pairs that count."""
    above = true[min(floor + _END, len(true) - 1)]
    return bool(true[floor] - above > _LOSS * true[floor]) or floor + _END >= len(true) - 1


def _best(bounds: Bounds, allowed: Numbers) -> tuple[float, int]:
    """The greatest share of true pairs by the lower bound that a level has, and the lowest such level."""
    found = bounds.found[allowed]
    shares = np.where(found > 0, bounds.true_low[allowed] / np.maximum(found, 1e-9), -1.0)
    place = int(np.argmax(shares))
    return float(shares[place]), int(allowed[place])


def _what(bounds: Bounds, above: int, below: int) -> str:
    """What kinds of pairs lie between two levels, the most first."""
    upper = bounds.kinds[above] if above < len(bounds.kinds) else np.zeros(len(Kind))
    counts = bounds.kinds[below] - upper
    names = {
        Kind.COPY: "{} look like edited copies",
        Kind.CONTRARY: "{} have different numbers or a negation",
        Kind.SIBLING: "{} have one word exchanged and more such siblings",
        Kind.EXCHANGE: "{} have a word exchanged as other pairs do",
        Kind.UNCLEAR: "{} are worded differently",
    }
    told = [
        names[kind].format(about(counts[kind]))
        for kind in sorted(Kind, key=lambda k: -counts[k])
        if counts[kind] >= 0.5
    ]
    return ", ".join(told[:3]) or "none"
