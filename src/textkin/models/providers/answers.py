"""What every provider's answer must be before its vectors are believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textkin.models.providers.sending import PassingError
from textkin.types import Matrix
from textkin.vectors.similarity import normalize


def checked_rows(vectors: Sequence[Any], count: int, width: int) -> Matrix:
    """The vectors of an answer as unit rows.

    Args:
        vectors: of the answer, in the order of the request.
        count: texts that were sent.
        width: dimensions that are expected.

    Raises:
        PassingError: too few or too many vectors, of another length, NaN or zero.
    """
    if len(vectors) != count:
        raise PassingError(f"an answer with {len(vectors)} vectors for {count} texts")
    rows = np.zeros((count, width), dtype=np.float64)
    for place, vector in enumerate(vectors):
        try:
            row = np.asarray(vector, dtype=np.float64)
        except (TypeError, ValueError):
            raise PassingError("something else than numbers in a vector", of_content=True) from None
        if row.shape != (width,):
            raise PassingError(f"a vector of {row.size} numbers where {width} were expected")
        if not np.isfinite(row).all() or not row.any():
            raise PassingError("a vector that is zero or holds NaN or infinity", of_content=True)
        rows[place] = row
    return np.ascontiguousarray(normalize(rows), dtype=np.float32)


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``retry-after-ms`` or ``retry-after`` ask to wait; None where neither says."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return seconds
    return None
