"""The threshold that ``auto`` takes, and whether the data can tell it.

A threshold is *safe* when at least ``min_precision`` of the pairs that it finds are true by the lower bound. How
good it is depends on what siblings and reworded pairs are, which nobody has said: so F1 is estimated twice, with
the lower and with the upper bound of the true pairs, and what a threshold loses against the best one is the larger
of the two losses. ``auto`` is the safe threshold that loses least. The data can tell when it loses at most 0.05; if
it loses more, or nothing is safe, they can't, and the cautious number is taken.
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


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What is to be weighed, from each threshold up.

    Attributes:
        thresholds: ``(levels,)``, ascending.
        found: pairs.
        false: of these, estimated.
        true_low: of these true at the least.
        true_high: at the most, as far as that can be told.
        kinds: ``(levels, 4)`` pairs by `textkin.duplicates.differing.Kind`.
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
        if loss[chosen] <= _LOSS:
            return float(bounds.thresholds[chosen]), True, f"{account}, and few copies lie below"
        return (
            float(bounds.thresholds[chosen]),
            False,
            f"the data can't tell: {account} there, but below lie {_what(bounds, chosen, floor)}, and whether "
            "those are duplicates is not to be seen from the texts",
        )
    cautious = float(max(bounds.thresholds[top], min_score))
    if not bounds.found[floor]:
        why = f"the data can't tell: no two texts reach {bounds.thresholds[floor]:g}"
    else:
        place = _fullest(bounds, allowed)
        why = (
            f"the data can't tell: at no threshold are {min_precision:.0%} of the pairs found sure to be "
            f"duplicates; from {bounds.thresholds[place]:g} up there are {_what(bounds, top + 1, place)}"
        )
    return cautious, False, why


def _losses(true: Doubles, found: Doubles, floor: int) -> Doubles:
    """How much lower F1 is at each level than at the best one from the floor up, if so many are true."""
    every = true[floor]
    f1 = 2 * true / np.maximum(found + every, 1e-9)
    return np.asarray(f1[floor:].max(initial=0.0) - f1, dtype=np.float64)


def _fullest(bounds: Bounds, allowed: Numbers) -> int:
    """Of the levels the one with the greatest share of true pairs by the lower bound, of several the lowest."""
    some: list[int] = [k for k in allowed.tolist() if bounds.found[k] > 0]
    return max(some, key=lambda k: (bounds.true_low[k] / bounds.found[k], -k))


def _what(bounds: Bounds, above: int, below: int) -> str:
    """What kinds of pairs lie between two levels, the most first."""
    upper = bounds.kinds[above] if above < len(bounds.kinds) else np.zeros(len(Kind))
    counts = bounds.kinds[below] - upper
    names = {
        Kind.COPY: "{} that look like edited copies",
        Kind.CONTRARY: "{} with different numbers or a negation",
        Kind.SIBLING: "{} with one word exchanged as in other pairs",
        Kind.UNCLEAR: "{} worded differently",
    }
    told = [
        names[kind].format(about(counts[kind]))
        for kind in sorted(Kind, key=lambda k: -counts[k])
        if counts[kind] >= 0.5
    ]
    return ", ".join(told[:3]) or "none"
