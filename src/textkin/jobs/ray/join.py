"""The exact near-duplicate join as tasks on a cluster, one for each pair of blocks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from textkin.duplicates.join import (
    MAX_PAIRS,
    JoinStats,
    NearPairs,
    best_first,
    checked_threshold,
    near_pairs,
    summed,
    too_many,
)
from textkin.duplicates.tiles import Found
from textkin.errors import EngineError, InputError, TextkinError
from textkin.jobs.ray.cluster import Cluster
from textkin.jobs.ray.problems import in_task
from textkin.types import Progress

BLOCK_ROWS = 100_000
"""Rows of a block unless told otherwise: two of them, at 384 dimensions, take a task half a gigabyte.

Each task prepares its two blocks anew, so small ones cost: on 2 cores with 80,000 rows, blocks of 20,000 took
about twice the time of blocks of 40,000.
"""

_TRIES = 5
_AHEAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some rows in the object store, and the number of the first of them."""

    reference: Any
    start: int
    rows: int


_Answer: TypeAlias = "tuple[Found, JoinStats] | TextkinError"


def near_pairs_on_ray(
    cluster: Cluster,
    vectors: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    threshold: float = 0.95,
    *,
    block_rows: int = BLOCK_ROWS,
    max_pairs: int = MAX_PAIRS,
    threads: int = 1,
    progress: Progress | None = None,
) -> NearPairs:
    """`textkin.near_pairs` on a cluster: the same pairs, none missed, in the same order.

    Each block of rows is put into the cluster's object store once. Tasks whose machine dies are run again. This
    process holds one block at a time, and the pairs. A score may differ from that of `near_pairs` by 1e-12, its
    last decimal: its sum is not always made in the same order.

    Args:
        cluster: see `textkin.jobs.ray.connect`.
        vectors: ``(n, d)``, also memory-mapped; or matrices of the same dimensions, one after the other.
        threshold: above -1, at most 1.
        block_rows: most rows of a block; a task compares two of them.
        max_pairs: more than this is an error.
        threads: cores of a task.
        progress: called with rows done and rows in all.

    Raises:
        InputError: as `near_pairs` does.
        EngineError: a task's worker died again and again, or the cluster went away.
    """
    threshold = checked_threshold(threshold)
    if block_rows < 1 or threads < 1:
        raise InputError(f"a block needs at least 1 row and a task 1 thread, not {block_rows} and {threads}")
    if cluster.owned and cluster.total("CPU") - cluster.held() < threads:
        raise InputError("a model's workers hold all cores of this cluster; close the model before the join")
    ray = cluster.ray
    blocks = list(_stored(ray, _cut(vectors, block_rows)))
    rows = sum(block.rows for block in blocks)
    total = rows * (rows - 1) // 2
    task = ray.remote(_compare).options(num_cpus=threads, max_retries=_TRIES)
    found: list[Found] = []
    parts: list[JoinStats] = []
    done = pairs = 0
    for (some, stats), compared in _answers(cluster, task, blocks, threshold, max_pairs, threads):
        found.append(some)
        parts.append(stats)
        pairs += len(some.score)
        done += compared
        if pairs > max_pairs:
            raise too_many(f"more than {max_pairs:,} of {total:,}", threshold, max_pairs)
        if progress is not None:
            progress(round(rows * done / total) if total else rows, rows)
    stats = summed(parts, (rows, rows)) if parts else JoinStats((rows, rows), 0, (), 0, 0.0)
    return best_first(found, threshold, stats)


def _compare(
    left: npt.NDArray[Any], right: npt.NDArray[Any] | None, threshold: float, max_pairs: int, threads: int
) -> _Answer:
    """One task; right None: the left block with itself. Errors of textkin come back as values."""
    try:
        pairs = near_pairs(left, threshold, other=right, max_pairs=max_pairs, threads=threads)
    except InputError as error:
        return InputError(str(error))
    survivors = np.array([left for _, left in pairs.stats.steps], dtype=np.int64)
    return Found(pairs.i, pairs.j, pairs.score, survivors), pairs.stats


def _answers(
    cluster: Cluster, task: Any, blocks: list[_Block], threshold: float, max_pairs: int, threads: int
) -> Iterator[tuple[tuple[Found, JoinStats], int]]:
    """What each task found, its rows counted from the first block's, and how many pairs it compared."""
    from ray.exceptions import RayError, RayTaskError

    ray = cluster.ray
    running: dict[Any, tuple[_Block, _Block]] = {}
    todo = ((one, two) for number, one in enumerate(blocks) for two in blocks[number:])
    try:
        while True:
            # Asked anew each time: a cluster may grow.
            room = max(1, _AHEAD * int(cluster.total("CPU") / threads))
            for one, two in todo:
                right = None if two is one else two.reference
                running[task.remote(one.reference, right, threshold, max_pairs, threads)] = one, two
                if len(running) >= room:
                    break
            if not running:
                return
            for reference in ray.wait(list(running), num_returns=1)[0]:
                one, two = running.pop(reference)
                answer: _Answer = ray.get(reference)
                if isinstance(answer, TextkinError):
                    raise answer
                some, stats = answer
                moved = Found(some.i + one.start, some.j + two.start, some.score, some.survivors)
                yield (moved, stats), stats.pairs
    except RayTaskError as error:
        raise EngineError(f"a task of the join failed: {in_task(error)}") from error
    except RayError as error:
        raise EngineError(
            f"the join stopped, since a task could not be finished in {_TRIES + 1} tries: "
            f"{' '.join(str(error).split())[:300]}. Most often a machine has too little memory: use smaller blocks"
        ) from error
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _cut(vectors: npt.NDArray[Any] | Iterable[npt.NDArray[Any]], block_rows: int) -> Iterator[npt.NDArray[Any]]:
    """Blocks of at most so many rows, none empty; all of the same dimensions."""
    dimensions: int | None = None
    for matrix in (vectors,) if isinstance(vectors, np.ndarray) else vectors:
        if matrix.ndim != 2:
            raise InputError(f"vectors must be matrices (n, d), not of shape {matrix.shape}")
        if dimensions is not None and matrix.shape[1] != dimensions:
            raise InputError(f"vectors of {matrix.shape[1]} dimensions follow on some of {dimensions}")
        dimensions = matrix.shape[1]
        for start in range(0, len(matrix), block_rows):
            yield matrix[start : start + block_rows]


def _stored(ray: Any, blocks: Iterable[npt.NDArray[Any]]) -> Iterator[_Block]:
    """Each block, once it is in the object store."""
    start = 0
    for block in blocks:
        whole = np.ascontiguousarray(block)
        if whole.dtype.kind == "f" and not np.isfinite(whole).all():
            row = start + int(np.flatnonzero(~np.isfinite(whole).all(axis=1))[0])
            raise InputError(f"vectors hold NaN or infinity, first in row {row}; remove or replace that row")
        yield _Block(ray.put(whole), start, len(whole))
        start += len(whole)
