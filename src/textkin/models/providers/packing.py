"""Cut texts into requests that keep a provider's limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may hold.

    Attributes:
        texts: at most so many.
        tokens: of all texts together.
    """

    texts: int
    tokens: int


def pack(tokens: Sequence[int], limits: RequestLimits) -> list[range]:
    """Consecutive rows for each request; a text over the limit goes alone.

    Args:
        tokens: of each text.
        limits: of one request.
    """
    packed: list[range] = []
    start = held = 0
    for row, count in enumerate(tokens):
        if row > start and (row - start >= limits.texts or held + count > limits.tokens):
            packed.append(range(start, row))
            start, held = row, 0
        held += count
    if start < len(tokens):
        packed.append(range(start, len(tokens)))
    return packed
