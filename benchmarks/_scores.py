"""Spearman's correlation and nDCG@10, as MTEB computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2.0)[places]
    return shared


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation: Pearson's of the ranks."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ndcg(ranked: Sequence[str], relevance: Mapping[str, int], k: int = 10) -> float:
    """trec_eval's nDCG at ``k``: gain = relevance, discount = log2(rank + 1), over the ideal order's.

    Args:
        ranked: document ids, best first.
        relevance: of the judged documents; the others count 0.
        k: how many ranks count.

    Returns:
        From 0 to 1; 0 where no document is relevant.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = np.array([max(0, relevance.get(name, 0)) for name in ranked[:k]], dtype=np.float64)
    ideal = np.array(sorted((max(0, grade) for grade in relevance.values()), reverse=True)[:k], dtype=np.float64)
    best = float(ideal @ discounts[: len(ideal)])
    return float(gains @ discounts[: len(gains)]) / best if best > 0 else 0.0


def rank_documents(scores: Floats, names: Sequence[str], k: int = 10) -> list[str]:
    """The ``k`` best ids of one query; among equals the higher id first, as trec_eval does it."""
    if k < len(scores):
        border = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= border)
    else:
        rows = np.arange(len(scores))
    found = sorted(((float(scores[row]), names[int(row)]) for row in rows), reverse=True)
    return [name for _, name in found[:k]]
