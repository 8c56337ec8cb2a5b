"""Approximate join above a size that the user sets: FAISS cells, and the recall measured on the user's rows."""

from __future__ import annotations

from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin._optional import require
from textkin.duplicates.join import near_pairs
from textkin.duplicates.unit_rows import pair_scores, unit_rows
from textkin.duplicates.work import Join, Joined, Recall, Work
from textkin.errors import InputError
from textkin.types import Progress

_PROBES: Final = 12
_TRAINED: Final = 64
"""Rows a cell that k-means looks at."""
_SAMPLE: Final = 2000
_BLOCK: Final = 4096
_SEED: Final = 0
_SLACK: Final = 1e-5


def approximate_join(above: int, below: Join) -> Join:
    """A join that is ``below`` up to ``above`` rows, and for more looks only into the nearest cells of each row.

    Rows are divided into about four times their square root of cells; a row is compared with those in the twelve
    nearest. What is found is scored in float64 like everything else; some pairs may be missed. How many is
    measured: 2,000 rows drawn at random are joined exactly with all.

    Raises:
        InputError: ``above`` is negative.
        MissingDependencyError: faiss is not installed (``textkin[faiss]``).
    """
    if above < 0:
        raise InputError(f"approximate_above must be a number of records, not {above}")

    def join(rows: npt.NDArray[Any], threshold: float, max_pairs: int, progress: Progress | None) -> Joined:
        if len(rows) <= above or len(rows) < 2:
            return below(rows, threshold, max_pairs, progress)
        return _search(rows, threshold, max_pairs, progress)

    return join


def wilson(found: int, true: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share; 0 to 1 when nothing was seen (Wilson 1927)."""
    if not true:
        return 0.0, 1.0
    share, square = found / true, z * z
    middle = (share + square / (2 * true)) / (1 + square / true)
    half = z / (1 + square / true) * sqrt(share * (1 - share) / true + square / (4 * true * true))
    return (0.0 if not found else middle - half), (1.0 if found == true else middle + half)


def _search(rows: npt.NDArray[Any], threshold: float, max_pairs: int, progress: Progress | None) -> Joined:
    faiss = require("faiss", extra="faiss")
    unit = unit_rows(rows)
    count = len(rows)
    cells = max(1, min(round(4 * sqrt(count)), count // 4))
    whole = np.empty((count, unit.dimensions), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        whole[start : start + _BLOCK] = unit.take(slice(start, min(start + _BLOCK, count)))
    quantizer = faiss.IndexFlatIP(unit.dimensions)
    index = faiss.IndexIVFFlat(quantizer, unit.dimensions, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = _SEED
    index.cp.min_points_per_centroid = 1
    dice = np.random.default_rng(_SEED)
    taught = dice.permutation(count)[: _TRAINED * cells]
    index.train(whole[taught])
    index.add(whole)
    index.nprobe = min(_PROBES, cells)
    i: list[npt.NDArray[np.int64]] = []
    j: list[npt.NDArray[np.int64]] = []
    for start in range(0, count, _BLOCK):
        limits, _, found = index.range_search(whole[start : start + _BLOCK], threshold - _SLACK)
        own = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        once = own != found
        i.append(np.minimum(own, found)[once].astype(np.int64))
        j.append(np.maximum(own, found)[once].astype(np.int64))
        if sum(map(len, i)) > 2 * max_pairs:
            raise InputError(
                f"more than {max_pairs:,} pairs reach {threshold:g}: raise the threshold, "
                "or allow more with max_pairs="
            )
        if progress is not None:
            progress(min(start + _BLOCK, count), count)
    both = np.unique(np.concatenate(i) * count + np.concatenate(j))
    low, high = both // count, both % count
    score = pair_scores(unit, low, unit, high)
    enough = score >= threshold
    low, high, score = low[enough], high[enough], score[enough]
    recall, compared, stats = _recall(rows, threshold, max_pairs, low * count + high, dice)
    order = np.lexsort((high, low, -score))
    examined = compared + count * int(index.nprobe) * count // cells
    work = Work("approximate", count, count, examined, (stats,), recall)
    return Joined(low[order], high[order], score[order], work)


def _recall(
    rows: npt.NDArray[Any],
    threshold: float,
    max_pairs: int,
    found: npt.NDArray[np.int64],
    dice: np.random.Generator,
) -> tuple[Recall, int, Any]:
    """Join some rows with all, exactly; of those pairs, how many were found."""
    count = len(rows)
    sample = np.sort(dice.choice(count, size=min(_SAMPLE, count), replace=False))
    exact = near_pairs(rows[sample], threshold, other=rows, max_pairs=max_pairs + len(sample))
    own, far = sample[exact.i], exact.j
    other = own != far
    true = np.unique(np.minimum(own, far)[other] * count + np.maximum(own, far)[other])
    hit = int(np.isin(true, found).sum())
    return Recall(hit, len(true), len(sample), *wilson(hit, len(true))), exact.stats.pairs, exact.stats
