"""What fewer bytes cost: recall on the user's own vectors, measured before any are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError
from textkin.types import Matrix
from textkin.vectors.proportion import wilson_interval
from textkin.vectors.quantize import (
    Kind,
    Stored,
    bytes_per_vector,
    check_dimensions,
    dequantize,
    error_sentence,
    quantize,
    signs,
    truncate,
)
from textkin.vectors.top_k import top_k

AGAIN: Final = 4
"""So many times ``k`` candidates are scored again by the full vectors."""
_SAME: Final = 1e-6
"""Scores this close are one: which of two such vectors comes back is no miss."""
_SCORES: Final = 1 << 24
_ROWS: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Share:
    """A share that was found on a sample of queries.

    Attributes:
        value: 0 to 1.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """As JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        # Never better than it is: 1.000 is all of them.
        value, low = (f"{math.floor(number * 1000 + 1e-9) / 1000:.3f}" for number in (self.value, self.low))
        return f"{value} ({low} to {math.ceil(self.high * 1000 - 1e-9) / 1000:.3f})"


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How well stored vectors answer, beside exact search among the full float32 ones.

    Attributes:
        kind: as `textkin.vectors.quantize.quantize` knows it.
        dimensions: stored, of ``full`` that the model makes.
        full: dimensions of the model's vectors.
        k: neighbours asked for.
        vectors: searched, all of them.
        queries: sampled from them.
        recall: with the stored vectors alone.
        rescored: when the best ``AGAIN * k`` of them are ordered by the full vectors, for who keeps both; None
            where nothing is lost that it could bring back.
        smaller: how many times fewer bytes than full float32 vectors.
        error: what storing does to the numbers, in words.
    """

    kind: Kind
    dimensions: int
    full: int
    k: int
    vectors: int
    queries: int
    recall: Share
    rescored: Share | None
    smaller: float
    error: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what the manifest keeps."""
        return {
            "error": self.error,
            f"recall_at_{self.k}": self.recall.to_dict(),
            f"recall_at_{self.k}_rescored": None if self.rescored is None else self.rescored.to_dict(),
            "vectors": self.vectors,
            "queries": self.queries,
            "smaller": self.smaller,
        }

    def __str__(self) -> str:
        cut = f" at {self.dimensions} of {self.full} dimensions" if self.dimensions != self.full else ""
        best = min(AGAIN * self.k, self.vectors - 1)
        again = (
            ""
            if self.rescored is None
            else f"; {self.rescored} when the best {best} are scored again by the full vectors"
        )
        return (
            f"{self.kind}{cut}: {self.smaller:.3g}x smaller, recall@{self.k} {self.recall} on {self.vectors:,} of "
            f"your vectors, {self.queries:,} queries{again}"
        )


def measure(
    vectors: Matrix,
    kind: Kind,
    dimensions: int | None = None,
    *,
    k: int = 10,
    queries: int = 200,
    seed: int = 0,
) -> Fidelity:
    """Search among the vectors as they will be stored, and compare with exact search among them as they are.

    Queries are some of the vectors, each left out of its own answers. A neighbour counts as found when its
    float32 score reaches that of the k-th true one less 1e-6, so that of equal vectors any will do. A query stays
    as the model gives it, cut to ``dimensions``; for ``binary`` it is signs too, compared by Hamming distance. The
    interval is Wilson's for as many independent neighbours as those found are worth: neighbours of one query are
    missed together (Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
    positive counts").

    Args:
        vectors: ``(n, d)`` float32 unit rows, a sample of the user's own; zero rows are left out.
        kind: how numbers are stored.
        dimensions: coordinates that stay; None: all.
        k: neighbours of each query.
        queries: how many; at most all vectors.
        seed: of their choice.

    Returns:
        Recall alone and with rescoring. Memory: what is stored, and 2 x 64 MB of scores.

    Raises:
        InputError: fewer than two vectors, a number under 1, or what `quantize` and `truncate` refuse.
    """
    if k < 1 or queries < 1:
        raise InputError(f"k and queries must be at least 1, not {k} and {queries}")
    rows = vectors if vectors.any(axis=1).all() else vectors[vectors.any(axis=1)]
    if len(rows) < 2:
        raise InputError(f"recall needs at least two vectors that are not zero, not {len(rows)}")
    full = rows.shape[1]
    width = full if dimensions is None else dimensions
    check_dimensions(kind, width)
    short = truncate(rows, width)
    # A vector whose first coordinates are zero can't be stored as signs, nor found by them.
    short = short if kind != "binary" else np.where(short.any(axis=1, keepdims=True), short, np.float32(-1))
    stored = quantize(short, kind)
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), min(queries, len(rows)), replace=False))
    count = min(k, len(rows) - 1)
    lossy = kind in ("int8", "binary") or width != full
    plain, again = np.zeros(len(chosen), dtype=np.int64), np.zeros(len(chosen), dtype=np.int64)
    step = max(1, _SCORES // len(rows))
    for start in range(0, len(chosen), step):
        some = slice(start, min(start + step, len(chosen)))
        asked = chosen[some]
        exact = rows[asked] @ rows.T
        near = _stored_scores(short[asked], stored[asked], stored, kind)
        own = np.arange(len(asked))
        exact[own, asked] = near[own, asked] = -np.inf
        border = -np.partition(-exact, count - 1, axis=1)[:, count - 1] - _SAME
        best, _ = top_k(near, min(AGAIN * k, len(rows) - 1))
        right = np.take_along_axis(exact, best, axis=1) >= border[:, None]
        plain[some] = right[:, :count].sum(axis=1)
        again[some] = np.minimum(right.sum(axis=1), count)
    return Fidelity(
        kind=kind,
        dimensions=width,
        full=full,
        k=k,
        vectors=len(rows),
        queries=len(chosen),
        recall=_share(plain, count),
        rescored=_share(again, count) if lossy else None,
        smaller=bytes_per_vector("float32", full) / bytes_per_vector(kind, width),
        error=error_sentence(kind, width),
    )


def _stored_scores(queries: Matrix, packed: Stored, stored: Stored, kind: Kind) -> Matrix:
    """``(q, n)``: cosines of queries with what is stored; for ``binary`` the dimensions less twice the distance.

    Products of signs are whole numbers that float32 holds, so this is Hamming distance without rounding.
    """
    unpacked = signs if kind == "binary" else None
    left = queries if unpacked is None else unpacked(packed)
    scores = np.empty((len(left), len(stored)), dtype=np.float32)
    for start in range(0, len(stored), _ROWS):
        part = stored[start : start + _ROWS]
        right = dequantize(part, kind) if unpacked is None else unpacked(part)
        np.matmul(left, right.T, out=scores[:, start : start + len(part)])
    return scores


def _share(hits: npt.NDArray[np.int64], each: int) -> Share:
    """The share of hits, ``each`` asked of every query, with an interval that knows they come in groups."""
    total = each * len(hits)
    value = float(hits.sum()) / total
    alone = value * (1 - value) / total
    # The variance of the mean over queries; as of independent neighbours where there is one query only.
    grouped = float(np.var(hits / each, ddof=1)) / len(hits) if len(hits) > 1 else alone
    worth = total / max(1.0, grouped / alone) if alone > 0 else float(total)
    sample = max(1, round(worth))
    low, high = wilson_interval(sample * value, sample)
    return Share(value, min(low, value), max(high, value))
