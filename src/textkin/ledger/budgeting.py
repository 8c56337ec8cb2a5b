"""How much of what is to be embedded the budget allows, and the canary texts, which are paid for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from textkin.errors import BudgetError, InputError, ReadOnlyError
from textkin.ledger.claims import Patience
from textkin.ledger.database import Ledger
from textkin.models.fingerprint import canary_vectors
from textkin.models.providers.tokens import most_tokens
from textkin.models.spending import Spend
from textkin.types import Matrix, Model, Role

_CANARIES: Final = "canaries"
"""What claims call them, in the place of a role and of a text's digest."""


def affordable(model: Model, texts: Sequence[str], role: Role, spend: Spend) -> int:
    """How many of these texts, from the first on, fit what is left; at least one.

    Nothing is set aside: for a model that asks before each of its own requests.

    Raises:
        BudgetError: not even the first fits, also when what other threads have in flight has been answered.
        InputError: the model doesn't tell its tokens, so no limit can be kept.
    """
    fitting, reserved = set_aside(model, texts, role, spend)
    spend.settle(reserved, 0)
    return fitting


def set_aside(model: Model, texts: Sequence[str], role: Role, spend: Spend) -> tuple[int, int]:
    """Reserve as many of these texts, from the first on, as fit; how many, at least one, and their tokens.

    Other threads' reservations count: where nothing fits beside them, it waits until they are settled, for an
    answer often costs less than it could. What is returned is to be settled or lost.

    Raises:
        BudgetError: not even the first fits when nothing is in flight any more.
        InputError: the model doesn't tell its tokens, so no limit can be kept.
    """
    if not spend.limited:
        return len(texts), 0
    totals = list(accumulate(token_bounds(model, texts, role)))
    while True:
        left = spend.left()
        fitting = max(1, len(texts) if left is None else sum(total <= left for total in totals))
        try:
            spend.reserve(totals[fitting - 1])
        except BudgetError:
            if fitting == 1:
                raise
            continue  # another thread was quicker: cut anew
        return fitting, totals[fitting - 1]


def token_bounds(model: Model, texts: Sequence[str], role: Role) -> list[int]:
    """The most that each text can cost: its tokens where the model counts exactly; 0 for what it won't send.

    Raises:
        InputError: the model doesn't tell its tokens.
    """
    info = model.info
    if info.details.get("tokens") in ("estimated", "not known"):
        return [most if text else 0 for text, most in zip(texts, most_tokens(texts), strict=True)]
    counts = model.count_tokens(texts, role)
    if info.details.get("kind") == "provider":
        # A provider's model sets aside what is too long, and doesn't send it.
        return [0 if info.max_tokens is not None and count > info.max_tokens else count for count in counts]
    if any(texts) and not any(counts):
        raise InputError(f"{info.name} doesn't tell its tokens, so a limit can't be kept; leave the limit out")
    return counts


def known_canaries(model: Model, ledger: Ledger | None) -> Matrix:
    """`canary_vectors`, which for a provider's model are paid for once: then the ledger has them."""
    if ledger is None or model.info.details.get("kind") != "provider":
        return canary_vectors(model)
    known = ledger.canaries(model.info.fingerprint)
    if known is not None:
        return known
    try:
        return introduced(model, ledger)
    except ReadOnlyError:  # who only asks needs no place in it
        return canary_vectors(model)


def introduced(model: Model, ledger: Ledger, given_up: Callable[[], bool] = lambda: False) -> Matrix:
    """A model's canary vectors, which the ledger keeps; where two processes need them at a time, one embeds them.

    Args:
        model: that is used with this ledger, perhaps for the first time.
        ledger: that shall know it.
        given_up: as in `Patience`.

    Raises:
        WaitGivenUp: another process was still at it.
    """
    info, call, patience = model.info, ledger.claims.new_call(), Patience(given_up)
    while (known := ledger.canaries(info.fingerprint)) is None:
        if ledger.claims.take(call, info.fingerprint, _CANARIES, [_CANARIES.encode()]).mine:
            try:
                if (known := ledger.canaries(info.fingerprint)) is None:
                    known = canary_vectors(model)
                    ledger.remember_model(info, known)
                return known
            finally:
                ledger.claims.release(call)
        patience.wait()
    return known
