"""How the pairs of a report were found, and the plain way to find them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from textkin.duplicates.join import JoinStats, near_pairs
from textkin.duplicates.unit_rows import Doubles, Numbers
from textkin.types import Progress


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall of an approximate search, measured on rows drawn at random.

    Attributes:
        found: pairs of these rows that the approximate search found.
        true: pairs of these rows that the exact join found.
        rows: how many rows were drawn.
        low: lower end of the 95 % interval (Wilson); 0 when there was no true pair.
        high: upper end; 1 when there was no true pair.
    """

    found: int
    true: int
    rows: int
    low: float
    high: float

    @property
    def summary(self) -> str:
        """The figure with its interval, for people."""
        if not self.true:
            return f"recall not known: {self.rows:,} random records have no pair at this threshold"
        return (
            f"recall {self.found / self.true:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}): "
            f"{self.found:,} of the {self.true:,} pairs of {self.rows:,} random records were found"
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What was done to find the pairs.

    Attributes:
        how: ``exact``: all with all; ``incremental``: exact too, but only what is new was compared, with all;
            ``approximate``: a search index, with the recall beside it.
        rows: compared: one for each different text and vector.
        new: those that were not remembered from an earlier run.
        compared: pairs that this run looked at.
        joins: figures of the exact joins that it took.
        recall: of an approximate search.
    """

    how: Literal["exact", "incremental", "approximate"]
    rows: int
    new: int
    compared: int
    joins: tuple[JoinStats, ...] = ()
    recall: Recall | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Pairs of rows, each once, in any order, and how they were found."""

    i: Numbers
    j: Numbers
    score: Doubles
    work: Work


Join: TypeAlias = Callable[[npt.NDArray[Any], float, int, "Progress | None"], Joined]
"""Called with (rows, threshold, max_pairs, progress)."""


def exact_join(rows: npt.NDArray[Any], threshold: float, max_pairs: int, progress: Progress | None) -> Joined:
    """All with all."""
    pairs = near_pairs(rows, threshold, max_pairs=max_pairs, progress=progress)
    work = Work("exact", len(rows), len(rows), pairs.stats.pairs, (pairs.stats,))
    return Joined(pairs.i, pairs.j, pairs.score, work)
