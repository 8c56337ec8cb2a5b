"""How much of what is to be embedded the budget allows, and the canary texts, which are paid for once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from textkin.errors import InputError
from textkin.ledger.database import Ledger
from textkin.models.fingerprint import canary_vectors
from textkin.models.providers.tokens import most_tokens
from textkin.models.spending import Spend
from textkin.types import Matrix, Model, Role


def affordable(model: Model, texts: Sequence[str], role: Role, spend: Spend) -> int:
    """How many of these texts, from the first on, fit what is left; at least one.

    Raises:
        BudgetError: not even the first fits.
        InputError: the model doesn't tell its tokens, so no limit can be kept.
    """
    left = spend.left()
    if left is None:
        return len(texts)
    most = token_bounds(model, texts, role)
    fitting = sum(total <= left for total in accumulate(most))
    if not fitting:
        raise spend.refusal(most[0])
    return fitting


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
    info = model.info
    if ledger is None or info.details.get("kind") != "provider":
        return canary_vectors(model)
    known = ledger.canaries(info.fingerprint)
    if known is None:
        known = canary_vectors(model)
        ledger.remember_model(info, known)
    return known
