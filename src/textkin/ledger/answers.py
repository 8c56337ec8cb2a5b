"""What a model answered, checked before anything of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from textkin.errors import BadVectorsError
from textkin.types import Embedded, Matrix
from textkin.vectors.similarity import normalize

_UNIT_TOLERANCE: Final = 1e-6


def rows_of_answer(answer: Embedded, kept: Sequence[int]) -> Embedded:
    """Only those rows of an answer."""
    place_of = {row: place for place, row in enumerate(kept)}
    return Embedded(
        vectors=answer.vectors[list(kept)],
        tokens=answer.tokens[list(kept)],
        truncated=tuple(place_of[row] for row in answer.truncated if row in place_of),
        stopped=answer.stopped,
    )


def checked(answer: Embedded, texts: Sequence[str], name: str, dimensions: int) -> Matrix:
    """A model's answer as unit rows of float32.

    Args:
        answer: of the model.
        texts: how each text is named in the message.
        name: the model's.
        dimensions: what it promised.

    Raises:
        BadVectorsError: naming the first text whose row can't be used.
    """
    given = np.asarray(answer.vectors)
    if not texts and given.shape == (0, dimensions):
        return np.zeros((0, dimensions), dtype=np.float32)
    if given.shape != (len(texts), dimensions) or given.dtype.kind != "f":
        raise BadVectorsError(
            f"{name} was sent {len(texts)} texts, beginning with {texts[0]}, and answered with "
            f"{given.dtype} of shape {given.shape} instead of floats of shape {(len(texts), dimensions)}"
        )
    if len(answer.tokens) != len(texts):
        raise BadVectorsError(f"{name} gave {len(answer.tokens)} token counts for {len(texts)} texts")
    vectors = np.ascontiguousarray(given, dtype=np.float32)
    lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", given, given, dtype=np.float64))
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0) & np.isfinite(vectors).all(axis=1)))
    if len(bad):
        kind = "a zero vector" if lengths[bad[0]] == 0 else "NaN or infinity"
        raise BadVectorsError(
            f"{name} answered {texts[bad[0]]} with {kind}; nothing of this block was kept. "
            "Leave that text out, or use another model"
        )
    off = np.abs(lengths - 1) > _UNIT_TOLERANCE
    if off.any():
        vectors = np.array(vectors)
        vectors[off] = normalize(given[off])
    return vectors
