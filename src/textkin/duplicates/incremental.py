"""The join of a collection that remembers its last one: what is new is compared with all, the rest is known."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.duplicates.join import NearPairs, near_pairs, too_many
from textkin.duplicates.remembered import JoinMemory, Remembered, vector_keys
from textkin.duplicates.unit_rows import Doubles, Numbers
from textkin.duplicates.work import Join, Joined, Work, exact_join
from textkin.errors import InputError
from textkin.types import Progress


def remembering_join(memory: JoinMemory) -> Join:
    """A join that gives what `exact_join` gives, and compares only what is not remembered.

    All is compared again when the threshold is lower than that of the last join, when more rows are new than
    known, or when new rows have too many pairs. New rows are compared at the threshold of the last join, so that
    the memory stays good for it.
    """

    def join(rows: npt.NDArray[Any], threshold: float, max_pairs: int, progress: Progress | None) -> Joined:
        if threshold <= 0 or not len(rows) or rows.dtype != np.float32:
            return exact_join(rows, threshold, max_pairs, progress)
        keys, first, which = np.unique(vector_keys(rows), return_index=True, return_inverse=True)
        known = memory.recall()
        fresh = np.ones(len(keys), dtype=np.bool_)
        if known is not None and known.threshold <= threshold:
            fresh = ~np.isin(keys, known.keys)
        completed = None
        if known is not None and 2 * int(fresh.sum()) <= len(keys):
            # More pairs than allowed at the last threshold may be few enough at this one.
            with suppress(InputError):
                completed = _completed(known, keys, rows, first, fresh, max_pairs, progress)
        if known is None or completed is None:
            # Copied only where rows are alike: the matrix may take most of the memory there is.
            distinct = len(first) == len(rows)
            pairs = near_pairs(
                rows if distinct else rows[first], threshold, max_pairs=max_pairs, progress=progress
            )
            work = Work("exact", len(rows), len(rows), pairs.stats.pairs, (pairs.stats,))
            own = which.ravel() if distinct else np.arange(len(keys))
            every = Remembered(threshold, keys, *_sorted(own[pairs.i], own[pairs.j], pairs.score))
            memory.keep(every)
        else:
            every, joins = completed
            compared = sum(part.stats.pairs for part in joins)
            stats = tuple(part.stats for part in joins)
            work = Work("incremental", len(rows), int(fresh.sum()), compared, stats)
            if fresh.any() or len(keys) < len(known.keys):
                memory.keep(every)
        enough = every.score >= threshold
        return _spread(
            every.i[enough], every.j[enough], every.score[enough], rows, which.ravel(), work, threshold, max_pairs
        )

    return join


def _completed(
    known: Remembered,
    keys: npt.NDArray[np.bytes_],
    rows: npt.NDArray[Any],
    first: Numbers,
    fresh: npt.NDArray[np.bool_],
    max_pairs: int,
    progress: Progress | None,
) -> tuple[Remembered, list[NearPairs]]:
    """All pairs of keys at the known threshold, and the joins that it took; ``first`` is a row of each key."""
    place = np.minimum(np.searchsorted(keys, known.keys), len(keys) - 1)
    moved = np.where(keys[place] == known.keys, place, -1)
    here = (moved[known.i] >= 0) & (moved[known.j] >= 0)
    i, j, score = [moved[known.i[here]]], [moved[known.j[here]]], [known.score[here]]
    new, old = np.flatnonzero(fresh), np.flatnonzero(~fresh)
    joins: list[NearPairs] = []
    if len(new):
        arrived, there = rows[first[new]], rows[first[old]]
        among = near_pairs(arrived, known.threshold, max_pairs=max_pairs)
        across = near_pairs(arrived, known.threshold, other=there, max_pairs=max_pairs, progress=progress)
        i += [new[among.i], new[across.i]]
        j += [new[among.j], old[across.j]]
        score += [among.score, across.score]
        joins = [across, among]
    whole = _sorted(np.concatenate(i), np.concatenate(j), np.concatenate(score))
    return Remembered(known.threshold, keys, *whole), joins


def _spread(
    i: Numbers,
    j: Numbers,
    score: Doubles,
    rows: npt.NDArray[Any],
    which: Numbers,
    work: Work,
    threshold: float,
    max_pairs: int,
) -> Joined:
    """Pairs of distinct vectors as pairs of rows; rows with one vector are pairs too, unless it is zero.

    Raises:
        InputError: more than ``max_pairs`` of them.
    """
    sizes = np.bincount(which)
    alike = np.where(rows[np.unique(which, return_index=True)[1]].any(axis=1), sizes * (sizes - 1) // 2, 0)
    count = int((sizes[i] * sizes[j]).sum() + alike.sum())
    if count > max_pairs:
        raise too_many(f"{count:,}", threshold, max_pairs)
    order = np.argsort(which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(int(which.max()) + 2))
    members = [order[a:b] for a, b in itertools.pairwise(edges)]
    if len(members) == len(rows):
        own = np.concatenate(members)
        return Joined(*_sorted(own[i], own[j], score), work)
    pairs: list[tuple[int, int, float]] = []
    for one, other, value in zip(i.tolist(), j.tolist(), score.tolist(), strict=True):
        pairs += [(int(a), int(b), value) for a in members[one] for b in members[other]]
    for group in members:
        if len(group) > 1 and rows[group[0]].any():
            pairs += [(int(a), int(b), 1.0) for place, a in enumerate(group) for b in group[place + 1 :]]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    return Joined(*_sorted(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]), work)


def _sorted(i: Numbers, j: Numbers, score: Doubles) -> tuple[Numbers, Numbers, Doubles]:
    """Each pair with its lower number first; in the order of `near_pairs`."""
    low, high = np.minimum(i, j), np.maximum(i, j)
    order = np.lexsort((high, low, -score))
    return low[order], high[order], score[order]
