"""The compiled join: tasks of one right tile against many left rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from textkin.duplicates.cells import Cells
from textkin.duplicates.kernel import Engine, Int32
from textkin.duplicates.kernel_code import COLUMNS
from textkin.duplicates.sides import Side
from textkin.duplicates.tiles import Budget, Found
from textkin.duplicates.unit_rows import (
    SCORE_SLACK,
    Doubles,
    Numbers,
    UnitRows,
    pair_scores,
    round_scores,
)

TILE = 1024
"""Places of a tile at most; a multiple of `COLUMNS`."""

_LEFT_BYTES = 1 << 18
"""Left rows that one call goes through again and again for the blocks of a tile: half the second-level cache."""
_TASK_ROWS = 1 << 15
_BATCH = 1 << 14
_FEW = 256
"""Left rows from which a tile with many candidates is no longer halved but scored whole."""
_MEETING_NUMBERS = 1 << 18
_SPARSE = 10
"""One candidate in so many pairs is where scoring them singly stops paying."""


@dataclass(frozen=True, slots=True)
class Work:
    """Left places ``[at, most)`` against the right tile ``[start, stop)``.

    Attributes:
        cell: of the tile.
        looks: places of the left side that can't be left out, times those of the tile: the work in it.
    """

    at: int
    most: int
    start: int
    stop: int
    cell: int
    looks: int


class CompiledJoin:
    """Searches for pairs, one task a call; calls may run side by side.

    Args:
        left: one side.
        right: the other; ``left`` itself in a self-join.
        meets: ``(cells, left places / 8)`` bits: which left rows may have a partner in which cell; None: all.
    """

    def __init__(
        self,
        engine: Engine,
        left: Side,
        right: Side,
        threshold: float,
        budget: Budget,
        meets: npt.NDArray[np.uint8] | None,
    ) -> None:
        self._engine = engine
        self._left = left
        self._right = right
        self._same = left is right
        self._threshold = threshold
        self._budget = budget
        self._meets = meets
        self._words = left.first.shape[1] // engine.kernel.packed
        self._raw = _float32(left.rows), _float32(right.rows)
        self._steps = 1 if left.second is None else 2

    def run(self, work: Work) -> Found:
        """The pairs of one task that reach the threshold; incomplete when the budget is spent."""
        survivors = np.zeros(self._steps, dtype=np.int64)
        found: list[tuple[Numbers, Numbers, Doubles]] = []
        waiting: list[tuple[Int32, Int32]] = []
        waits = 0
        step = max(_FEW, _LEFT_BYTES // self._left.first[0].nbytes)
        every = self._chosen(work)
        todo = [every[at : at + step] for at in range(0, len(every), step)]
        while todo and not self._budget.spent:
            chosen = todo.pop()
            pairs = self._find(chosen, work.start, work.stop)
            if pairs is None:
                if len(chosen) > _FEW:
                    half = len(chosen) // 2
                    todo += [chosen[:half], chosen[half:]]
                else:
                    survivors += len(chosen) * (work.stop - work.start)
                    found.append(self._whole(chosen, work.start, work.stop))
                    self._budget.spend(len(found[-1][0]))
                continue
            i, j, first = pairs
            survivors[0] += first
            survivors[1:] += len(i)
            waiting.append((i, j))
            waits += len(i)
            if waits >= _BATCH:
                found.append(self._scored(waiting))
                self._budget.spend(len(found[-1][0]))
                waiting, waits = [], 0
        if waits:
            found.append(self._scored(waiting))
            self._budget.spend(len(found[-1][0]))
        none = np.empty(0, dtype=np.int64)
        found.append((none, none, np.empty(0)))
        i_all, j_all, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Found(i_all, j_all, score, survivors)

    def _chosen(self, work: Work) -> Int32:
        if self._meets is None:
            return np.arange(work.at, work.most, dtype=np.int32)
        bits = self._meets[work.cell, work.at // 8 : work.most // 8]
        return (np.flatnonzero(np.unpackbits(bits)) + work.at).astype(np.int32)

    def _find(self, chosen: Int32, start: int, stop: int) -> tuple[Int32, Int32, int] | None:
        """Candidates after all steps, and their number after the first; None where there are too many."""
        engine, left, right = self._engine, self._left, self._right
        kernel = engine.kernel
        odd = -len(chosen) % kernel.rows
        if odd:
            chosen = np.append(chosen, np.full(odd, len(left.order), dtype=np.int32))
        room = kernel.rows * COLUMNS + len(chosen) * (stop - start) // _SPARSE
        i, j = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
        sums = np.empty(kernel.rows * COLUMNS, dtype=np.int32)
        count = engine.find(
            left.first.ctypes.data,
            left.border.ctypes.data,
            chosen.ctypes.data,
            len(chosen),
            right.right[start // right.right.shape[2] :].ctypes.data,
            right.start[start:].ctypes.data,
            (stop - start) // (kernel.lanes * kernel.vectors),
            self._words,
            start,
            i.ctypes.data,
            j.ctypes.data,
            room,
            sums.ctypes.data,
        )
        if count < 0:
            return None
        i, j = i[:count], j[:count]
        if self._same and count and int(chosen.max()) >= start:
            above = j > i
            i, j = i[above], j[above]
        first = len(i)
        if left.second is not None and right.second is not None and first:
            i, j = np.ascontiguousarray(i), np.ascontiguousarray(j)
            count = engine.refine(
                left.second.ctypes.data,
                left.second_border.ctypes.data,
                right.second.ctypes.data,
                right.second_start.ctypes.data,
                left.second.shape[1],
                i.ctypes.data,
                j.ctypes.data,
                first,
            )
            i, j = i[:count], j[:count]
        return i.copy(), j.copy(), first

    def _scored(self, waiting: list[tuple[Int32, Int32]]) -> tuple[Numbers, Numbers, Doubles]:
        places = tuple(np.concatenate(parts) for parts in zip(*waiting, strict=True))
        i, j = self._left.order[places[0]], self._right.order[places[1]]
        score = self._scores(i, j)
        keep = score >= self._threshold
        return self._upper(i[keep], j[keep], score[keep])

    def _scores(self, i: Numbers, j: Numbers) -> Doubles:
        left, right = self._left.rows, self._right.rows
        a, b = self._raw
        if a is None or b is None:
            return pair_scores(left, i, right, j)
        out = np.empty(len(i))
        i, j = np.ascontiguousarray(i), np.ascontiguousarray(j)
        self._engine.dots(
            a.ctypes.data,
            a.strides[0] // 4,
            b.ctypes.data,
            b.strides[0] // 4,
            left.dimensions // 8,
            left.dimensions % 8,
            i.ctypes.data,
            j.ctypes.data,
            len(i),
            out.ctypes.data,
        )
        return round_scores(out / (left.length[i] * right.length[j]))

    def _whole(self, chosen: Int32, start: int, stop: int) -> tuple[Numbers, Numbers, Doubles]:
        """Score all pairs at once in float64."""
        a = chosen[self._left.order[np.minimum(chosen, len(self._left.order) - 1)] >= 0]
        b = np.arange(start, stop)
        b = b[self._right.order[b] >= 0]
        rows_a, rows_b = self._left.order[a], self._right.order[b]
        cosines = self._left.rows.take(rows_a) @ self._right.rows.take(rows_b).T
        x, y = np.nonzero(cosines >= self._threshold - 2 * SCORE_SLACK)
        score = round_scores(cosines[x, y])
        keep = score >= self._threshold
        if self._same:
            keep &= a[x] < b[y]
        x, y = x[keep], y[keep]
        return self._upper(rows_a[x], rows_b[y], score[keep])

    def _upper(self, i: Numbers, j: Numbers, score: Doubles) -> tuple[Numbers, Numbers, Doubles]:
        """In a self-join the lower row number first, whatever the order of places."""
        if not self._same:
            return i, j, score
        return np.minimum(i, j), np.maximum(i, j), score


def all_work(left: Side, right: Side, begins: Numbers, meets: npt.NDArray[np.uint8] | None) -> list[Work]:
    """Tasks that together decide every pair once: all left places, or in a self-join those up to the tile.

    Args:
        begins: where each cell of the right side begins, and the end of the last.
        meets: as for `CompiledJoin`.
    """
    todo = []
    for cell, (first, end) in enumerate(pairwise(begins.tolist())):
        for start in range(first, end, TILE):
            stop = min(start + TILE, end)
            end_left = stop if left is right else len(left.order)
            for at in range(0, end_left, _TASK_ROWS):
                most = min(at + _TASK_ROWS, end_left)
                rows = most - at
                if meets is not None:
                    rows = int(np.unpackbits(meets[cell, at // 8 : most // 8]).sum())
                if rows:
                    todo.append(Work(at, most, start, stop, cell, rows * (stop - start)))
    return todo


def meeting(cells: Cells, left: Side, off: Doubles, pool: ThreadPoolExecutor) -> npt.NDArray[np.uint8]:
    """Which left rows may have a partner in which cell, as bits: ``(cells, left places / 8)``.

    Args:
        off: of the left rows, in input order.
    """
    bits = np.empty((len(cells.centres), len(left.order) // 8), dtype=np.uint8)
    step = max(COLUMNS, _MEETING_NUMBERS // len(cells.centres) // COLUMNS * COLUMNS)

    def block(at: int) -> None:
        order = left.order[at : at + step]
        meets = cells.may_meet(left.first[at : at + len(order)], off[np.maximum(order, 0)])
        meets[order < 0] = False
        bits[:, at // 8 : (at + len(order)) // 8] = np.packbits(meets, axis=0).T

    for _ in pool.map(block, range(0, len(left.order), step)):
        pass
    return bits


def _float32(rows: UnitRows) -> npt.NDArray[np.float32] | None:
    """The source, where its rows can be read as they lie."""
    source = rows.source
    plain = source.dtype == np.float32 and source.dtype.isnative and source.strides[1] == 4
    aligned = plain and source.strides[0] % 4 == 0 and source.strides[0] >= 0 and source.ctypes.data % 4 == 0
    return source if aligned else None
