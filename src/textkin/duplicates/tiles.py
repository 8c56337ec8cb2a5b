"""The inner loop of the join: one band of rows against the columns after it, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from textkin.duplicates.cascade import Step
from textkin.duplicates.unit_rows import SCORE_SLACK, Doubles, Numbers, UnitRows, pair_scores, round_scores
from textkin.types import Matrix

_SMALL_PRODUCT = 1 << 18
"""Multiplications up to which OpenBLAS works in the calling thread, so that our threads run side by side.

Measured on 2 cores with 16 columns: 0.35 ns a pair, against 0.8 with the library's own threads (and 25 where other
processes keep the cores busy).
"""
_THIN = 128
_BAND_ROWS = 2048
_WIDE_ROWS = 2048
_BATCH = 1 << 14
_DENSE = 0.01
"""Part of a tile from which one float64 product of the tile is cheaper than scoring candidates singly."""


@dataclass(frozen=True, slots=True)
class Task:
    """Rows ``start`` to ``stop`` of the left side against the right side's rows from ``first`` on.

    Attributes:
        height: rows of one small product; 0: one product a tile, left to the library's threads.
        width: right rows of a tile.
        pairs: how many it decides.
    """

    start: int
    stop: int
    first: int
    height: int
    width: int
    pairs: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Pairs of one task, unsorted, and how many candidates each step left."""

    i: Numbers
    j: Numbers
    score: Doubles
    survivors: Numbers


class Budget:
    """How many pairs may still be found, shared by the threads of one join."""

    def __init__(self, pairs: int) -> None:
        self._left = pairs
        self._lock = Lock()

    @property
    def spent(self) -> bool:
        """Whether more was found than allowed; then everyone stops."""
        return self._left < 0

    def spend(self, pairs: int) -> None:
        """Take this many off."""
        with self._lock:
            self._left -= pairs


def tasks(left: int, right: int, same: bool, columns: int) -> list[Task]:
    """Bands of left rows that together decide every pair once."""
    if columns > _THIN:
        height, width, band = 0, _WIDE_ROWS, _WIDE_ROWS
    else:
        height, width = _small_shape(columns)
        band = max(height, min(_BAND_ROWS, left // 16) // height * height)
    out = []
    for start in range(0, left, band):
        stop = min(start + band, left)
        rows = stop - start
        pairs = rows * (right - stop) + rows * (rows - 1) // 2 if same else rows * right
        out.append(Task(start, stop, start if same else 0, height, width, pairs))
    return out


def search_task(
    task: Task, left: UnitRows, right: UnitRows, threshold: float, steps: Sequence[Step], budget: Budget
) -> Found:
    """The pairs of one task that reach the threshold; incomplete when the budget is spent."""
    same = left is right
    first = steps[0]
    border = first.border(threshold)
    survivors = np.zeros(len(steps), dtype=np.int64)
    found: list[tuple[Numbers, Numbers, Doubles]] = []
    waiting: list[tuple[Numbers, Numbers]] = []
    waits = 0
    band: Doubles | None = None
    rows = task.stop - task.start
    products = _Products(first.left[task.start : task.stop], task)
    for column in range(task.first, len(first.right), task.width):
        if budget.spent:
            break
        others = first.right[column : column + task.width]
        mask = products.at_least(others, border)
        flat = np.flatnonzero(mask)
        if not len(flat):
            continue
        i, j = np.divmod(flat, len(others))
        i += task.start
        j += column
        if same and column < task.stop:
            above = j > i
            i, j = i[above], j[above]
        if len(i) > _DENSE * rows * len(others):
            survivors += len(i)
            if band is None:
                band = left.take(slice(task.start, task.stop))
            found.append(_whole_tile(band, task.start, right, column, len(others), threshold, same))
            budget.spend(len(found[-1][0]))
            continue
        survivors[0] += len(i)
        waiting.append((i, j))
        waits += len(i)
        if waits >= _BATCH:
            found.append(_settle(waiting, left, right, threshold, steps, survivors))
            budget.spend(len(found[-1][0]))
            waiting, waits = [], 0
    if waiting:
        found.append(_settle(waiting, left, right, threshold, steps, survivors))
        budget.spend(len(found[-1][0]))
    if not found:
        none = np.empty(0, dtype=np.int64)
        return Found(none, none, np.empty(0), survivors)
    i, j, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Found(i, j, score, survivors)


class _Products:
    """Thin products of one band with any tile, into buffers that stay in the processor's cache."""

    def __init__(self, band: Matrix, task: Task) -> None:
        self._rows = len(band)
        height = task.height or self._rows
        stacks = -(-self._rows // height)
        if stacks * height > self._rows:
            band = np.concatenate(
                [band, np.zeros((stacks * height - self._rows, band.shape[1]), dtype=np.float32)]
            )
        self._stacks = band.reshape(stacks, height, band.shape[1])
        self._product = np.empty((stacks, height, task.width), dtype=np.float32)
        self._mask = np.empty((stacks * height, task.width), dtype=np.bool_)

    def at_least(self, others: Matrix, border: np.float32) -> np.typing.NDArray[np.bool_]:
        """``(rows, len(others))``: which products are not below the border. Overwritten by the next call."""
        product, mask = self._product, self._mask
        if len(others) < product.shape[2]:
            product = np.empty((*product.shape[:2], len(others)), dtype=np.float32)
            mask = np.empty((mask.shape[0], len(others)), dtype=np.bool_)
        np.matmul(self._stacks, others.T, out=product)
        np.greater_equal(product.reshape(mask.shape), border, out=mask)
        return mask[: self._rows]


def _settle(
    waiting: list[tuple[Numbers, Numbers]],
    left: UnitRows,
    right: UnitRows,
    threshold: float,
    steps: Sequence[Step],
    survivors: Numbers,
) -> tuple[Numbers, Numbers, Doubles]:
    """Put candidates through the later steps, then score what is left in float64."""
    i, j = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
    for number, step in enumerate(steps[1:], start=1):
        keep = np.einsum("ij,ij->i", step.left[i], step.right[j]) >= step.border(threshold)
        i, j = i[keep], j[keep]
        survivors[number] += len(i)
    score = pair_scores(left, i, right, j)
    keep = score >= threshold
    return i[keep], j[keep], score[keep]


def _whole_tile(
    band: Doubles, start: int, right: UnitRows, column: int, width: int, threshold: float, same: bool
) -> tuple[Numbers, Numbers, Doubles]:
    """Score all pairs of a tile at once in float64."""
    cosines = band @ right.take(slice(column, column + width)).T
    flat = np.flatnonzero(cosines >= threshold - 2 * SCORE_SLACK)
    score = round_scores(cosines.ravel()[flat])
    i, j = np.divmod(flat, width)
    i += start
    j += column
    keep = score >= threshold
    if same:
        keep &= j > i
    return i[keep], j[keep], score[keep]


def _small_shape(columns: int) -> tuple[int, int]:
    """Rows and columns of a product that OpenBLAS takes in one thread: near square, multiples of 16."""
    cells = _SMALL_PRODUCT // columns
    height = max(16, int(cells**0.5) // 16 * 16)
    return height, max(16, cells // height // 16 * 16)
