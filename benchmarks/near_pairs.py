"""The exact join: complete against float64 brute force, and its time against its peers on the same vectors.

    python benchmarks/near_pairs.py --vectors FILE.npy [--rows 100000] [--peer-python PYTHON] [--scale 866000]

For each threshold the join and blocked float32 brute force (all cores, the block size that is best in this run)
run one after the other; the clock's ratio and that of processor time are given, the latter disturbed less by other
work on the machine. With ``--peer-python`` (an interpreter with semhash 0.5 and sentence-transformers) both run on
the same vectors in the same run. Completeness: eleven sets of vectors, six
thresholds and each way that the join may choose, pair by pair against float64.
``--scale`` joins that many rows too: the file's own where it has as many, else rows with the mean and covariance
of the real ones.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from _common import (
    Goal,
    Report,
    Table,
    arguments,
    command_line,
    cores,
    finish,
    machine,
    megabytes,
    require_success,
    run_process,
    say,
)
from textkin.duplicates import cascade, cells, join
from textkin.duplicates.join import NearPairs, near_pairs

Array = npt.NDArray[np.float32]
T = TypeVar("T")
CHECKED = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6)
BLOCKS = (1024, 2048, 4096)
_CHUNK = 20_000
_SAMPLED = 1000
MARK = "<!-- figures by benchmarks/near_pairs.py -->"
WAYS: dict[str, list[tuple[Any, str, Any]]] = {
    "compiled": [(join, "_COMPILED", 1), (cells, "_TEST", 1e9)],
    "compiled and pruned": [(join, "_COMPILED", 1), (cells, "_TEST", 0.0)],
    "NumPy": [(join, "load_engine", lambda: None), (cascade, "_SMALL", 100)],
}
"""Each way that the join may choose, forced upon small sets."""
PEERS = Path(__file__).resolve().parent / "_join_peers.py"


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


def like_file(real: Array, seed: int = 3) -> Callable[[int], Array]:
    """Vectors with mean and covariance of real ones, as many as wanted."""

    def make(rows: int) -> Array:
        rng = np.random.default_rng(seed)
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


def zero_variance(rows: int) -> Array:
    """Half the axes are constant."""
    vectors = text_like(rows)
    vectors[:, ::2] = 0.05
    return vectors


def all_the_same(rows: int) -> Array:
    return np.tile(text_like(2)[:1], (min(rows, 1500), 1))


def at_the_threshold(rows: int) -> Array:
    """Pairs of rows whose cosine is a threshold, as near as float32 comes."""
    vectors = isotropic(rows).astype(np.float64)
    cosine = np.resize(CHECKED, len(vectors) // 2)[:, None]
    a, b = vectors[0::2][: len(cosine)], vectors[1::2][: len(cosine)]
    b = b - np.sum(a * b, axis=1, keepdims=True) * a
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    vectors[1::2][: len(cosine)] = cosine * a + np.sqrt(1 - cosine**2) * b
    return np.asarray(vectors, dtype=np.float32)


def copies_apart(rows: int) -> Array:
    """Equal rows far from each other, so that they meet in no tile but the last."""
    vectors = text_like(rows)
    vectors[-(rows // 4) :] = vectors[: rows // 4]
    return vectors


def few_rows(rows: int) -> Array:
    return np.repeat(text_like(2), 2, axis=0)[: min(3, rows)]


def completeness(real: Array, rows: int) -> Table:
    """Pairs of each set and threshold; ends the program at the first difference."""
    sets: list[tuple[str, Array]] = [
        ("real", real[:rows]),
        ("real, spread over the file", real[:: max(1, len(real) // rows)][:rows]),
        ("enlarged from real", like_file(real)(rows)),
    ]
    makers = (
        text_like,
        clustered,
        isotropic,
        zero_variance,
        all_the_same,
        at_the_threshold,
        copies_apart,
        few_rows,
    )
    sets += [(make.__name__.replace("_", " "), make(rows)) for make in makers]
    table = Table("Pairs found, all of them and no other", ["vectors", "rows", *map(str, CHECKED)])
    for name, vectors in sets:
        counts = []
        for threshold in CHECKED:
            wanted = truth(vectors, threshold)
            for way, settings in WAYS.items():
                with ExitStack() as stack:
                    for place, attribute, value in settings:
                        stack.enter_context(patch.object(place, attribute, value))
                    i, j, _ = near_pairs(vectors, threshold, max_pairs=20_000_000)
                if set(zip(i.tolist(), j.tolist(), strict=True)) != wanted:
                    raise SystemExit(f"{name} at {threshold}, {way}: {len(i):,} pairs found of {len(wanted):,}")
            counts.append(f"{len(wanted):,}")
        table.rows.append([name, f"{len(vectors):,}", *counts])
        say(f"{name}: complete")
    return table


def speed(vectors: Array, thresholds: tuple[float, ...], report: Report) -> dict[float, float]:
    """Join and brute force side by side; seconds of the join by threshold."""
    near_pairs(vectors[:9000], 0.95)
    some = vectors[:15_000]
    block = min(BLOCKS, key=lambda size: timed(lambda: brute_force(some, 0.95, size))[1])
    table = Table(
        f"{len(vectors):,} x {vectors.shape[1]}, brute force in float32 by blocks of {block:,}",
        ["threshold", "pairs", "join", "brute force", "ratio", "ratio of processor time", "skipped", "candidates"],
    )
    seconds = {}
    for threshold in thresholds:
        fast = [timed(partial(near_pairs, vectors, threshold))]
        slow = timed(partial(brute_force, vectors, threshold, block))
        fast.append(timed(partial(near_pairs, vectors, threshold)))
        wall = (fast[0][0] + fast[1][0]) / 2
        processor = (fast[0][1] + fast[1][1]) / 2
        stats = fast[0][2].stats
        seconds[threshold] = wall
        table.rows.append(
            [
                f"{threshold:g}",
                f"{stats.found:,}",
                f"{wall:.2f} s",
                f"{slow[0]:.1f} s",
                f"{slow[0] / wall:.1f}x",
                f"{slow[1] / processor:.1f}x",
                f"{stats.skipped / stats.pairs:.0%}",
                ", ".join(f"{left:,} after {columns} columns" for columns, left in stats.steps),
            ]
        )
        asked = {0.95: (8, 20), 0.8: (3, 6)}.get(threshold)
        if asked:
            report.goals.append(
                Goal(
                    f"against brute force at {threshold:g}",
                    f"{asked[0]}x ({asked[1]}x wished)",
                    f"{slow[0] / wall:.1f}x by the clock, {slow[1] / processor:.1f}x by processor time",
                    slow[0] / wall >= asked[0],
                )
            )
        say(" | ".join(table.rows[-1]))
    report.tables.append(table)
    return seconds


def peers(python: str, file: Path, rows: int, vectors: Array, report: Report) -> None:
    """semhash and sentence-transformers on the same vectors, each beside a join of its own."""
    for name, count, least, wished in (
        ("semhash", rows, 12, 30),
        ("paraphrase_mining", min(rows, 50_000), 30, 30),
    ):
        own = timed(partial(near_pairs, vectors[:count], 0.95))
        ended = run_process([python, str(PEERS), name, str(file), str(count)])
        require_success(ended, [python, name])
        seconds, processor, what = ended.output.strip().split("\t")
        ratio, ratio_cpu = float(seconds) / own[0], float(processor) / own[1]
        report.goals.append(
            Goal(
                f"against {what}, {count:,} rows",
                f"{least}x" if least == wished else f"{least}x ({wished}x wished)",
                f"{ratio:.0f}x by the clock ({float(seconds):.1f} s, join {own[0]:.2f} s), "
                f"{ratio_cpu:.0f}x by processor time",
                ratio >= least,
            )
        )
        say(report.goals[-1].measured)


def scale(file: Path, real: Array, rows: int, report: Report) -> None:
    """Joins of many rows: those of the file as they lie there, where it has as many, else rows like its first."""
    whole = np.load(file, mmap_mode="r")
    kind = "real rows, mapped from the file" if len(whole) >= rows else "made like the real rows"
    columns = ["rows", "pairs found", "join", "processor time", "skipped", "peak memory, all rows read"]
    table = Table(f"Growth at 0.95 ({kind})", columns)
    for count in (min(len(real), rows // 2), rows):
        if len(whole) >= rows:
            vectors = whole[:count]
        else:
            vectors = np.empty((count, real.shape[1]), dtype=np.float32)
            for number, at in enumerate(range(0, count, _CHUNK)):
                vectors[at : at + _CHUNK] = like_file(real, 10 + number)(min(_CHUNK, count - at))
        clock, processor, pairs = timed(partial(near_pairs, vectors, 0.95))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        stats = pairs.stats
        row = [f"{count:,}", f"{stats.found:,}", f"{clock:.1f} s", f"{processor:.1f} s"]
        table.rows.append([*row, f"{stats.skipped / stats.pairs:.0%}", megabytes(peak)])
        say(" | ".join(table.rows[-1]))
    report.goals.append(Goal(f"{rows:,} rows at 0.95", "under 300 s", f"{clock:.1f} s", clock < 300))
    found, expected = sampled(vectors, pairs)
    report.goals.append(
        Goal(
            f"pairs of {_SAMPLED:,} of these {rows:,} rows",
            "as float64 brute force finds them",
            f"{len(found & expected):,} of {len(expected):,}, {len(found - expected)} others",
            found == expected,
        )
    )
    report.tables.append(table)


def sampled(vectors: Array, pairs: NearPairs) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """All pairs that some rows are in: those that the join found, and those that float64 finds.

    Half of the rows are in a pair that was found, the others are picked among all.
    """
    rng = np.random.default_rng(1)
    paired = np.unique(np.concatenate([pairs.i, pairs.j]))
    some = rng.choice(paired, min(len(paired), _SAMPLED // 2), replace=False)
    rows = np.unique(np.concatenate([some, rng.choice(len(vectors), _SAMPLED - len(some), replace=False)]))
    picked = unit64(vectors[rows])
    expected: set[tuple[int, int]] = set()
    for start in range(0, len(vectors), _CHUNK):
        scores = np.round(picked @ unit64(vectors[start : start + _CHUNK]).T, 12)
        x, y = np.nonzero(scores >= 0.95)
        both = zip(rows[x].tolist(), (y + start).tolist(), strict=True)
        expected.update((min(pair), max(pair)) for pair in both if pair[0] != pair[1])
    inside = np.isin(pairs.i, rows) | np.isin(pairs.j, rows)
    return set(zip(pairs.i[inside].tolist(), pairs.j[inside].tolist(), strict=True)), expected


def unit64(rows: Array) -> npt.NDArray[np.float64]:
    """Unit rows in float64."""
    wide = np.asarray(rows, dtype=np.float64)
    unit: npt.NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="real vectors (.npy)")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--check", type=int, default=3000, help="rows compared with float64 brute force")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.95, 0.8])
    parser.add_argument("--peer-python", help="interpreter with semhash and sentence-transformers")
    parser.add_argument("--write", type=Path, help="page whose figures to replace")
    parser.add_argument("--scale", type=int, help="also join this many rows")
    options = parser.parse_args()
    real = np.ascontiguousarray(np.load(options.vectors)[: options.rows], dtype=np.float32)
    report = Report("The exact near-duplicate join", command_line("near_pairs.py", sys.argv[1:]))
    speed(real, tuple(options.thresholds), report)
    if options.peer_python:
        peers(options.peer_python, options.vectors, len(real), real, report)
    table = completeness(real, options.check)
    pairs = len(CHECKED) * len(table.rows) * len(WAYS)
    report.goals.append(Goal("complete", "every pair, no other", f"{pairs} of {pairs} joins", True))
    report.tables.append(table)
    if options.scale:
        scale(options.vectors, real, options.scale, report)
    report.notes.append(
        f"Load of the machine while measuring: {os.getloadavg()[1]:.1f} runnable processes on {cores()} cores; "
        "ratios of processor time are the steadier ones."
    )
    report.notes += [f"{name}: {fact}" for name, fact in machine()]
    finish(report, options)
    if options.write:
        page, mark, _ = options.write.read_text(encoding="utf-8").partition(MARK)
        options.write.write_text(page + mark + "\n\n" + report.markdown(), encoding="utf-8")


def _with_copies(rng: np.random.Generator, rows: npt.NDArray[np.float64]) -> Array:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(rows) // 100
    of, to = rng.permutation(len(rows))[: 2 * count].reshape(2, count)
    spread = rng.choice([0.0, 0.05, 0.15, 0.3], count)[:, None]
    rows[to] = rows[of] + spread * rng.standard_normal((count, rows.shape[1])) / np.sqrt(rows.shape[1])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
