"""Scores of pairs drawn at random: the null against which a threshold is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.duplicates.unit_rows import Doubles, unit_rows
from textkin.types import Progress

LOW: Final = -1.0
BINS: Final = 800
WIDTH: Final = 2.0 / BINS
"""Scores are counted in bins of 0.0025 from -1 to 1."""

_GROUPS: Final = 24
_BLOCK: Final = 1024
_SAMPLE: Final = 8192


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
