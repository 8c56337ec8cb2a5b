"""What is read from another tool's collection, and what is known about it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from textkin.types import Metadata

_NAMED: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One record as the other tool keeps it.

    Attributes:
        id: unique there; not empty.
        text: None where there is none.
        metadata: flat.
        vector: ``(dimensions,)`` numbers of any length and type; None where there is none.
        problem: why it can't be a record, whatever else is in it; empty for a good one.
    """

    id: str
    text: str | None
    metadata: Metadata
    vector: npt.NDArray[np.floating[Any]] | None
    problem: str = ""


@runtime_checkable
class Reader(Protocol):
    """Another tool's collection. Errors are textkin's; nothing is ever written there."""

    @property
    def url(self) -> str:
        """How a user names it; without secrets."""
        ...

    @property
    def unread(self) -> tuple[str, ...]:
        """Columns that can't be metadata, each with its type; known after `batches`."""
        ...

    def batches(self) -> Iterator[list[Row]]:
        """All rows of one state, in the order of insertion where the tool keeps one."""
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is fine."""
        ...


@dataclass(slots=True)
class Noted:
    """Records that have something in common: how many, and the first of them by name."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(name)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {more:,} more" if more else "")


@dataclass(frozen=True, slots=True)
class ForeignFacts:
    """What reading another tool's collection, and comparing the named model with it, has shown.

    Attributes:
        compared: records whose text was embedded again.
        least: lowest cosine between a stored vector and the new one.
        median: of these cosines.
        differing: records among them whose cosine is too low, each with it: made by another model, or their text
            has changed since.
        cut: how many of them are longer than the model reads: their vectors stand for their beginning only.
        left_out: records without a usable vector, each with the reason; they are in no answer.
        without_text: records whose text is missing; they are read as empty texts.
        unread: columns that can't be metadata, with their types.
    """

    compared: int
    least: float
    median: float
    differing: tuple[str, ...]
    cut: int
    left_out: Noted
    without_text: Noted
    unread: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """What a user must know before trusting an answer; empty when all is well."""
        if self.left_out.count:
            yield f"{self.left_out.count:,} records have no usable vector and were left out: {self.left_out}"
        if self.without_text.count:
            yield f"{self.without_text.count:,} records have no text: {self.without_text}"
        if self.differing:
            yield (
                f"{len(self.differing)} of {self.compared} records that were embedded again differ from their "
                f"stored vectors: {', '.join(self.differing)}; the text has changed, or another model made it"
            )
        if self.unread:
            yield f"columns that were not read: {', '.join(self.unread)}"
