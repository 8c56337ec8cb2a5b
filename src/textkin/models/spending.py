"""What a run may spend, what it has spent, and the one question before each request: may this be sent?

A `Spend` is the current one of a thread while its ``counting`` block runs. Whatever embeds in that block counts on
it, so nothing between a command and a request has to hand it on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from textkin._arguments import number
from textkin._places import models_file
from textkin.errors import BudgetError, InputError
from textkin.models.providers.hosted import price_of

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend at most; nothing is sent that could pass it.

    Attributes:
        max_cost: dollars; None: no limit. It needs a known price.
        max_tokens: tokens sent to the model; None: no limit.
        price: dollars a million tokens, instead of the catalog's.

    Raises:
        InputError: a limit or a price under 0, or no number.
    """

    max_cost: float | None = None
    max_tokens: int | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_cost", "max_tokens", "price"):
            value = getattr(self, name)
            if value is not None and number(value, name) < 0:
                raise InputError(f"{name} must be 0 or more, not {value}")


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent and what was saved.

    Attributes:
        tokens: that the provider says it charged, or that were counted where it doesn't say.
        dollars: for ``tokens``; 0 for a model on this machine, None where no price is known.
        lost_tokens: at most so many more may have been charged, for requests whose answer was lost.
        lost_dollars: for ``lost_tokens``.
        saved_texts: different texts whose vector was in the ledger.
        saved_tokens: their tokens; 0 where the model doesn't tell its tokens.
        saved_dollars: for ``saved_tokens``.
        price: dollars a million tokens.
        model: that others run and that was used; None: none was.
        retries: requests to a provider, or blocks of texts to a worker of a cluster, that were sent again.
    """

    tokens: int
    dollars: float | None
    lost_tokens: int
    lost_dollars: float | None
    saved_texts: int
    saved_tokens: int
    saved_dollars: float | None
    price: float | None
    model: str | None = None
    retries: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Spend:
    """Counts what one run spends, and keeps it under a budget. Any number of threads may share it.

    Tokens of an answer that was lost or useless count as spent, for they may have been charged.

    Args:
        budget: None: no limit.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._tokens = self._lost = self._in_flight = self._retries = 0
        self._saved_texts = self._saved_tokens = 0
        self._begun = False
        self._name: str | None = None
        self._price = self.budget.price
        self._limit = self.budget.max_tokens
        self._changed = threading.Condition()

    @contextmanager
    def counting(self) -> Iterator[Spend]:
        """Count what this thread embeds within the block."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    def begin(self, name: str | None) -> None:
        """Say which model is going to be used, before anything is sent to it.

        Args:
            name: the model's; None: a model that costs nothing.

        Raises:
            InputError: ``max_cost`` without a known price, or another model than before, of another price.
        """
        with self._changed:
            if self._begun and name == self._name:
                return
        price = 0.0 if name is None else price_of(name) if self.budget.price is None else self.budget.price
        with self._changed:
            if self._begun and self._price != price:
                raise InputError(f"one spend counts one price: {name} costs another than {self._name}")
            if self.budget.max_cost is not None and price is None:
                raise InputError(
                    f"no price of {name} is known, so max_cost can't be kept. Give the price in dollars a million "
                    f"tokens (--price, Budget(price=...)) or in {models_file()}, or limit the tokens "
                    "(--max-tokens, Budget(max_tokens=...)); 0 is a price, too"
                )
            self._begun, self._name, self._price = True, name, price
            self._limit = self.budget.max_tokens
            if self.budget.max_cost is not None and price:
                # Exact: the decimal numbers that were written, not their nearest binary ones.
                affordable = int(Fraction(str(self.budget.max_cost)) * _MILLION / Fraction(str(price)))
                self._limit = affordable if self._limit is None else min(self._limit, affordable)

    @property
    def limited(self) -> bool:
        """Whether there is a limit to keep."""
        return self._limit is not None

    def left(self) -> int | None:
        """Tokens that may still be sent; None: any number."""
        with self._changed:
            return self._left()

    def reserve(self, tokens: int) -> None:
        """Ask before a request; each yes is followed by `settle` or `lose`.

        Args:
            tokens: the most that the request can cost.

        Raises:
            BudgetError: the limit could be passed, also when all requests in flight have been answered.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fits(tokens) or not self._in_flight)
            if not self._fits(tokens):
                raise self._refusal(tokens)
            self._in_flight += tokens

    def settle(self, reserved: int, billed: int) -> None:
        """A request came to its end, and so much is charged for it."""
        with self._changed:
            self._in_flight -= reserved
            self._tokens += billed
            self._changed.notify_all()

    def lose(self, reserved: int) -> None:
        """The answer to a request was lost; it may be charged."""
        with self._changed:
            self._in_flight -= reserved
            self._lost += reserved
            self._changed.notify_all()

    def save(self, texts: int, tokens: int) -> None:
        """Different texts that the ledger knew, and their tokens."""
        with self._changed:
            self._saved_texts += texts
            self._saved_tokens += tokens

    def retry(self) -> None:
        """Something was sent again."""
        with self._changed:
            self._retries += 1

    def refusal(self, tokens: int) -> BudgetError:
        """Why a text of so many tokens at most is not sent."""
        with self._changed:
            return self._refusal(tokens)

    def spent(self) -> Spent:
        """What was spent until now."""
        with self._changed:
            return Spent(
                tokens=self._tokens,
                dollars=self._dollars(self._tokens),
                lost_tokens=self._lost,
                lost_dollars=self._dollars(self._lost),
                saved_texts=self._saved_texts,
                saved_tokens=self._saved_tokens,
                saved_dollars=self._dollars(self._saved_tokens),
                price=self._price,
                model=self._name,
                retries=self._retries,
            )

    def _left(self) -> int | None:
        if self._limit is None:
            return None
        return max(0, self._limit - self._tokens - self._lost - self._in_flight)

    def _fits(self, tokens: int) -> bool:
        left = self._left()
        return left is None or tokens <= left

    def _dollars(self, tokens: int) -> float | None:
        return None if self._price is None else float(Fraction(str(self._price)) * tokens / _MILLION)

    def _refusal(self, tokens: int) -> BudgetError:
        limits = []
        if self.budget.max_cost is not None:
            limits.append(f"${self.budget.max_cost:g}")
        if self.budget.max_tokens is not None:
            limits.append(f"{self.budget.max_tokens:,} tokens")
        lost = f" and {self._lost:,} more in answers that were lost" if self._lost else ""
        return BudgetError(
            f"stopped before the limit of {' and '.join(limits)} was passed: {self._tokens:,} tokens were "
            f"spent{lost}, and what comes next may take {tokens:,}. What was embedded is kept; the same command "
            "goes on from there, with a limit of its own"
        )


def current_spend() -> Spend:
    """The `Spend` whose ``counting`` block this thread is in; outside of any, a new one without limits."""
    return _CURRENT.get() or Spend()


_CURRENT: ContextVar[Spend | None] = ContextVar("textkin_spend", default=None)
