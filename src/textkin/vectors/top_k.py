"""The best k columns of each row of a score matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textkin.types import Matrix


def top_k(scores: Matrix, k: int) -> tuple[npt.NDArray[np.intp], Matrix]:
    """Pick the ``k`` best columns of each row, best first; ties go to the lower column, NaN comes last.

    Args:
        scores: ``(n, m)``; higher is better.
        k: how many; at most ``m`` are returned.

    Returns:
        Column numbers and scores, both ``(n, min(k, m))``.
    """
    rows, columns = scores.shape
    k = max(0, min(k, columns))
    best = np.empty((rows, k), dtype=np.intp)
    if k:
        for row in range(rows):
            best[row] = _best_of_row(scores[row], k)
    return best, np.take_along_axis(scores, best, axis=1)


def _best_of_row(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    if k < len(scores):
        # Everything at or above the k-th score, so that a tie at the border is settled by column, not by chance.
        border = -np.partition(-scores, k - 1)[k - 1]
        candidates = np.flatnonzero(~(scores < border))
    else:
        candidates = np.arange(len(scores))
    order = np.lexsort((candidates, -scores[candidates]))
    return candidates[order[:k]]
