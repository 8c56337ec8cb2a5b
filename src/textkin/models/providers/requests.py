"""The words between a provider's own call and what sends it: errors that pass, answers, patience."""

from __future__ import annotations

from dataclasses import dataclass

from textkin.errors import BudgetError, ModelError
from textkin.types import Matrix


class PassingError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: to be shown; holds no secret.
        wait: seconds that the provider asks to wait; None: not said.
        billed: tokens that the request was charged all the same; None: not known, so all of it may be.
        crowded: whether the provider has too many requests, so that the others had better wait too.
        of_content: whether one of the texts may be the cause: some servers answer one that is too long with
            HTTP 500, others with a vector of zeros.
        unreached: whether nobody was there to take the request.
    """

    def __init__(
        self,
        reason: str,
        wait: float | None = None,
        billed: int | None = None,
        *,
        crowded: bool = False,
        of_content: bool = False,
        unreached: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.billed = billed
        self.crowded = crowded
        self.of_content = of_content
        self.unreached = unreached


class RefusedError(Exception):
    """The provider refuses what is in the request; sending it again is useless."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """The good answer to one request.

    Attributes:
        vectors: ``(n, dimensions)`` rows in the texts' order.
        billed: tokens that the provider says it charged; None: it doesn't say.
    """

    vectors: Matrix
    billed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What came back for some rows.

    Attributes:
        rows: consecutive; empty where this only says that the work ended.
        vectors: ``(len(rows), dimensions)`` float32; None where ``failed`` or ``stopped`` says why.
        failed: why the one row has no vector.
        stopped: what ended the work early.
        billed: tokens that were charged since the part before, as reported, or as counted where nothing was.
    """

    rows: range
    vectors: Matrix | None = None
    failed: str | None = None
    stopped: ModelError | BudgetError | None = None
    billed: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try.

    Attributes:
        tries: of one request, the first included. "Too many requests" counts only where no other request was
            answered since the last try.
        first_wait: seconds before the second try where the provider names none; doubles, up to a minute.
        in_flight: requests at a time.
        least: texts of a request below which none is cut further just to have more in flight.
        most: texts of a request; None: the provider's limit.
        longest_wait: seconds; a provider that asks to wait longer ends the work.
    """

    tries: int = 8
    first_wait: float = 0.5
    in_flight: int = 8
    least: int = 64
    most: int | None = None
    longest_wait: float = 600.0
