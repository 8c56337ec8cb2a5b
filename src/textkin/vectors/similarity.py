"""The metrics: cosine, dot, euclidean, manhattan and angular, pairwise or all against all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError

Metric: TypeAlias = Literal["cosine", "dot", "euclidean", "manhattan", "angular"]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
_BLOCK = 1 << 24
"""Numbers that an all-against-all difference may hold at a time (manhattan)."""


def normalize(vectors: npt.ArrayLike) -> Floats:
    """Scale each row (or the one vector) to length 1; a zero row stays zero.

    Returns:
        float32 for float32 (and smaller) input, float64 for float64.
    """
    rows = _floats(vectors, "vectors")
    # Scaled by the largest entry first, so that very long and very short rows neither overflow nor vanish.
    peak = np.max(np.abs(rows), axis=-1, keepdims=True, initial=0.0)
    scaled = rows / np.where(peak > 0, peak, 1)
    length = np.sqrt(np.sum(scaled * scaled, axis=-1, keepdims=True))
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=rows.dtype)


def similarity(
    a: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    metric: Metric = "cosine",
    *,
    pairwise: bool = False,
) -> Floats | Any:
    """Similarity by name; higher is always better.

    Args:
        a: ``(d,)`` or ``(n, d)``.
        b: ``(d,)`` or ``(m, d)``; None compares ``a`` with itself.
        metric: ``cosine``, ``dot``, ``euclidean`` and ``manhattan`` (minus the distance), or ``angular``
            (1 - angle / pi).
        pairwise: row i of ``a`` with row i of ``b`` only.

    Returns:
        A float for two vectors; ``(n,)`` for a matrix with a vector or pairwise; else ``(n, m)``.

    Raises:
        InputError: an unknown metric, NaN or infinity, or shapes that don't fit.
    """
    function = _METRICS.get(metric)
    if function is None:
        raise InputError(f"unknown metric {metric!r}; choose one of: {', '.join(_METRICS)}")
    return function(a, b, pairwise)


def cosine_similarity(a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False) -> Floats | Any:
    """Cosine of the angle: a.b / (|a| |b|), from -1 to 1; 0 where a vector is zero. Shapes as in `similarity`."""
    return _cosine(a, b, pairwise)


def dot_product(a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False) -> Floats | Any:
    """Sum of products; equals the cosine for unit rows. Shapes as in `similarity`."""
    return _dot(a, b, pairwise)


def euclidean_distance(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | Any:
    """Straight-line distance, 0 for equal vectors; lower is nearer. Shapes as in `similarity`."""
    left, right, shape = _operands(a, b, pairwise)
    # Divided by the power of two below the largest entry, so that no square overflows and no digit is lost.
    peak = max(np.max(np.abs(left), initial=0.0), np.max(np.abs(right), initial=0.0))
    scale = np.ldexp(np.ones_like(peak), np.frexp(peak)[1] - 1) if peak > 0 else np.ones_like(peak)
    left, right = left / scale, right / scale
    if pairwise:
        return shape(_times(_lengths(left - right), scale))
    # |a-b|^2 = |a|^2 + |b|^2 - 2 a.b loses digits for near-equal rows; those are recomputed directly.
    squares_a = np.sum(left * left, axis=1)[:, None]
    squares_b = np.sum(right * right, axis=1)[None, :]
    squared = squares_a + squares_b - 2.0 * (left @ right.T)
    doubtful = squared <= 1e-2 * (squares_a + squares_b)
    np.maximum(squared, 0.0, out=squared)
    distances = np.sqrt(squared)
    rows, columns = np.nonzero(doubtful)
    step = max(1, _BLOCK // max(1, left.shape[1]))
    for start in range(0, len(rows), step):
        i, j = rows[start : start + step], columns[start : start + step]
        distances[i, j] = _lengths(left[i] - right[j])
    return shape(_times(distances, scale))


def manhattan_distance(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | Any:
    """Sum of absolute differences, 0 for equal vectors; lower is nearer. Shapes as in `similarity`."""
    left, right, shape = _operands(a, b, pairwise)
    if pairwise:
        return shape(np.sum(np.abs(left - right), axis=1))
    out = np.empty((len(left), len(right)), dtype=np.result_type(left, right))
    step = max(1, _BLOCK // max(1, right.size))
    for start in range(0, len(left), step):
        block = left[start : start + step, None, :] - right[None, :, :]
        out[start : start + step] = np.sum(np.abs(block), axis=2)
    return shape(out)


def euclidean_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | Any:
    """Minus `euclidean_distance`, so that higher is better (as ``euclidean_sim`` of sentence-transformers)."""
    return 0.0 - euclidean_distance(a, b, pairwise=pairwise)


def manhattan_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | Any:
    """Minus `manhattan_distance`, so that higher is better (as ``manhattan_sim`` of sentence-transformers)."""
    return 0.0 - manhattan_distance(a, b, pairwise=pairwise)


def angular_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | Any:
    """1 - angle / pi: 1 for the same direction, 0.5 for a right angle, 0 for the opposite.

    The formula of Cer et al. 2018, "Universal Sentence Encoder", equation 1. Shapes as in `similarity`.
    """
    # In float64: the angle of a float32 cosine is off by 0.0003 for equal rows.
    wide_a = _floats(a, "a").astype(np.float64)
    wide_b = None if b is None else _floats(b, "b").astype(np.float64)
    angular = 1.0 - np.arccos(_cosine(wide_a, wide_b, pairwise)) / np.pi
    return float(angular) if angular.ndim == 0 else angular


def _cosine(a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool) -> Floats | Any:
    cosine = np.clip(_dot(normalize(a), None if b is None else normalize(b), pairwise), -1.0, 1.0)
    return float(cosine) if np.ndim(cosine) == 0 else np.asarray(cosine)


def _dot(a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool) -> Floats | Any:
    left, right, shape = _operands(a, b, pairwise)
    return shape(np.einsum("ij,ij->i", left, right) if pairwise else left @ right.T)


_METRICS: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike | None, bool], Floats | Any]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": lambda a, b, pairwise: euclidean_similarity(a, b, pairwise=pairwise),
    "manhattan": lambda a, b, pairwise: manhattan_similarity(a, b, pairwise=pairwise),
    "angular": lambda a, b, pairwise: angular_similarity(a, b, pairwise=pairwise),
}


def _floats(values: npt.ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a vector or a matrix, but the rows differ in length") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers, not {array.dtype}")
    if array.ndim not in (1, 2):
        raise InputError(f"{name} must be one vector (d,) or a matrix (n, d), not of shape {array.shape}")
    wide = array.dtype.kind in "iub" or array.dtype.itemsize >= 8
    floats: Floats = array.astype(np.float64 if wide else np.float32, copy=False)
    if not np.isfinite(floats).all():
        row = int(np.argwhere(~np.isfinite(np.atleast_2d(floats)))[0][0])
        raise InputError(f"{name} hold NaN or infinity, first in row {row}; remove or replace that row")
    return floats


def _lengths(rows: Floats) -> Floats:
    """Length of each row; its largest entry first becomes 1, so that no square vanishes."""
    peaks = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    scaled = rows / np.where(peaks > 0, peaks, 1)
    return np.asarray(peaks[:, 0] * np.sqrt(np.sum(scaled * scaled, axis=1)))


def _times(distances: Floats, scale: np.floating[Any]) -> Floats:
    with np.errstate(over="ignore"):
        # A distance beyond the largest number of its type is infinite.
        return np.asarray(distances * scale)


def _operands(
    a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool
) -> tuple[Floats, Floats, Callable[[Floats], Floats | Any]]:
    """Both sides as matrices of one dtype, and what turns the result into the promised shape."""
    left = _floats(a, "a")
    right = left if b is None else _floats(b, "b")
    if left.shape[-1] != right.shape[-1]:
        raise InputError(
            f"a has {left.shape[-1]} dimensions and b has {right.shape[-1]}: they come from different models"
        )
    if pairwise and left.shape != right.shape:
        raise InputError(f"pairwise needs equal shapes, not {left.shape} and {right.shape}")
    flat_left, flat_right = left.ndim == 1, right.ndim == 1

    def shape(result: Floats) -> Floats | Any:
        if flat_left and flat_right:
            return float(result.reshape(-1)[0])
        if pairwise:
            return result
        if flat_left:
            return np.asarray(result[0])
        return np.asarray(result[:, 0]) if flat_right else result

    return np.atleast_2d(left), np.atleast_2d(right), shape
