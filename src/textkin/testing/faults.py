"""What can go wrong with a request to the test server, and when it does."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from textkin.errors import InputError

REFUSALS = ("400", "401", "403", "404", "429", "500", "502", "503", "quota")
LOST = ("reset", "slow", "cut", "truncated")
SPOILT = ("short", "long", "wrong-length", "reordered", "misnumbered", "nan", "zero", "null")
FAULTS = (*REFUSALS, *LOST, *SPOILT)
"""Every kind of fault; docs/testing.md says what each does."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived.

    Attributes:
        number: of the request, from 1, in the order of arrival.
        provider: ``openai`` or ``cohere``.
        model: the name that was asked for.
        texts: in the order of the request.
    """

    number: int
    provider: str
    model: str
    texts: tuple[str, ...]


Plan: TypeAlias = "Mapping[str, float] | Sequence[str | None] | Callable[[Asked], str | None]"
"""Shares of requests by kind, or the kinds of the first requests in order, or a function of the request."""


class Faults:
    """Chooses the fault of each request.

    Args:
        plan: shares by kind (of all requests, 1 in all at most); or a sequence with the kind of the first request,
            of the second, …, None for a good answer, which all later ones get; or a function.
        seed: of the shares. Which request fails depends on the seed, the request's texts and how often they
            arrived, not on the order of arrival, so threads change nothing.

    Raises:
        InputError: an unknown kind, or shares that are no shares.
    """

    def __init__(self, plan: Plan | None, seed: int) -> None:
        self._plan = plan
        self._seed = seed
        self._seen: Counter[bytes] = Counter()
        self._guard = threading.Lock()
        if isinstance(plan, Mapping):
            if any(share < 0 for share in plan.values()) or sum(plan.values()) > 1 + 1e-9:
                raise InputError(f"shares of faults must be 0 to 1, and 1 in all at most, not {dict(plan)}")
            named: list[str | None] = list(plan)
        else:
            named = [] if plan is None or callable(plan) else list(plan)
        for kind in named:
            _check(kind)

    def of(self, asked: Asked) -> str | None:
        """The kind of fault of this request; None: a good answer."""
        plan = self._plan
        if plan is None:
            return None
        if isinstance(plan, Mapping):
            return self._drawn(plan, asked)
        if callable(plan):
            return _check(plan(asked))
        return plan[asked.number - 1] if asked.number <= len(plan) else None

    def _drawn(self, shares: Mapping[str, float], asked: Asked) -> str | None:
        whole = "\0".join((asked.provider, asked.model, *asked.texts)).encode("utf-8", "surrogatepass")
        key = hashlib.sha256(whole).digest()
        with self._guard:
            self._seen[key] += 1
            turn = self._seen[key]
        drawn = hashlib.sha256(key + f"{self._seed} {turn}".encode()).digest()
        place = int.from_bytes(drawn[:8], "big") / 2**64
        for kind, share in shares.items():
            if place < share:
                return kind
            place -= share
        return None


def _check(kind: str | None) -> str | None:
    if kind is not None and kind not in FAULTS:
        raise InputError(f"no such fault: {kind!r}; expected one of {', '.join(FAULTS)}")
    return kind
