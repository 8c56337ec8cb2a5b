"""The thin-product bound: a few columns a row whose product is never below the cosine.

Let ``u`` and ``v`` be unit rows and Q have orthonormal columns. Split each row into its part in the span of Q
and the rest; by Cauchy-Schwarz the product of the rests is at most the product of their lengths, so ::

    u.v <= (uQ).(vQ) + r(u) r(v),    r(u) = sqrt(1 - |uQ|^2)

The right side is one dot product of the k + 1 numbers ``(uQ, r(u))``. It holds for every Q; principal axes make
it tight, so they may come from a sample. Rounding is bounded, not guessed. Write e64 = 2^-53, e32 = 2^-24, and
g(m, e) = m e / (1 - m e), the bound of Higham 2002, section 3.1, for a dot product of m terms summed in any
order, with or without fused multiply-add:

1. Q is only nearly orthonormal: with D = the Frobenius norm of Q'Q - I, an orthonormal matrix lies within D.
   Scaling a row to length 1 and multiplying it by Q in float64 errs by at most sqrt(k + 1) g(2 d + 8, e64).
   Together E: the computed columns lie within E of exact ones, their products within 2 E + E^2 <= 3 E, and
   1 - |uQ|^2 within 3 E + g(k + 2, e64), which is added before the square root: r is never too small.
2. Storing the k columns as float32 errs by at most e32 each, relatively: 2 e32 + e32^2 in the product, since
   |uQ| <= 1. r is rounded up.
3. The float32 product of k + 1 terms errs by at most g(k + 1, e32) times the lengths of both thin rows, 1.
4. A score is itself rounded: `SCORE_SLACK`.

`margin` adds these up, with 0.1 % on top for products of the small terms, for the inflated r and for numbers
below float32's normal range. It takes for granted that the BLAS library multiplies float32 as float32 (no TF32 or
bfloat16 shortcut).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textkin.duplicates.unit_rows import SCORE_SLACK, Doubles, UnitRows
from textkin.types import Matrix

_SAMPLE_ROWS = 1024
_BLOCK_NUMBERS = 1 << 21
_EPS64 = 2.0**-53
_EPS32 = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """Orthonormal directions, the one with most of the rows' length first.

    Attributes:
        columns: ``(d, k)`` float64.
        error: e of the module's docstring.
    """

    columns: Doubles
    error: float

    @property
    def count(self) -> int:
        return int(self.columns.shape[1])


def principal_axes(rows: UnitRows, count: int) -> Axes:
    """The first ``count`` principal axes (not centred) of an even sample of the rows.

    A poor sample makes the bound looser, never wrong.
    """
    dimensions = rows.dimensions
    count = min(count, dimensions)
    picked = np.linspace(0, rows.count - 1, min(rows.count, _SAMPLE_ROWS)).astype(np.int64)
    sample = rows.take(picked)
    # Eigenvectors of the smaller of the two Gram matrices.
    if count <= len(sample) < dimensions:
        turn = np.linalg.eigh(sample @ sample.T)[1][:, ::-1]
        columns = np.linalg.qr(sample.T @ turn[:, :count])[0]
    else:
        columns = np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :count]
    columns = np.ascontiguousarray(columns)
    defect = float(np.linalg.norm(columns.T @ columns - np.eye(count))) + count * dot_error(dimensions, _EPS64)
    return Axes(columns, defect + np.sqrt(count + 1) * dot_error(2 * dimensions + 8, _EPS64))


def thin_rows(rows: UnitRows, axes: Axes, counts: tuple[int, ...]) -> tuple[Matrix, ...]:
    """For each k of ``counts`` the ``(n, k + 1)`` float32 matrix whose products bound the cosines.

    A zero row stays zero, so its bound is 0, its cosine.
    """
    matrices = tuple(np.empty((rows.count, k + 1), dtype=np.float32) for k in counts)
    step = max(1, _BLOCK_NUMBERS // rows.dimensions)
    for start in range(0, rows.count, step):
        block = slice(start, min(start + step, rows.count))
        turned = rows.take(block) @ axes.columns[:, : max(counts)]
        for k, matrix in zip(counts, matrices, strict=True):
            matrix[block, :k] = turned[:, :k]
            matrix[block, k] = _rest(turned[:, :k], axes, rows.zero[block])
    return matrices


def whole_rows(rows: UnitRows) -> Matrix:
    """All columns as float32: the last resort, where thin rows would discard too little."""
    matrix = np.empty((rows.count, rows.dimensions), dtype=np.float32)
    step = max(1, _BLOCK_NUMBERS // rows.dimensions)
    for start in range(0, rows.count, step):
        block = slice(start, min(start + step, rows.count))
        matrix[block] = rows.take(block)
    return matrix


def margin(columns: int, axes: Axes | None, dimensions: int) -> float:
    """How far a float32 product of thin (or whole: ``axes`` None) rows may lie below the score of the pair."""
    error = axes.error if axes is not None else dot_error(2 * dimensions + 8, _EPS64)
    return 1.001 * (dot_error(columns, _EPS32) + 2 * _EPS32 + _EPS32**2 + 3 * error) + SCORE_SLACK


def _rest(turned: Doubles, axes: Axes, zero: np.typing.NDArray[np.bool_]) -> Matrix:
    known = np.einsum("ij,ij->i", turned, turned)
    slack = 3 * axes.error + dot_error(turned.shape[1] + 2, _EPS64)
    rest = np.nextafter(np.sqrt(np.maximum(1.0 - known, 0.0) + slack).astype(np.float32), np.float32(2))
    rest[zero] = 0.0
    return np.asarray(rest, dtype=np.float32)


def dot_error(terms: int, epsilon: float) -> float:
    """Relative to the lengths: how far a product of this many terms may be off, summed in any order."""
    return terms * epsilon / (1.0 - terms * epsilon)
