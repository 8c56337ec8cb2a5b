"""The exact join: complete against float64 brute force, and its time against float32 brute force.

    python benchmarks/near_pairs.py [--rows 40000] [--thresholds 0.95 0.8] [--vectors FILE.npy]

Prints, for each set of vectors and threshold: the pairs found, and whether they are exactly those of brute force
in float64; and the time of blocked float32 brute force, run just before each join (with the block size that was
best in this run), as a multiple of the join's: by the clock, and by processor time, which other work on the
machine disturbs less. With OPENBLAS_NUM_THREADS=1 brute force runs in one thread, and processor times compare
best.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from textkin.duplicates.join import near_pairs

Array = npt.NDArray[np.float32]
T = TypeVar("T")
THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.7)
BLOCKS = (1024, 2048, 4096)


def text_like(rows: int, dimensions: int = 384) -> Array:
    """Vectors with the spectrum of sentence vectors (a power law) and 1 % of near copies."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((rows, dimensions)) * np.arange(4, dimensions + 4) ** -0.55
    return _with_copies(rng, vectors)


def clustered(rows: int, dimensions: int = 384) -> Array:
    """200 loose clusters and 1 % of near copies."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((200, dimensions))
    return _with_copies(rng, centres[rng.integers(0, 200, rows)] + 0.8 * rng.standard_normal((rows, dimensions)))


def isotropic(rows: int, dimensions: int = 384) -> Array:
    """Noise without any structure, where a thin product helps least; 1 % of near copies."""
    rng = np.random.default_rng(2)
    return _with_copies(rng, rng.standard_normal((rows, dimensions)))


def like_file(real: Array) -> Callable[[int], Array]:
    """Vectors with mean and covariance of real ones, as many as wanted."""

    def make(rows: int) -> Array:
        rng = np.random.default_rng(3)
        centre = real.mean(axis=0)
        values, axes = np.linalg.eigh(np.cov(real.T))
        noise = rng.standard_normal((rows, real.shape[1])) * np.sqrt(np.maximum(values, 0))
        return _with_copies(rng, centre + noise @ axes.T)

    return make


def brute_force(vectors: Array, threshold: float, block: int) -> int:
    """Number of pairs, by float32 products of each block with itself and the rows after it."""
    count = 0
    out = np.empty((block, block), dtype=np.float32)
    for start in range(0, len(vectors), block):
        left = vectors[start : start + block]
        for first in range(start, len(vectors), block):
            right = vectors[first : first + block]
            tile = np.matmul(left, right.T, out=out[: len(left), : len(right)])
            i, j = np.divmod(np.flatnonzero(tile >= threshold), len(right))
            count += int(np.count_nonzero(j + first > i + start))
    return count


def timed(work: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds by the clock, seconds of processors, and the result."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - clock, time.process_time() - processor, result


def truth(vectors: Array, threshold: float) -> set[tuple[int, int]]:
    """All pairs by float64 products of float64 unit rows; the score rounded to 12 decimals as the join says."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(unit), 512):
        cosines = np.round(unit[start : start + 512] @ unit[start:].T, 12)
        i, j = np.nonzero(cosines >= threshold)
        above = j > i
        pairs.update(zip((i[above] + start).tolist(), (j[above] + start).tolist(), strict=True))
    return pairs


def report(name: str, vectors: Array, thresholds: tuple[float, ...], check: int) -> None:
    print(f"\n{name}: {len(vectors):,} x {vectors.shape[1]}")
    near_pairs(vectors[:9000], 0.95)
    some = vectors[:10_000]
    block = min(BLOCKS, key=lambda size: timed(lambda: brute_force(some, 0.95, size))[1])
    part = vectors[:check]
    for threshold in thresholds:
        i, j, _ = near_pairs(part, threshold)
        wanted = truth(part, threshold)
        same = set(zip(i.tolist(), j.tolist(), strict=True)) == wanted
        slow = timed(partial(brute_force, vectors, threshold, block))
        fast = timed(partial(near_pairs, vectors, threshold))
        stats = fast[2].stats
        steps = ", ".join(f"{columns} columns left {left:,}" for columns, left in stats.steps)
        print(
            f"  {threshold:.2f}: {len(wanted):,} pairs of the first {len(part):,} rows "
            f"{'all found, no other' if same else 'DIFFER'}; of all rows {stats.found:,} ({slow[2]:,} by float32) "
            f"in {fast[0]:.2f} s; brute force takes {slow[0] / fast[0]:.1f} times as long, "
            f"{slow[1] / fast[1]:.1f} times the processor time ({steps}; margin {stats.margin:.1e})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--check", type=int, default=8000, help="rows compared with float64 brute force")
    parser.add_argument("--vectors", type=Path, help="real vectors (.npy): measured as they are, and enlarged")
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} processors", flush=True)
    sets: list[tuple[str, Array]] = []
    if options.vectors:
        real = np.load(options.vectors).astype(np.float32)
        sets += [("real", real), ("enlarged from real", like_file(real)(options.rows))]
    sets += [(make.__name__, make(options.rows)) for make in (text_like, clustered, isotropic)]
    for name, vectors in sets:
        report(name, vectors, tuple(options.thresholds), options.check)


def _with_copies(rng: np.random.Generator, rows: npt.NDArray[np.float64]) -> Array:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(rows) // 100
    of, to = rng.permutation(len(rows))[: 2 * count].reshape(2, count)
    spread = rng.choice([0.0, 0.05, 0.15, 0.3], count)[:, None]
    rows[to] = rows[of] + spread * rng.standard_normal((count, rows.shape[1])) / np.sqrt(rows.shape[1])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
