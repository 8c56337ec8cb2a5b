"""Rows of length 1 in float64, made a block at a time, and the score of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError

Numbers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

SCORE_DECIMALS = 12
"""A score is rounded to this many decimals.

Float64 rounding stays below it up to 4,096 dimensions, so equal rows score exactly 1.0, and so do rows that differ
by float32 rounding only (the cosine of two unit rows that lie 1e-7 apart is 1 - 5e-15).
"""
SCORE_SLACK = 1e-12
"""How far a score may lie from the true cosine: its rounding and float64's."""

_SCAN_NUMBERS = 1 << 21
_GATHER_NUMBERS = 1 << 19


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """A matrix whose rows are scaled to length 1 only when they are read.

    Attributes:
        source: ``(n, d)``, as the user gave it (it may be memory-mapped or strided); never written.
        peak: ``(n,)``: what to divide by first, so that very long and very short rows survive; None: not needed.
        length: ``(n,)``: what to divide by next; 1 for a zero row, which stays zero.
        zero: ``(n,)``: which rows are zero.
    """

    source: npt.NDArray[Any]
    peak: Doubles | None
    length: Doubles
    zero: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        return len(self.length)

    @property
    def dimensions(self) -> int:
        return int(self.source.shape[1])

    def part(self, rows: slice) -> UnitRows:
        """These rows as a side of their own; nothing is copied."""
        peak = None if self.peak is None else self.peak[rows]
        return UnitRows(self.source[rows], peak, self.length[rows], self.zero[rows])

    def take(self, rows: slice | Numbers) -> Doubles:
        """These rows, as a new ``(m, d)`` float64 matrix of unit (or zero) rows."""
        block = np.array(self.source[rows], dtype=np.float64, order="C")
        if self.peak is not None:
            block /= self.peak[rows, None]
        block /= self.length[rows, None]
        return block


def unit_rows(vectors: npt.ArrayLike, name: str = "vectors") -> UnitRows:
    """Check a matrix and measure its rows; the matrix itself is not copied.

    Raises:
        InputError: not a matrix of numbers, or NaN or infinity in a row.
    """
    try:
        source = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    except ValueError as error:
        raise InputError(f"{name} must be a matrix (n, d), but its rows differ in length") from error
    if source.ndim != 2:
        raise InputError(f"{name} must be a matrix (n, d), not of shape {source.shape}")
    if source.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers, not {source.dtype}")
    count, dimensions = source.shape
    if count and not dimensions:
        raise InputError(f"{name} have no dimensions: shape {source.shape}")
    # The square of any float32 or integer fits float64; only float64 (and wider) rows need their peak.
    wide = source.dtype.kind == "f" and source.dtype.itemsize >= 8
    peak = np.ones(count) if wide else None
    length = np.ones(count)
    zero = np.zeros(count, dtype=np.bool_)
    step = max(1, _SCAN_NUMBERS // max(1, dimensions))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        block = np.array(source[rows], dtype=np.float64, order="C")
        peaks = np.max(np.abs(block), axis=1)
        if not np.isfinite(peaks).all():
            row = start + int(np.flatnonzero(~np.isfinite(peaks))[0])
            raise InputError(f"{name} hold NaN or infinity, first in row {row}; remove or replace that row")
        zero[rows] = peaks == 0
        if peak is not None:
            peaks[peaks == 0] = 1.0
            peak[rows] = peaks
            block /= peaks[:, None]
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        lengths[zero[rows]] = 1.0
        length[rows] = lengths
    return UnitRows(source, peak, length, zero)


def pair_scores(left: UnitRows, i: Numbers, right: UnitRows, j: Numbers) -> Doubles:
    """Scores of rows ``i`` of ``left`` with rows ``j`` of ``right``, one by one: float64 cosines, rounded."""
    scores = np.empty(len(i))
    step = max(1, _GATHER_NUMBERS // max(1, left.dimensions))
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        scores[part] = np.einsum("ij,ij->i", left.take(i[part]), right.take(j[part]))
    return round_scores(scores)


def round_scores(cosines: Doubles) -> Doubles:
    """Cosines as scores: rounded, and kept within -1 and 1."""
    return np.clip(np.round(cosines, SCORE_DECIMALS), -1.0, 1.0) + 0.0
