"""Exact search: the k records whose best passage has the highest cosine; ties in order of insertion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.stores.local.matrix import PassageMatrix
from textkin.types import Matrix

Integers = npt.NDArray[np.int64]
Found = list[tuple[int, float]]
"""Of one query: rows of the matrix (each its record's best passage) and their cosines in -1 … 1, best first."""

_QUERIES: Final = 256
_SCORES: Final = 1 << 22
"""Scores held at a time."""
_GATHERED: Final = 1 << 24
"""Numbers of the matrix copied at a time."""
_DENSE: Final = 0.5
_LOOKED_AT: Final = 128
"""Values of which only the best is looked at to find a low border."""


def best_records(matrix: PassageMatrix, queries: Matrix, k: int, selected: Integers | None) -> list[Found]:
    """Search a matrix.

    float32 products find every record that can be among the best, rounding included; those few are scored again
    in float64, so that rank and score don't depend on how the products were blocked.

    Args:
        matrix: what to search.
        queries: ``(q, dimensions)`` unit rows.
        k: records a query.
        selected: places in ``matrix.records`` to search, ascending; None searches all.
    """
    answers: list[Found] = []
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        for query, candidates in zip(block, _candidates(matrix, block, k, selected), strict=True):
            answers.append(_ranked(matrix, query, k, candidates))
    return answers


def _candidates(matrix: PassageMatrix, queries: Matrix, k: int, selected: Integers | None) -> list[Integers]:
    """For each query the records that may be among its k best, ascending."""
    # Summing d products of float32 is off by at most d * 2^-24 for unit rows, whatever the order; two scores may
    # differ by twice that before their order is certain.
    margin = np.float32((matrix.rows.shape[1] + 8) * 2.0**-23)
    places = [np.zeros(0, dtype=np.int64) for _ in queries]
    scores = [np.zeros(0, dtype=np.float32) for _ in queries]
    borders = np.full(len(queries), -np.inf, dtype=np.float32)
    for start, block in _record_scores(matrix, queries, selected):
        for query, columns in _above(block, borders, k, margin):
            kept, values = columns + start, block[query, columns]
            if len(places[query]):
                values = np.concatenate((scores[query], values))
                kept = np.concatenate((places[query], kept))
            if len(values) > k:
                borders[query] = _kth_best(values, k) - margin
                good = np.flatnonzero(values >= borders[query])
                kept, values = kept[good], values[good]
            places[query], scores[query] = kept, values
    return places if selected is None else [selected[kept] for kept in places]


def _kth_best(values: npt.NDArray[np.float32], k: int) -> np.float32:
    best: np.float32 = np.partition(values, len(values) - k)[len(values) - k]
    return best


def _low_border(values: npt.NDArray[np.float32], k: int) -> np.float32:
    """A number that k values reach at least: much faster found than the k-th best, and seldom far below it."""
    blocks = len(values) // _LOOKED_AT
    if blocks < 4 * k:
        return _kth_best(values, k) if len(values) > k else np.float32(-np.inf)
    return _kth_best(values[: blocks * _LOOKED_AT].reshape(blocks, _LOOKED_AT).max(axis=1), k)


def _above(
    block: Matrix, borders: npt.NDArray[np.float32], k: int, margin: np.float32
) -> Iterator[tuple[int, Integers]]:
    """The columns of each row that reach its border; rows without any are left out."""
    if np.isneginf(borders).all():
        for row, values in enumerate(block):
            yield row, np.flatnonzero(values >= _low_border(values, k) - margin)
        return
    rows, columns = np.nonzero(block >= borders[:, None])
    edges = np.searchsorted(rows, np.arange(len(block) + 1))
    for row in np.flatnonzero(np.diff(edges)).tolist():
        yield row, columns[edges[row] : edges[row + 1]]


def _record_scores(
    matrix: PassageMatrix, queries: Matrix, selected: Integers | None
) -> Iterator[tuple[int, Matrix]]:
    """Blocks of records: the place of the first (in ``selected``), and each query's best score in each record."""
    most = _SCORES // len(queries)
    if selected is None:
        ends = matrix.firsts[1:]
    else:
        most = min(most, max(1, _GATHERED // matrix.rows.shape[1]))
        ends = np.cumsum(matrix.firsts[selected + 1] - matrix.firsts[selected])
    start = 0
    while start < len(ends):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        count = int(ends[stop - 1]) - done
        if selected is None:
            scores = _product(queries, matrix.rows[done : done + count])
        else:
            scores = _selected_scores(matrix, queries, selected[start:stop], count)
        if count != stop - start:
            starts = np.concatenate(([0], ends[start : stop - 1] - done))
            scores = np.maximum.reduceat(scores, starts, axis=1)
        yield start, scores
        start = stop


def _selected_scores(matrix: PassageMatrix, queries: Matrix, records: Integers, count: int) -> Matrix:
    """Scores ``(q, count)`` of all passages of these records."""
    low, high = int(matrix.firsts[records[0]]), int(matrix.firsts[records[-1] + 1])
    if count == high - low:
        return _product(queries, matrix.rows[low:high])
    rows = _rows_of(matrix, records)
    if count >= _DENSE * (high - low):
        return _product(queries, matrix.rows[low:high])[:, rows - low]
    return _product(queries, matrix.rows[rows])


def _product(queries: Matrix, rows: Matrix) -> Matrix:
    if len(queries) == 1:
        single: Matrix = rows @ queries[0]
        return single[None, :]
    scores: Matrix = queries @ rows.T
    return scores


def _rows_of(matrix: PassageMatrix, records: Integers) -> Integers:
    """All rows of these records, record by record."""
    lengths = matrix.firsts[records + 1] - matrix.firsts[records]
    ends = np.cumsum(lengths)
    rows: Integers = np.arange(ends[-1]) + np.repeat(matrix.firsts[records] - ends + lengths, lengths)
    return rows


def _ranked(matrix: PassageMatrix, query: Matrix, k: int, records: Integers) -> Found:
    """Score the candidates in float64 and keep the k best."""
    if not len(records):
        return []
    wide = query.astype(np.float64)
    lengths = matrix.firsts[records + 1] - matrix.firsts[records]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    rows = _rows_of(matrix, records)
    step = max(1, _SCORES // len(query))
    # Products of float32 are exact in float64, and each row is summed alike wherever it stands: equal rows tie.
    scores = np.concatenate(
        [(matrix.rows[rows[at : at + step]] * wide).sum(axis=1) for at in range(0, len(rows), step)]
    )
    best = np.maximum.reduceat(scores, starts)
    order = np.lexsort((records, -best))[:k]
    found: Found = []
    for place in order:
        begin, end = starts[place], ends[place]
        row = begin + int(np.argmax(scores[begin:end]))
        # Rows are of unit length only as far as float32 goes (and a bit further, as stored).
        found.append((int(rows[row]), min(1.0, max(-1.0, float(scores[row])))))
    return found
