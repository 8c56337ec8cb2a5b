"""All pairs of rows whose cosine reaches a threshold, none missed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textkin.duplicates.cascade import Cascade, choose_cascade
from textkin.duplicates.cells import choose_cells
from textkin.duplicates.compiled import CompiledJoin, all_work, meeting
from textkin.duplicates.kernel import Engine, load_engine
from textkin.duplicates.plan import Plan, choose_plan
from textkin.duplicates.sides import input_order, largest_sizes, lay_out, prepare
from textkin.duplicates.tiles import Budget, Found, Task, search_task, tasks
from textkin.duplicates.unit_rows import Doubles, Numbers, UnitRows, unit_rows
from textkin.errors import InputError
from textkin.types import Progress

MAX_PAIRS = 10_000_000
"""Pairs that a join returns unless told otherwise: 240 MB, and as much again while they are sorted."""

MAX_MEMORY = 2 << 30
"""Working memory of a join unless told otherwise: enough for 2.6 million rows in one part."""

_CERTAIN_HITS = 1000
_ROW_BYTES = 800
_LEAST_PART = 4096
_FEW = 16
"""Rows a side below which there is nothing to sample."""
_COMPILED = 10_000_000_000
"""Multiplications of all pairs from which the compiled join pays: 7,200 rows of 384 dimensions."""


@dataclass(frozen=True, slots=True)
class JoinStats:
    """What a join did.

    Attributes:
        rows: of the left side, and of the right side (the same number in a self-join).
        pairs: in all; every one was skipped, examined by the first step or scored.
        steps: columns that each step looked at, and the candidates that it left.
        found: pairs that reach the threshold.
        margin: how far below the threshold the first step kept candidates on account of rounding.
        skipped: about how many pairs no step looked at, since a row can have no partner in a whole cell of rows.
        engine: the processor's instruction behind the first step; ``numpy``: the join without machine code.
    """

    rows: tuple[int, int]
    pairs: int
    steps: tuple[tuple[int, int], ...]
    found: int
    margin: float
    skipped: int = 0
    engine: str = "numpy"


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """Pairs, best first; unpacks to its three arrays: ``i, j, score = near_pairs(vectors)``.

    Attributes:
        i: row numbers.
        j: row numbers; above ``i`` in a self-join.
        score: float64 cosines.
        threshold: what they reach.
        stats: what the join did.
    """

    i: Numbers
    j: Numbers
    score: Doubles
    threshold: float
    stats: JoinStats

    def __iter__(self) -> Iterator[npt.NDArray[np.int64 | np.float64]]:
        return iter((self.i, self.j, self.score))


def near_pairs(
    vectors: npt.ArrayLike,
    threshold: float = 0.95,
    *,
    other: npt.ArrayLike | None = None,
    max_pairs: int = MAX_PAIRS,
    max_memory: int = MAX_MEMORY,
    threads: int | None = None,
    progress: Progress | None = None,
) -> NearPairs:
    """Find every pair of rows whose score is at least ``threshold``.

    The score is the cosine in float64 of the rows as given, rounded to 12 decimals; so rows that are equal, or
    equal up to their length or float32 rounding, score exactly 1.0, and ``threshold=1.0`` finds them. A zero row
    scores 0 with every row. Exact: float32 products only rule pairs out, by a bound with a proven margin
    (`textkin.duplicates.bound`), and so do 8-bit products in machine code made for this processor
    (`textkin.duplicates.frame`), which take over where there are enough rows. Time grows with the square of the
    rows. Working memory: at most 800 bytes a row (2,300 without llvmlite, at 384 dimensions), as long as that is
    below ``max_memory``; 25 bytes a row and 48 bytes a pair found come on top.

    Args:
        vectors: ``(n, d)`` of any length of row; memory-mapped and strided matrices are read in blocks.
        threshold: above -1, at most 1.
        other: ``(m, d)``: compare each row of ``vectors`` with each row of this one instead of with each other.
        max_pairs: more than this is an error.
        max_memory: bytes; more rows than this is enough for are joined part by part, which takes a little longer.
        threads: cores to use; all by default.
        progress: called with rows done and rows in all.

    Returns:
        Pairs with ``i < j`` (with ``other``: row of ``vectors``, row of ``other``), highest score first; ties by
        i, then j.

    Raises:
        InputError: a threshold out of range, NaN or infinity, sides of different dimensions, no threads, or more
            than ``max_pairs`` pairs.
    """
    threshold = checked_threshold(threshold)
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    left = unit_rows(vectors)
    right = left if other is None else unit_rows(other, "other")
    if left.dimensions != right.dimensions and left.count and right.count:
        raise InputError(
            f"vectors have {left.dimensions} dimensions and other has {right.dimensions}: "
            "they come from different models"
        )
    total = left.count * (left.count - 1) // 2 if right is left else left.count * right.count
    if not total:
        return best_first([], threshold, JoinStats((left.count, right.count), 0, (), 0, 0.0))
    budget = Budget(max_pairs)
    found: list[Found] = []
    parts: list[JoinStats] = []
    done = 0
    for a, b in _blocks(left, right, max_memory):
        one = left if a == slice(0, left.count) else left.part(a)
        two = one if right is left and a == b else right if b == slice(0, right.count) else right.part(b)
        pairs = one.count * (one.count - 1) // 2 if two is one else one.count * two.count

        def told(share: float, done: int = done, pairs: int = pairs) -> None:
            if budget.spent:
                raise too_many(f"more than {max_pairs:,} of {total:,}", threshold, max_pairs)
            if progress is not None:
                progress(min(left.count, round(left.count * (done + share * pairs) / total)), left.count)

        some, stats = _join(one, two, threshold, pairs, max_pairs, budget, threads or _processors(), told)
        found += [Found(part.i + a.start, part.j + b.start, part.score, part.survivors) for part in some]
        parts.append(stats)
        done += pairs
    return best_first(found, threshold, summed(parts, (left.count, right.count)))


def checked_threshold(threshold: float) -> float:
    """The threshold as a float.

    Raises:
        InputError: not above -1 and at most 1.
    """
    value = float(threshold)
    if not -1.0 < value <= 1.0:
        raise InputError(f"threshold is {threshold}; expected a cosine above -1 and at most 1, such as 0.95")
    return value


def _blocks(left: UnitRows, right: UnitRows, max_memory: int) -> Iterator[tuple[slice, slice]]:
    """Parts of both sides that fit the memory, each pair of parts once."""
    same = left is right
    a_row = _ROW_BYTES + 4 * left.dimensions
    rows = left.count if same else left.count + right.count
    if rows * a_row > max_memory and load_engine() is not None:
        a_row = _ROW_BYTES
    if rows * a_row <= max_memory:
        yield slice(0, left.count), slice(0, right.count)
        return
    size = max(_LEAST_PART, max_memory // a_row // 2)
    lefts = [slice(at, min(at + size, left.count)) for at in range(0, left.count, size)]
    rights = [slice(at, min(at + size, right.count)) for at in range(0, right.count, size)]
    for number, a in enumerate(lefts):
        for b in rights[number:] if same else rights:
            yield a, b


def summed(parts: list[JoinStats], rows: tuple[int, int]) -> JoinStats:
    """One account of all parts; the columns of a step are those of the part where it had most."""
    if len(parts) == 1:
        return parts[0]
    steps = [
        [part.steps[k] for part in parts if k < len(part.steps)] for k in range(max(len(p.steps) for p in parts))
    ]
    return JoinStats(
        rows=rows,
        pairs=sum(part.pairs for part in parts),
        steps=tuple((max(columns for columns, _ in step), sum(left for _, left in step)) for step in steps),
        found=sum(part.found for part in parts),
        margin=max(part.margin for part in parts),
        skipped=sum(part.skipped for part in parts),
        engine=parts[0].engine,
    )


def _join(
    left: UnitRows,
    right: UnitRows,
    threshold: float,
    total: int,
    max_pairs: int,
    budget: Budget,
    threads: int,
    spent: Callable[[float], None],
) -> tuple[list[Found], JoinStats]:
    if not total:
        return [], JoinStats((left.count, right.count), 0, (), 0, 0.0)

    def expect(share: float | None, sampled: int) -> None:
        if share is not None and share * sampled >= _CERTAIN_HITS and share * total > 1.5 * max_pairs:
            raise too_many(f"about {share * total:,.0f} of {total:,}", threshold, max_pairs)

    worth = threshold > 0 and min(left.count, right.count) >= _FEW and total * left.dimensions >= _COMPILED
    engine = load_engine() if worth else None
    skipped, name = 0.0, "numpy" if engine is None else engine.kernel.name
    if engine is not None:
        plan = choose_plan(left, right, threshold, engine.kernel)
        expect(plan.share, plan.sampled)
        found, skipped = _compiled(left, right, threshold, engine, plan, budget, threads, spent)
        margin = plan.first.margin
        columns: tuple[int, ...] = tuple(step.components for step in (plan.first, plan.second) if step)
    else:
        cascade = choose_cascade(left, right, threshold)
        expect(cascade.share, cascade.sampled)
        found = _search(left, right, threshold, cascade, total, budget, threads, spent)
        margin = cascade.steps[0].margin
        columns = tuple(step.columns for step in cascade.steps)
    none = np.zeros(len(columns), dtype=np.int64)
    survivors = np.sum([none, *(part.survivors for part in found)], axis=0).tolist()
    stats = JoinStats(
        rows=(left.count, right.count),
        pairs=total,
        steps=tuple((column, int(n)) for column, n in zip(columns, survivors, strict=True)),
        found=sum(len(part.score) for part in found),
        margin=float(margin),
        skipped=round(skipped * total),
        engine=name,
    )
    return found, stats


def _compiled(
    left: UnitRows,
    right: UnitRows,
    threshold: float,
    engine: Engine,
    plan: Plan,
    budget: Budget,
    threads: int,
    spent: Callable[[float], None],
) -> tuple[list[Found], float]:
    """The compiled join, and the part of the pairs that it never looked at."""
    found: list[Found] = []
    rows = left.count + (0 if right is left else right.count)
    preparing = rows * plan.row_cost
    ready = 0.0

    def told(more: int) -> None:
        nonlocal ready
        ready += more * plan.row_cost
        spent(ready / (preparing + plan.pairs * plan.cost))

    pool = ThreadPoolExecutor(threads)
    try:
        prepared = prepare(left, plan, pool, told)
        others = prepared if right is left else prepare(right, plan, pool, told)
        largest = largest_sizes((prepared, others))
        cells = choose_cells(prepared.first, others.first, plan.first, threshold, plan.cost, pool)
        order, begins = (input_order(right.count), None) if cells is None else cells.order()
        if begins is None:
            begins = np.array([0, len(order)])
        two = lay_out(right, others, plan, engine.kernel, order, threshold, largest)
        one = two
        if right is not left:
            one = lay_out(left, prepared, plan, engine.kernel, input_order(left.count), threshold, largest)
        meets = None if cells is None else meeting(cells, one, prepared.first.off, pool)
        del prepared, others
        join = CompiledJoin(engine, one, two, threshold, budget, meets)
        todo = all_work(one, two, begins, meets)
        looks = sum(work.looks for work in todo)
        every = looks if meets is None else sum(work.looks for work in all_work(one, two, begins, None))
        # What is past counts as much as if nothing were pruned; what is ahead is all in the looks.
        begun = preparing / (preparing + plan.pairs * plan.cost)
        done = 0
        for work, part in zip(todo, pool.map(join.run, todo), strict=True):
            found.append(part)
            done += work.looks
            spent(begun + (1 - begun) * done / looks)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return found, 1 - looks / every


def _search(
    left: UnitRows,
    right: UnitRows,
    threshold: float,
    cascade: Cascade,
    total: int,
    budget: Budget,
    threads: int,
    spent: Callable[[float], None],
) -> list[Found]:
    """Run all tasks, in threads where the products are too thin for the BLAS library's own threads."""
    todo = tasks(left.count, right.count, right is left, cascade.steps[0].columns)
    workers = min(threads, len(todo)) if todo[0].height else 1
    found: list[Found] = []
    examined = 0

    def run(task: Task) -> Found:
        return search_task(task, left, right, threshold, cascade.steps, budget)

    pool = ThreadPoolExecutor(workers) if workers > 1 else None
    try:
        for task, part in zip(todo, pool.map(run, todo) if pool else map(run, todo), strict=True):
            found.append(part)
            examined += task.pairs
            spent(examined / total)
    finally:
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)
    return found


def too_many(how_many: str, threshold: float, max_pairs: int) -> InputError:
    """The error of a join with more pairs than allowed; ``how_many`` begins the message."""
    return InputError(
        f"{how_many} pairs reach {threshold:g}, and max_pairs is {max_pairs:,}: raise the threshold, drop "
        "exact copies first (find_duplicates does that), or allow more with max_pairs= (48 bytes of memory each)"
    )


def best_first(found: list[Found], threshold: float, stats: JoinStats) -> NearPairs:
    """The result of a join: highest score first; ties by i, then j, so that no order of work shows in it."""
    i = np.concatenate([part.i for part in found] or [np.empty(0, dtype=np.int64)])
    j = np.concatenate([part.j for part in found] or [np.empty(0, dtype=np.int64)])
    score = np.concatenate([part.score for part in found] or [np.empty(0)])
    order = np.lexsort((j, i, -score))
    return NearPairs(i[order], j[order], score[order], threshold, stats)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
