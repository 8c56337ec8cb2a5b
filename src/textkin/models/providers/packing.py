"""Cut texts into requests that keep a provider's limits."""

from __future__ import annotations

import threading
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


class LearnedSize:
    """How many texts a server takes at once, learned from what it refuses; a model keeps one over its calls.

    Attributes:
        most: texts of a request; None: nothing was learned.
    """

    def __init__(self) -> None:
        self.most: int | None = None
        self._answered = 0
        self._guard = threading.Lock()

    def answered(self, texts: int) -> None:
        """A request of so many texts was answered."""
        with self._guard:
            self._answered = max(self._answered, texts)

    def halved(self, refused: int, half: int) -> None:
        """A request of ``refused`` texts was refused, and then all of them were answered in halves."""
        with self._guard:
            if refused > self._answered:  # else it was not for their number
                self.most = max(self._answered, min(half, self.most or half))
