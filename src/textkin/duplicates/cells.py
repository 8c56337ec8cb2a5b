"""Pruning: rows are put into cells, and most rows are shown to have no partner in most cells.

In the frame of `textkin.duplicates.frame` every row has its z, and |z(x) - z(y)| <= |x - y| = |u - v|: components
in the span of Q, and lengths of the rests (by the reverse triangle inequality), differ by no more than rows. So
``u.v >= t`` means |z(x) - z(y)| <= e = sqrt(2 - 2 t), and for the whole numbers a = q / S, |a(x) - a(y)| <= e +
d(x) + d(y). For any two points c and c', with g = c' - c, therefore ::

    g.a(x) - g.a(y) <= |g| (e + d(x) + d(y))

Take for c the centre of a cell B and for c' the centre nearest to a(x). Then x has no partner in B when ::

    g.a(x) - |g| (e + d(x)) > max over y in B of (g.a(y) + |g| d(y))

whatever the cells are; those of a few rounds of k-means make it succeed often. Rounding: the four products with
centres are float32, each off by at most g(components + 3, e32) |a| |c| < 1.6e-4 for up to 260 components
(|z|^2 <= 8, and rounding to whole numbers adds little: |a|, |c| < 3.1), the rest of the arithmetic by less:
`_SLACK`. Distances between centres are float64, rounded up. e is enlarged by what the computed z may be off
(`Frame.error`; the root in r turns an error of 30 ``error`` into its root at most).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.duplicates.frame import Frame, WordRows, small_product
from textkin.duplicates.kernel_code import COLUMNS
from textkin.duplicates.unit_rows import SCORE_SLACK, Numbers
from textkin.types import Matrix

MOST_COMPONENTS = 260

_SLACK = np.float32(7e-4)
_ROUNDS = 4
_SAMPLE_A_CELL = 16
_MOST_CELLS = 2048
_ROWS_A_CELL = 256
_BLOCK_NUMBERS = 1 << 18
_TEST = 16.0
"""Nanoseconds a row and cell that pruning costs, as measured on one machine; only ratios matter."""
_PROBE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Centres, and for each cell how far its rows reach towards each other centre.

    Attributes:
        centres: ``(cells, components)``.
        between: ``(cells, cells)``: |g|.
        reach: ``(cells, cells)``: of rows of the first, towards the second.
        of: ``(n,)``: the cell of each right row.
        radius: e.
        frame: of the rows.
    """

    centres: Matrix
    between: Matrix
    reach: Matrix
    of: Numbers
    radius: float
    frame: Frame

    def order(self) -> tuple[Numbers, Numbers]:
        """Rows cell by cell, each padded to a multiple of `COLUMNS` with -1; and where each cell begins."""
        sizes = np.bincount(self.of, minlength=len(self.centres))
        padded = -(-sizes // COLUMNS) * COLUMNS
        begins = np.concatenate([[0], np.cumsum(padded)])
        order = np.full(int(begins[-1]), -1, dtype=np.int64)
        rows = np.argsort(self.of, kind="stable")
        firsts = np.concatenate([[0], np.cumsum(sizes)])
        cell = self.of[rows]
        order[begins[cell] + np.arange(len(rows)) - firsts[cell]] = rows
        return order, begins

    def may_meet(self, components: npt.NDArray[Any], off: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """``(m, cells)``: which rows may have a partner in which cell."""
        products = _products(components, self.frame, self.centres)
        own = _nearest(products, self.centres)
        far = (self.radius + off).astype(np.float32)[:, None] * np.float32(1 + 1e-6)
        bound = far * self.between[own]
        bound += self.reach.T[own]
        bound += products
        bound += _SLACK
        mine = products[np.arange(len(own)), own]
        return np.asarray(mine[:, None] <= bound)


def choose_cells(
    left: WordRows,
    right: WordRows,
    frame: Frame,
    threshold: float,
    pair_cost: float,
    pool: ThreadPoolExecutor,
) -> Cells | None:
    """Cells of the right rows; None where pruning would cost more than it saves.

    Args:
        left: rows that look for partners; ``right`` itself in a self-join.
        pair_cost: nanoseconds that looking at a pair takes.
    """
    rows, others = len(left.off), len(right.off)
    halves = 2 if left is right else 1
    looking = rows * others * pair_cost / halves
    if frame.components > MOST_COMPONENTS:
        return None
    radius = float(np.sqrt(max(0.0, 2 - 2 * (threshold - SCORE_SLACK))))
    radius += 2 * float(np.sqrt(30 * frame.error)) + 8 * frame.error
    probe = np.linspace(0, others - 1, min(others, 4 * _PROBE)).astype(np.int64)
    looks = np.linspace(0, rows - 1, min(rows, _PROBE)).astype(np.int64)
    most = min(_MOST_CELLS, others // _ROWS_A_CELL)
    best, least = None, looking / 1.1
    for count in (most, most // 2, most // 4):
        pruning = (rows + others) * count * _TEST / halves
        if count < 2 or pruning > least:
            continue
        centres = _centres(right.components, frame, count)
        between = _between(centres)
        trial = _reached(right, probe, frame, centres, between, radius, None)
        sizes = np.bincount(trial.of, minlength=count)
        meets = trial.may_meet(left.components[looks], left.off[looks])
        cost = pruning + looking * float((meets @ sizes).mean() / sizes.sum())
        if cost < least:
            best, least = (centres, between), cost
    return None if best is None else _reached(right, None, frame, *best, radius, pool)


def _between(centres: Matrix) -> Matrix:
    """Distances between centres, rounded up, so that the bound is never too tight: products in float64."""
    exact = centres.astype(np.float64)
    squares = np.einsum("ij,ij->i", exact, exact)
    gaps = squares[:, None] + squares - 2 * (exact @ exact.T)
    between: Matrix = (np.sqrt(np.maximum(gaps, 0.0) + 1e-8) * (1 + 1e-6)).astype(np.float32)
    return between


def _centres(components: npt.NDArray[Any], frame: Frame, count: int) -> Matrix:
    """A few rounds of k-means on an even sample."""
    picked = np.linspace(0, len(components) - 1, min(len(components), count * _SAMPLE_A_CELL)).astype(np.int64)
    sample = (components[picked] / np.float32(frame.scale)).astype(np.float32)
    centres = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(_ROUNDS):
        nearest = np.concatenate(
            [
                _nearest(small_product(sample[at : at + 1024], centres.T), centres)
                for at in range(0, len(sample), 1024)
            ]
        )
        order = np.argsort(nearest, kind="stable")
        cells, firsts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample[order], firsts, axis=0)
        centres[cells] = sums / np.diff(np.append(firsts, len(order)))[:, None]
    return centres


def _reached(
    rows: WordRows,
    picked: Numbers | None,
    frame: Frame,
    centres: Matrix,
    between: Matrix,
    radius: float,
    pool: ThreadPoolExecutor | None,
) -> Cells:
    """Put rows (all, or those picked) into cells, and see how far each cell reaches."""
    components = rows.components if picked is None else rows.components[picked]
    off = rows.off if picked is None else rows.off[picked]
    count = len(centres)
    reach = np.full((count, count), -np.inf, dtype=np.float32)
    of = np.empty(len(off), dtype=np.int64)
    lock = Lock()
    step = max(64, _BLOCK_NUMBERS // count)

    def block(at: int) -> None:
        part = slice(at, at + step)
        products = _products(components[part], frame, centres)
        own = _nearest(products, centres)
        of[part] = own
        order = np.argsort(own, kind="stable")
        cells, firsts = np.unique(own[order], return_index=True)
        products = products[order]
        own = own[order]
        mine = products[np.arange(len(own)), own]
        products -= mine[:, None]
        products += between[own] * (off[part][order].astype(np.float32) * np.float32(1 + 1e-6))[:, None]
        most = np.maximum.reduceat(products, firsts, axis=0)
        with lock:
            reach[cells] = np.maximum(reach[cells], most)

    blocks = range(0, len(off), step)
    for _ in pool.map(block, blocks) if pool else map(block, blocks):
        pass
    return Cells(centres, between, reach, of, radius, frame)


def _products(components: npt.NDArray[Any], frame: Frame, centres: Matrix) -> Matrix:
    return small_product((components / np.float32(frame.scale)).astype(np.float32), centres.T)


def _nearest(products: Matrix, centres: Matrix) -> Numbers:
    half = np.einsum("ij,ij->i", centres, centres) / 2
    nearest: Numbers = np.argmax(products - half, axis=1).astype(np.int64)
    return nearest
