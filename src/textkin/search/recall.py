"""What an approximate search misses, measured on the collection's own records."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError
from textkin.types import Matrix, Progress, Store
from textkin.vectors.proportion import wilson_interval

_SAME: Final = 1e-6
"""Scores this close are one: which of two such records comes back is no miss."""


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the true nearest records a search finds.

    Attributes:
        k: neighbours asked for.
        sampled: records whose neighbours were looked for.
        found: neighbours found, of ``expected``.
        expected: neighbours that there are.
        records: in the collection then.
    """

    k: int
    sampled: int
    found: int
    expected: int
    records: int

    @property
    def share(self) -> float:
        """Recall, 0 to 1; 1 where there was nothing to find."""
        return self.found / self.expected if self.expected else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of ``share`` (Wilson)."""
        return wilson_interval(self.found, self.expected)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"recall@{self.k} {self.share:.4f} (95 % interval {low:.4f} to {high:.4f}), "
            f"measured on {self.sampled:,} of {self.records:,} records"
        )


def measure_recall(
    store: Store, k: int = 10, sample: int = 100, seed: int = 0, progress: Progress | None = None
) -> Recall:
    """Ask the store for the neighbours of some of its own records, and compare with all of its vectors.

    Reads every vector once; memory is that of one batch. A record itself is not counted among its neighbours.

    Args:
        store: any.
        k: neighbours of each.
        sample: records, picked at random.
        seed: of the choice.
        progress: called with (records read, records in all).

    Raises:
        InputError: a number under 1, or fewer than two records.
    """
    if k < 1 or sample < 1:
        raise InputError(f"k and sample must be at least 1, not {k} and {sample}")
    ids = list(store.ids())
    if len(ids) < 2:
        raise InputError(f"recall needs at least two records, {store.url} has {len(ids)}")
    chosen = random.Random(seed).sample(ids, min(sample, len(ids)))
    queries = np.ascontiguousarray(np.stack([rows[0] for rows in store.vectors(chosen)]))
    borders = _exact_borders(store, chosen, queries, k, progress)
    expected = len(chosen) * min(k, len(ids) - 1)
    found = 0
    for name, border, hits in zip(chosen, borders, store.search(queries, k + 1), strict=True):
        others = [hit for hit in hits if hit.id != name][:k]
        found += sum(hit.score >= border - _SAME for hit in others)
    return Recall(k, len(chosen), min(found, expected), expected, len(ids))


def _exact_borders(
    store: Store, chosen: Sequence[str], queries: Matrix, k: int, progress: Progress | None
) -> npt.NDArray[np.float64]:
    """The score of the k-th best other record of each query (or of the last one there is)."""
    best = np.full((len(chosen), 0), -np.inf)
    total, done = store.count(), 0
    for records, vectors in store.scan_vectors():
        starts = np.cumsum([0, *(len(record.spans) for record in records[:-1])])
        scores = np.maximum.reduceat(queries.astype(np.float64) @ vectors.T.astype(np.float64), starts, axis=1)
        own = {record.id: place for place, record in enumerate(records)}
        for row, name in enumerate(chosen):
            if name in own:
                scores[row, own[name]] = -np.inf
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > k:
            best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:]
        done += len(records)
        if progress is not None:
            progress(done, total)
    best = np.where(np.isfinite(best), best, np.inf)  # the record itself, where there are no k others
    return np.asarray(best.min(axis=1))
