"""What a vector database must be able to do to become a store: keep points, and name the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from textkin.types import Scalar, Vector
from textkin.where.conditions import Compare, Condition, In

KIND: Final = "textkin_kind"
"""Field of every point: ``record`` (of one passage), ``whole`` (a record of several) or ``passage`` (of such)."""
SOURCE: Final = "textkin_source"
"""Field of a record's point: its source, where it has one."""
PAYLOAD: Final = "textkin"
"""Name under which a database keeps a point's payload."""
PREFIX: Final = "textkin"
"""Fields that begin so are ours; metadata of such names are kept in the payload only."""
HEADS: Final = In(KIND, ("record", "whole"))
"""One point a record: the one that holds its text."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One row of a vector database.

    Attributes:
        key: a UUID that follows from the record's id and the passage's number.
        text: the record's text, or the passage's.
        payload: JSON; everything that must come back exactly.
        fields: what the database may filter by: `KIND`, `SOURCE`, and those metadata that it can hold natively.
            They only help to find: whether a record satisfies a filter is decided on the payload.
        vector: unit row; empty where it was not asked for.
    """

    key: str
    text: str
    payload: str
    fields: Mapping[str, Scalar]
    vector: Vector


class Points(Protocol):
    """One collection of a vector database. Errors are textkin's; any thread may call."""

    @property
    def url(self) -> str:
        """How a user names it; without secrets."""
        ...

    @property
    def exact(self) -> bool:
        """Whether `nearest` compares every vector."""
        ...

    @property
    def most(self) -> int:
        """The most points that `nearest` can return."""
        ...

    def read_header(self) -> str | None:
        """What `write_header` was given; None in a new place."""
        ...

    def write_header(self, text: str, dimensions: int) -> None:
        """Keep a text of up to a megabyte beside the points; make the collection, or make it anew for
        ``dimensions`` when it holds other vectors (it holds no point then)."""
        ...

    def check(self, points: Sequence[Point]) -> None:
        """Refuse points that the database can't keep, naming the record, before anything is written.

        Raises:
            InputError: such a one is among them.
        """
        ...

    def put(self, points: Sequence[Point]) -> None:
        """Insert or replace; returns when `fetch` and `nearest` see them. Any number of points."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Delete; unknown keys are ignored. Returns when nobody sees them any more."""
        ...

    def fetch(self, keys: Sequence[str], *, vectors: bool) -> dict[str, Point]:
        """The points with these keys; unknown ones are left out. Any number of keys."""
        ...

    def pages(self, where: Condition, *, vectors: bool) -> Iterator[list[Point]]:
        """All points that satisfy at least ``where`` (a condition that `can` says yes to), in any order."""
        ...

    def count(self, where: Condition) -> int:
        """How many points `pages` would give."""
        ...

    def nearest(self, query: Vector, count: int, where: Condition | None) -> list[Point]:
        """The ``count`` points of the highest inner product, with their vectors, among those that satisfy
        ``where`` (all of whose leaves `can` accepted), or a superset of those."""
        ...

    def can(self, leaf: Compare | In) -> bool:
        """Whether the database can filter by this: what it leaves out must certainly not satisfy the leaf."""
        ...

    def writing(self, what: str) -> AbstractContextManager[None]:
        """As `Store.writing`."""
        ...

    def close(self) -> None:
        """As `Store.close`."""
        ...


NO_VECTOR: Final[Vector] = np.zeros(0, dtype=np.float32)
