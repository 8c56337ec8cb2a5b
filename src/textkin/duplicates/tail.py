"""The tail of the null: how many unrelated pairs reach a score, also far beyond those that were seen.

Lindsey's method, as Efron uses it for an empirical null (2004, "Large-scale simultaneous hypothesis testing"): the
logarithm of the density is a parabola over a window of scores, fitted to counts by Poisson regression. The
window ends below the scores where real duplicates show: there the counts stop falling as the parabola says. A
parabola that would bend upwards is replaced by a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from textkin.duplicates.null import BINS, LOW, WIDTH
from textkin.duplicates.unit_rows import Doubles
from textkin.errors import InputError

_COARSE: Final = 4
"""Bins that are one observation of the regression: 0.01 of score."""
_SHARE: Final = 3e-3
"""The window begins where this share of the pairs scores higher, ..."""
_LEAST: Final = 200.0
"""... or where this many pairs do, if that is lower, ..."""
_SPAN: Final = 30.0
"""... and always so low that this many times more pairs lie above its beginning than above its end."""
_MOST: Final = 0.3
_NARROWEST: Final = 12
_OFF: Final = 1.25
"""How far counts and curve may lie apart, beyond three standard deviations, in a good fit."""
_MIDDLES: Final = LOW + (np.arange(BINS) + 0.5) * WIDTH
_CENTRE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """A fitted tail.

    Attributes:
        begin: first bin of the window.
        end: bin behind its last one; ``BINS`` when no duplicates had to be kept out.
        coefficients: of 1, t - 0.5 and (t - 0.5)²: the logarithm of the pairs in 0.01 of score.
        good: whether the counts follow the curve in the whole window.
    """

    begin: int
    end: int
    coefficients: Doubles
    good: bool

    @property
    def window(self) -> tuple[float, float]:
        """The window in scores."""
        return LOW + self.begin * WIDTH, LOW + self.end * WIDTH

    def above(self) -> Doubles:
        """``(BINS + 1,)``: the curve's pairs from the lower edge of each bin on; 0 at 1."""
        return _summed(_curve(self.coefficients))


def fit_tail(histogram: Doubles) -> Tail:
    """Find the window, and fit.

    Args:
        histogram: ``(BINS,)`` pairs by score.

    Raises:
        InputError: too few pairs for a tail.
    """
    total = float(histogram.sum())
    above = _summed(histogram)
    least = max(_SHARE, _LEAST / max(total, 1.0))
    if least > _MOST:
        raise InputError(
            f"{total:,.0f} pairs of different texts are too few to tell how unrelated texts score; "
            "calibrating takes about 40 records at least; give a threshold instead"
        )
    top = int(np.flatnonzero(histogram).max()) + 1
    doubtful: tuple[float, Tail] | None = None
    for end in [BINS, *range((top - 1) // _COARSE * _COARSE, 0, -_COARSE)]:
        share = max(least, _SPAN * above[end] / total)
        if share > _MOST:
            break
        begin = int(np.searchsorted(-above, -share * total))
        begin -= (begin - end) % _COARSE
        if end - begin < _NARROWEST:
            continue
        coefficients = _fitted(histogram, begin, end)
        off = _misfit(histogram, coefficients, begin, end)
        if off <= 0:
            return Tail(begin, end, coefficients, True)
        if doubtful is None or off < doubtful[0]:
            doubtful = off, Tail(begin, end, coefficients, False)
    if doubtful is None:
        raise InputError("the scores of these texts are too much alike to tell how unrelated ones score")
    return doubtful[1]


def refitted(tail: Tail, histogram: Doubles) -> Tail:
    """The same window, fitted to other counts."""
    fitted = _fitted(histogram, tail.begin, tail.end, tail.coefficients)
    return Tail(tail.begin, tail.end, fitted, tail.good)


def _fitted(histogram: Doubles, begin: int, end: int, near: Doubles | None = None) -> Doubles:
    """Coefficients; ``near`` are those of like counts, which is where to start from."""
    counts = histogram[begin:end].reshape(-1, _COARSE).sum(axis=1)
    places = _MIDDLES[begin:end].reshape(-1, _COARSE).mean(axis=1) - _CENTRE
    basis = np.stack([np.ones_like(places), places, places**2], axis=1)
    start = np.linalg.lstsq(basis, np.log(counts + 0.5), rcond=None)[0] if near is None else near
    bent: Doubles = _poisson(basis, counts, start)
    if bent[2] <= 0:
        return bent
    straight = np.linalg.lstsq(basis[:, :2], np.log(counts + 0.5), rcond=None)[0] if near is None else near[:2]
    return np.append(_poisson(basis[:, :2], counts, straight), 0.0)


def _poisson(basis: Doubles, counts: Doubles, start: Doubles) -> Doubles:
    """Poisson regression with the logarithmic link, by Newton's method with halved steps."""
    beta: Doubles = np.asarray(start, dtype=np.float64)
    ridge = 1e-9 * np.eye(basis.shape[1])
    value = _likelihood(basis, counts, beta)
    for _ in range(60):
        mean = np.exp(np.clip(basis @ beta, -50, 50))
        step = np.linalg.solve((basis * mean[:, None]).T @ basis + ridge, basis.T @ (counts - mean))
        size, reached = 1.0, _likelihood(basis, counts, beta + step)
        while reached < value and size > 1e-6:
            size /= 2
            reached = _likelihood(basis, counts, beta + size * step)
        if reached <= value:
            break
        gain, value = reached - value, reached
        beta = np.asarray(beta + size * step, dtype=np.float64)
        if gain < 1e-6:
            break
    return beta


def _likelihood(basis: Doubles, counts: Doubles, beta: Doubles) -> float:
    line = np.clip(basis @ beta, -50, 50)
    return float((counts * line - np.exp(line)).sum())


def _misfit(histogram: Doubles, coefficients: Doubles, begin: int, end: int) -> float:
    """By how much counts and curve differ more than they may, where it is worst; 0 or less is good."""
    seen, curve = _summed(histogram), _summed(_curve(coefficients))
    levels = np.arange(begin, end, 2 * _COARSE)
    counted, expected = seen[levels] - seen[end], curve[levels] - curve[end]
    some = counted >= 1
    if not some.any():
        return 0.0
    off = np.abs(np.log(counted[some] / expected[some])) - np.log(_OFF) - 3 / np.sqrt(counted[some])
    return float(off.max())


def _curve(coefficients: Doubles) -> Doubles:
    """The curve's pairs in each bin."""
    places = _MIDDLES - _CENTRE
    line = coefficients[0] + coefficients[1] * places + coefficients[2] * places**2
    curve: Doubles = np.exp(np.clip(line, -60, 60)) / _COARSE
    return curve


def _summed(histogram: Doubles) -> Doubles:
    """``(BINS + 1,)``: the sum from each bin on."""
    return np.append(np.cumsum(histogram[::-1])[::-1], 0.0)
