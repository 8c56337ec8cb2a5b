"""The k nearest other rows of every row, exact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textkin.types import Matrix, Progress
from textkin.vectors.top_k import top_k

_BLOCK_NUMBERS = 1 << 24


def nearest_neighbours(
    vectors: Matrix, k: int, progress: Progress | None = None
) -> tuple[npt.NDArray[np.intp], Matrix]:
    """For each row the ``k`` other rows with the highest cosine, best first; ties go to the lower row.

    Compares all with all: n * n * dimensions multiplications, in blocks of 64 MB.

    Args:
        vectors: ``(n, dimensions)`` unit rows.
        k: how many; at most ``n - 1`` are returned.
        progress: called with (rows done, rows in all).

    Returns:
        Row numbers and cosines, both ``(n, min(k, n - 1))``.
    """
    count = len(vectors)
    k = max(0, min(k, count - 1))
    rows = np.empty((count, k), dtype=np.intp)
    scores = np.empty((count, k), dtype=np.float32)
    step = max(1, _BLOCK_NUMBERS // max(1, count))
    for start in range(0, count, step):
        block = vectors[start : start + step] @ vectors.T
        own = np.arange(len(block))
        block[own, start + own] = -np.inf
        rows[start : start + step], scores[start : start + step] = top_k(block, k)
        if progress is not None:
            progress(min(start + step, count), count)
    return rows, scores
