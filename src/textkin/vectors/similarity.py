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
) -> Floats | float:
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


def cosine_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """Cosine of the angle: a.b / (|a| |b|), from -1 to 1; 0 where a vector is zero. Shapes as in `similarity`."""
    return _cosine(a, b, pairwise)


def dot_product(a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False) -> Floats | float:
    """Sum of products; equals the cosine for unit rows. Shapes as in `similarity`."""
    return _dot(a, b, pairwise)


def euclidean_distance(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """Straight-line distance, 0 for equal vectors; lower is nearer. Shapes as in `similarity`."""
    left, right, shape = _operands(a, b, pairwise)
    if pairwise:
        return shape(np.linalg.norm(left - right, axis=1))
    # |a-b|^2 = |a|^2 + |b|^2 - 2 a.b loses digits for near-equal rows; those are recomputed directly.
    squares_a = np.sum(left * left, axis=1)[:, None]
    squares_b = np.sum(right * right, axis=1)[None, :]
    squared = squares_a + squares_b - 2.0 * (left @ right.T)
    doubtful = squared <= 1e-3 * (squares_a + squares_b)
    np.maximum(squared, 0.0, out=squared)
    distances = np.sqrt(squared)
    rows, columns = np.nonzero(doubtful)
    for start in range(0, len(rows), 65536):
        i, j = rows[start : start + 65536], columns[start : start + 65536]
        distances[i, j] = np.linalg.norm(left[i] - right[j], axis=1)
    return shape(distances)


def manhattan_distance(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """Sum of absolute differences, 0 for equal vectors; lower is nearer. Shapes as in `similarity`."""
    left, right, shape = _operands(a, b, pairwise)
    if pairwise:
        return shape(np.sum(np.abs(left - right), axis=1))
    out = np.empty((len(left), len(right)), dtype=left.dtype)
    step = max(1, _BLOCK // max(1, right.size))
    for start in range(0, len(left), step):
        block = left[start : start + step, None, :] - right[None, :, :]
        out[start : start + step] = np.sum(np.abs(block), axis=2)
    return shape(out)


def euclidean_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """Minus `euclidean_distance`, so that higher is better (as ``euclidean_sim`` of sentence-transformers)."""
    return -euclidean_distance(a, b, pairwise=pairwise)


def manhattan_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """Minus `manhattan_distance`, so that higher is better (as ``manhattan_sim`` of sentence-transformers)."""
    return -manhattan_distance(a, b, pairwise=pairwise)


def angular_similarity(
    a: npt.ArrayLike, b: npt.ArrayLike | None = None, *, pairwise: bool = False
) -> Floats | float:
    """1 - angle / pi: 1 for the same direction, 0.5 for a right angle, 0 for the opposite.

    The formula of Cer et al. 2018, "Universal Sentence Encoder", equation 1. Shapes as in `similarity`.
    """
    cosine = np.asarray(_cosine(a, b, pairwise), dtype=np.float64)
    angular = 1.0 - np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi
    return float(angular) if angular.ndim == 0 else angular


def _cosine(a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool) -> Floats | float:
    return _dot(normalize(a), None if b is None else normalize(b), pairwise)


def _dot(a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool) -> Floats | float:
    left, right, shape = _operands(a, b, pairwise)
    return shape(np.einsum("ij,ij->i", left, right) if pairwise else left @ right.T)


_METRICS: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike | None, bool], Floats | float]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": lambda a, b, pairwise: euclidean_similarity(a, b, pairwise=pairwise),
    "manhattan": lambda a, b, pairwise: manhattan_similarity(a, b, pairwise=pairwise),
    "angular": lambda a, b, pairwise: angular_similarity(a, b, pairwise=pairwise),
}


def _floats(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers, not {array.dtype}")
    if array.ndim not in (1, 2):
        raise InputError(f"{name} must be one vector (d,) or a matrix (n, d), not of shape {array.shape}")
    wide = array.dtype == np.float64 or array.dtype.kind in "iub"
    floats: Floats = array.astype(np.float64 if wide else np.float32, copy=False)
    if not np.isfinite(floats).all():
        row = int(np.argwhere(~np.isfinite(np.atleast_2d(floats)))[0][0])
        raise InputError(f"{name} hold NaN or infinity, first in row {row}; remove or replace that row")
    return floats


def _operands(
    a: npt.ArrayLike, b: npt.ArrayLike | None, pairwise: bool
) -> tuple[Floats, Floats, Callable[[Floats], Floats | float]]:
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

    def shape(result: Floats) -> Floats | float:
        if flat_left and flat_right:
            return float(result.reshape(-1)[0])
        if pairwise:
            return result
        if flat_left:
            return np.asarray(result[0])
        return np.asarray(result[:, 0]) if flat_right else result

    return np.atleast_2d(left), np.atleast_2d(right), shape
