"""Both sides of a compiled join, laid out for the processor: rows as whole numbers, in tiles."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.duplicates.frame import NEVER, WordRows, word_rows
from textkin.duplicates.kernel import Int32, grouped
from textkin.duplicates.kernel_code import COLUMNS, Kernel
from textkin.duplicates.plan import Plan
from textkin.duplicates.unit_rows import Numbers, UnitRows

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All rows of one side as whole numbers, in input order."""

    first: WordRows
    second: WordRows | None


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of the join, in *places*: rows in an order of our own, with gaps that pad tiles.

    Attributes:
        rows: the source.
        order: ``(places,)``: row number at each place; -1 in a gap.
        first: ``(places + 1, components)``, the last a row that is in no pair.
        border: ``(places + 1,)`` for ``first``.
        right: ``first`` interleaved, without the last row.
        start: ``(places,)`` for ``right``.
        second: ``(places, components)`` int8.
        second_border: ``(places,)``.
        second_start: ``(places,)``.
    """

    rows: UnitRows
    order: Numbers
    first: npt.NDArray[Any]
    border: Int32
    right: npt.NDArray[Any]
    start: Int32
    second: npt.NDArray[np.int8] | None
    second_border: Int32
    second_start: Int32


def prepare(rows: UnitRows, plan: Plan, pool: ThreadPoolExecutor, told: Callable[[int], None]) -> Prepared:
    """Turn all rows into whole numbers, on all cores; ``told`` hears how many more are done."""
    frames = (plan.first,) if plan.second is None else (plan.first, plan.second)
    parts = [slice(start, min(start + _ROWS_AT_ONCE, rows.count)) for start in range(0, rows.count, _ROWS_AT_ONCE)]
    made = []
    for part, words in zip(
        parts, pool.map(lambda p: word_rows(rows, plan.centred, frames, p), parts), strict=True
    ):
        made.append(words)
        told(part.stop - part.start)
    joined = [_joined([part[number] for part in made]) for number in range(len(frames))]
    return Prepared(joined[0], joined[1] if len(joined) > 1 else None)


def largest_sizes(sides: tuple[Prepared, ...]) -> tuple[float, float]:
    """P of both frames."""
    first = max(float(side.first.size.max()) for side in sides)
    return first, max((float(side.second.size.max()) for side in sides if side.second is not None), default=0.0)


def lay_out(
    rows: UnitRows,
    prepared: Prepared,
    plan: Plan,
    kernel: Kernel,
    order: Numbers,
    threshold: float,
    largest: tuple[float, float],
) -> Side:
    """Put rows in order, with their borders and starts.

    Args:
        order: row number at each place, -1 in a gap; its length is a multiple of `COLUMNS`.
    """
    gap = order < 0
    places = len(order)
    at = np.where(gap, 0, order)
    first = np.zeros((places + 1, plan.first.components), dtype=prepared.first.components.dtype)
    first[:-1] = prepared.first.components[at]
    border = np.full(places + 1, NEVER, dtype=np.int32)
    start = prepared.first.starts(plan.first, largest[0])[at]
    start[gap] = -NEVER
    borders = prepared.first.borders(plan.first, threshold, largest[0])
    if kernel.bits == 8:
        # The right side is stored as component + 128.
        borders += 128 * prepared.first.components.sum(axis=1, dtype=np.int32)
    border[:-1] = np.where(gap, NEVER, borders[at])
    none = np.empty(0, dtype=np.int32)
    second, second_border, second_start = None, none, none
    if prepared.second is not None and plan.second is not None:
        second = prepared.second.components[at]
        second_border = prepared.second.borders(plan.second, threshold, largest[1])[at]
        second_start = prepared.second.starts(plan.second, largest[1])[at]
    return Side(
        rows, order, first, border, grouped(first[:-1], kernel), start, second, second_border, second_start
    )


def input_order(count: int) -> Numbers:
    """Rows as they came, padded at the end."""
    order = np.full(-(-count // COLUMNS) * COLUMNS, -1, dtype=np.int64)
    order[:count] = np.arange(count)
    return order


def _joined(parts: list[WordRows]) -> WordRows:
    if len(parts) == 1:
        return parts[0]
    return WordRows(
        np.concatenate([part.components for part in parts]),
        np.concatenate([part.add for part in parts]),
        np.concatenate([part.off for part in parts]),
        np.concatenate([part.size for part in parts]),
    )
