"""The exact join: complete against float64 brute force, and its time against float32 brute force.

    python benchmarks/near_pairs.py [--rows 40000] [--vectors FILE.npy]

Prints, for each set of vectors and threshold: the pairs found and whether they are exactly those of brute force in
float64; the seconds of the join and of the best blocked float32 brute force (block sizes tried in the same run), and
their ratio. Only ratios mean something on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textkin.duplicates.join import near_pairs

Array = npt.NDArray[np.float32]
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


def brute_force(vectors: Array, threshold: float, block: int) -> tuple[float, int]:
    """Seconds and pairs of a blocked float32 product of each block with itself and the rows after it."""
    began = time.perf_counter()
    count = 0
    out = np.empty((block, block), dtype=np.float32)
    for start in range(0, len(vectors), block):
        left = vectors[start : start + block]
        for first in range(start, len(vectors), block):
            right = vectors[first : first + block]
            tile = np.matmul(left, right.T, out=out[: len(left), : len(right)])
            i, j = np.divmod(np.flatnonzero(tile >= threshold), len(right))
            count += int(np.count_nonzero(j + first > i + start))
    return time.perf_counter() - began, count


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
    near_pairs(vectors[:5000], 0.95)
    slow = min(brute_force(vectors, 0.95, block)[0] for block in BLOCKS)
    print(f"  float32 brute force, best of blocks {BLOCKS}: {slow:.2f} s")
    part = vectors[:check]
    for threshold in thresholds:
        i, j, _ = near_pairs(part, threshold)
        wanted = truth(part, threshold)
        same = set(zip(i.tolist(), j.tolist(), strict=True)) == wanted
        began = time.perf_counter()
        pairs = near_pairs(vectors, threshold)
        seconds = time.perf_counter() - began
        steps = ", ".join(f"{columns} columns left {left:,}" for columns, left in pairs.stats.steps)
        print(
            f"  {threshold:.2f}: {len(wanted):,} pairs of the first {len(part):,} rows "
            f"{'all found, no other' if same else 'DIFFER'}; {len(pairs.i):,} of all rows in {seconds:.2f} s "
            f"= 1/{slow / seconds:.1f} of brute force ({steps}; margin {pairs.stats.margin:.1e})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--check", type=int, default=8000, help="rows compared with float64 brute force")
    parser.add_argument("--vectors", type=Path, help="real vectors (.npy): measured as they are, and enlarged")
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} processors, {platform.machine()}"
    )
    sets: list[tuple[str, Array]] = []
    if options.vectors:
        real = np.load(options.vectors).astype(np.float32)
        sets += [("real", real), ("enlarged from real", like_file(real)(options.rows))]
    sets += [(make.__name__, make(options.rows)) for make in (text_like, clustered, isotropic)]
    for name, vectors in sets:
        report(name, vectors, THRESHOLDS, options.check)


def _with_copies(rng: np.random.Generator, rows: npt.NDArray[np.float64]) -> Array:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(rows) // 100
    of, to = rng.permutation(len(rows))[: 2 * count].reshape(2, count)
    spread = rng.choice([0.0, 0.05, 0.15, 0.3], count)[:, None]
    rows[to] = rows[of] + spread * rng.standard_normal((count, rows.shape[1])) / np.sqrt(rows.shape[1])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
