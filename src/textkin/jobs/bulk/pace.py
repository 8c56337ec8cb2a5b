"""How large the pieces are in which a job's texts go to its model, and how many are on their way."""

from __future__ import annotations

from typing import Final

_SECONDS: Final = 2.0
_LEAST: Final = 16
_FIRST: Final = 64


class Pace:
    """Pieces of about two seconds' work: what a kill loses, and what a stop waits for.

    Args:
        threads: that embed at the same time.
        most: texts of a piece.
        fixed: whether each piece has that many, as where the model keeps its answers one by one.
    """

    def __init__(self, threads: int, most: int = 512, *, fixed: bool = False) -> None:
        self.threads = threads
        self.size = most if fixed else min(_FIRST, most)
        self.most = most
        self._fixed = fixed

    @property
    def in_flight(self) -> int:
        """Pieces that are given out at a time: one waits for each thread, so that none waits for its next."""
        return 2 * self.threads

    def took(self, texts: int, embedded: int, seconds: float) -> None:
        """Learn from a piece that came back, time in the queue included."""
        if self._fixed or 2 * embedded < texts:
            return  # what the ledger knew says nothing about the model
        fitting = int(texts * 2 * _SECONDS / max(seconds, 1e-3))
        self.size = min(self.most, max(_LEAST, min(fitting, 2 * self.size)))
