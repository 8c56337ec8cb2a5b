"""What was spent and saved, told at the end of a run, however it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from textkin.cli.output import counted, talk

if TYPE_CHECKING:
    from textkin.models.spending import Spend, Spent


@contextmanager
def telling_at_a_stop(spend: Spend) -> Iterator[None]:
    """Where the block ends by an error or by Ctrl-C, say on stderr what was spent until then."""
    try:
        yield
    except BaseException:
        for line in spent_lines(spend.spent()):
            talk(line)
        raise


@contextmanager
def telling_what_is_kept(spend: Spend, *, ledger: bool = True) -> Iterator[None]:
    """`telling_at_a_stop`; Ctrl-C also says how to go on."""
    try:
        with telling_at_a_stop(spend):
            yield
    except KeyboardInterrupt:
        talk(
            "stopped; vectors that were made are in the ledger, and the same command goes on from there"
            if ledger
            else "stopped; without the ledger nothing was kept"
        )
        raise


def spent_lines(spent: Spent) -> Iterator[str]:
    """The last line of a run with a model that others run; none for a model on this machine."""
    if spent.model is None:
        return
    line = f"spent {counted(spent.tokens, 'token')}, {dollars(spent.dollars)}"
    if spent.lost_tokens:
        line += f" (and at most {spent.lost_tokens:,} more, {dollars(spent.lost_dollars)}, in lost answers)"
    line += f"; the ledger saved {counted(spent.saved_texts, 'text')}"
    if spent.saved_texts:
        line += f", {counted(spent.saved_tokens, 'token')}, {dollars(spent.saved_dollars)}"
    yield line


def dollars(amount: float | None) -> str:
    """``$1.23``, ``$0.000124`` (three digits that count), or that no price is known."""
    if amount is None:
        return "no price known"
    if amount == 0:
        return "$0"
    places = 2 if amount >= 1 else 2 - math.floor(math.log10(amount))
    return f"${amount:,.{places}f}"
