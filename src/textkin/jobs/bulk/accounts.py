"""What all runs of a job have embedded and spent: one small file a run, kept up to date while it works."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from typing import Any, Final

from textkin.jobs.bulk.flow import Tally
from textkin.jobs.bulk.place import WORK, Place, read_json, write_json
from textkin.models.spending import Spent

_RUNS: Final = f"{WORK}/runs"
_NAMES: Final = frozenset({"embedded", "from_ledger", "tokens", "lost_tokens", "dollars"})


@dataclass(frozen=True, slots=True)
class Account:
    """Sums over all runs of a job.

    Attributes:
        runs: how many there were.
        embedded: different texts that were sent to the model.
        from_ledger: different texts whose vector was known.
        tokens: that were spent.
        lost_tokens: at most so many more, for answers that were lost.
        dollars: for ``tokens``; None where a price is not known.
    """

    runs: int
    embedded: int
    from_ledger: int
    tokens: int
    lost_tokens: int
    dollars: float | None


class RunAccount:
    """The account of one run. A kill loses what was not written since the last time.

    Args:
        place: the job's.
        rank: of this process.
    """

    def __init__(self, place: Place, rank: int) -> None:
        self._place = place
        started = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
        self._name = f"{_RUNS}/{started}-{rank}-{os.getpid()}.json"

    def write(self, tally: Tally, spent: Spent) -> None:
        """Say what was done until now."""
        write_json(
            self._place,
            self._name,
            {
                "embedded": tally.embedded,
                "from_ledger": tally.from_ledger,
                "tokens": spent.tokens,
                "lost_tokens": spent.lost_tokens,
                "dollars": spent.dollars,
            },
        )


def account_of(place: Place) -> Account:
    """The sums."""
    found: list[dict[str, Any]] = []
    for name in sorted(place.sizes(_RUNS)):
        facts = read_json(place, f"{_RUNS}/{name}")
        if facts is not None and facts.keys() >= _NAMES:
            found.append(facts)
    prices = [facts["dollars"] for facts in found]
    return Account(
        runs=len(found),
        embedded=sum(facts["embedded"] for facts in found),
        from_ledger=sum(facts["from_ledger"] for facts in found),
        tokens=sum(facts["tokens"] for facts in found),
        lost_tokens=sum(facts["lost_tokens"] for facts in found),
        dollars=None if None in prices else sum(prices),
    )
