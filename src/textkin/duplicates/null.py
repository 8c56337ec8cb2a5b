"""The null: scores of unrelated pairs, counted in random ones, and their tail far beyond those that were seen.

Lindsey's method, as Efron uses it for an empirical null (2004, "Large-scale simultaneous hypothesis testing"): the
logarithm of the density is a parabola over a window of scores, fitted to counts by Poisson regression. The
window ends below the scores where real duplicates show: there the counts stop falling as the parabola says. A
parabola that would bend upwards is replaced by a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.unit_rows import Doubles, unit_rows
from textkin.errors import InputError
from textkin.types import Progress

LOW: Final = -1.0
BINS: Final = 800
WIDTH: Final = 2.0 / BINS
"""Scores are counted in bins of 0.0025 from -1 to 1."""

_GROUPS: Final = 24
_BLOCK: Final = 1024
_SAMPLE: Final = 8192
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
class NullSample:
    """Histograms of the scores of all pairs of some rows.

    Attributes:
        counts: ``(groups, groups, BINS)``: rows are dealt into groups at random, and the pairs between two
            groups are counted by themselves (upper triangle), so that other draws of rows can be imitated.
        rows: that were drawn.
    """

    counts: Doubles
    rows: int

    @property
    def pairs(self) -> int:
        return self.rows * (self.rows - 1) // 2

    def histogram(self) -> Doubles:
        """Pairs by score, all of them."""
        whole: Doubles = self.counts.sum(axis=(0, 1))
        return whole

    def redrawn(self, times: int, seed: int) -> Doubles:
        """``(times, BINS)``: histograms as other draws of rows might have given them.

        Groups of rows are drawn with replacement, and a pair counts as often as both its ends (Owen 2007, "The
        pigeonhole bootstrap"): pairs that share a row are not independent, rows are.
        """
        groups = len(self.counts)
        drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=times)
        each = (drawn[:, :, None] * drawn[:, None, :]).reshape(times, -1).astype(np.float64)
        histograms: Doubles = each @ self.counts.reshape(groups * groups, -1)
        return histograms


def sample_null(
    vectors: npt.NDArray[Any], *, most: int = _SAMPLE, seed: int = 0, progress: Progress | None = None
) -> NullSample:
    """Score all pairs of at most ``most`` rows drawn at random.

    Args:
        vectors: ``(n, d)``, one row a different text; rows that are zero score 0.
        most: rows; 8,192 give 33 million pairs.
        seed: of the draw.
        progress: called with rows done and rows in all.
    """
    unit = unit_rows(vectors)
    drawn = np.random.default_rng(seed).permutation(unit.count)[:most]
    rows = np.ascontiguousarray(unit.take(drawn), dtype=np.float32)
    count = len(rows)
    edges = np.linspace(0, count, _GROUPS + 1).round().astype(int).tolist()
    counts = np.zeros((_GROUPS, _GROUPS, BINS), dtype=np.float64)
    for one in range(_GROUPS):
        for start in range(edges[one], edges[one + 1], _BLOCK):
            stop = min(start + _BLOCK, edges[one + 1])
            block = rows[start:stop] @ rows[start:].T
            bins = np.clip(((block - LOW) / WIDTH).astype(np.int32), 0, BINS - 1)
            later = np.arange(start, count)[None, :] > np.arange(start, stop)[:, None]
            for other in range(one, _GROUPS):
                columns = slice(max(edges[other] - start, 0), edges[other + 1] - start)
                chosen = bins[:, columns][later[:, columns]]
                counts[one, other] += np.bincount(chosen, minlength=BINS)
            if progress is not None:
                progress(stop, count)
    return NullSample(counts, count)


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

    def above(self, histogram: Doubles) -> Doubles:
        """``(BINS + 1,)``: unrelated pairs from the lower edge of each bin on; 0 at 1.

        Below the window all pairs count as they were counted, from there on the curve.
        """
        below = np.arange(BINS) < self.begin
        return _summed(np.where(below, histogram, _curve(self.coefficients)))


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
    # Without any window, as in texts of one template, there is no curve: all that is counted may be chance.
    return Tail(BINS, BINS, np.array([-np.inf, 0.0, 0.0]), False) if doubtful is None else doubtful[1]


def refitted(tail: Tail, histogram: Doubles) -> Tail:
    """The same window, fitted to other counts."""
    if tail.begin == tail.end:
        return tail
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
