"""Odd ones out: records that have nothing near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textkin.errors import InputError
from textkin.search.neighbours import nearest_neighbours
from textkin.types import Matrix, Progress


@dataclass(frozen=True, slots=True)
class Outlier:
    """One record that stands apart.

    Attributes:
        id: the record's.
        score: 1 minus the mean cosine with its nearest neighbours: 0 in a crowd of copies, near 1 alone.
        text: the record's.
        neighbours: the nearest records and their cosines, best first: the reason.
    """

    id: str
    score: float
    text: str
    neighbours: tuple[tuple[str, float], ...]


def find_outliers(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: Matrix,
    k: int = 10,
    neighbours: int = 5,
    progress: Progress | None = None,
) -> list[Outlier]:
    """The ``k`` records farthest from their nearest neighbours, the oddest first; ties in the order given.

    The score is the mean distance to the k nearest neighbours (Angiulli and Pizzuti 2002, "Fast outlier
    detection in high dimensional spaces"), with 1 - cosine as the distance. Exact.

    Args:
        ids: one a row.
        texts: one a row.
        vectors: ``(n, dimensions)`` unit rows.
        k: how many outliers.
        neighbours: how many neighbours count.
        progress: called with (rows done, rows in all).

    Raises:
        InputError: fewer than two records, or a number under 1.
    """
    if k < 1 or neighbours < 1:
        raise InputError(f"k and neighbours must be at least 1, not {k} and {neighbours}")
    if len(ids) < 2:
        raise InputError(f"outliers need at least two records to compare, here are {len(ids)}")
    rows, scores = nearest_neighbours(vectors, neighbours, progress)
    odd = 1.0 - scores.mean(axis=1, dtype=np.float64)
    order = np.argsort(-odd, kind="stable")[:k]
    return [
        Outlier(
            id=ids[row],
            score=float(odd[row]),
            text=texts[row],
            neighbours=tuple(
                (ids[other], float(score)) for other, score in zip(rows[row], scores[row], strict=True)
            ),
        )
        for row in order
    ]
