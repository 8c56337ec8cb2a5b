"""One gate for all requests to a provider: closed for everybody while it asks to wait or has nothing left."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

_PARTS: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_KINDS: Final = ("requests", "tokens")
_LONGEST_GUESS: Final = 60.0
_SPREAD: Final = 0.1


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait that ``retry-after-ms`` or ``retry-after`` (seconds, or an HTTP date) ask; None: neither."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                when = parsedate_to_datetime(value)
            except (ValueError, OverflowError):
                continue
            seconds = max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
        if 0 <= seconds < float("inf"):
            return seconds
    return None


@dataclass(slots=True)
class _Allowance:
    """What may be sent now, as the provider last said: it refills evenly, until all is there again."""

    remaining: float
    limit: float
    rate: float
    told: float

    def wait(self, needed: float, now: float) -> float:
        there = min(self.limit, self.remaining + (now - self.told) * self.rate)
        short = min(needed, self.limit) - there
        return short / self.rate if short > 0 and self.rate > 0 else 0.0


class Gate:
    """Lets requests through, unless the provider asked to wait or said that its allowance is used up.

    The rate headers are those that OpenAI documents (``x-ratelimit-limit-requests``, ``-remaining-`` and
    ``-reset-``, the same for ``tokens``), which several compatible servers send too. An allowance is taken to
    refill evenly until its reset; where that is wrong, the provider says 429 and how long to wait.

    Args:
        clock: seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._closed_until = 0.0
        self._allowances: dict[str, _Allowance] = {}

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long from now."""
        with self._guard:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def told(self, headers: Mapping[str, str]) -> None:
        """Note the rate headers of an answer, good or bad."""
        now = self._clock()
        for kind in _KINDS:
            remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
            reset = duration(headers.get(f"x-ratelimit-reset-{kind}"))
            if remaining is None or reset is None:
                continue
            limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
            # Without a limit nothing is known of what comes back before the reset: then as if one at a time.
            whole = max(remaining + 1, limit if limit is not None else 0.0)
            rate = (whole - remaining) / max(reset, 1e-3)
            with self._guard:
                self._allowances[kind] = _Allowance(remaining, whole, rate, now)

    def heard(self, response: Any) -> None:
        """The same, as an HTTP client's hook."""
        self.told(response.headers)

    def wait(self, tokens: int) -> float:
        """Seconds until a request of so many tokens may go; where that is 0, it counts as sent."""
        now = self._clock()
        needs = {"requests": 1.0, "tokens": float(tokens)}
        with self._guard:
            left = [min(one.wait(needs[kind], now), _LONGEST_GUESS) for kind, one in self._allowances.items()]
            wait = max(0.0, self._closed_until - now, *left)
            if wait == 0.0:
                for kind, allowance in self._allowances.items():
                    allowance.remaining -= needs[kind]
            return wait

    def enter(self, tokens: int, stop: threading.Event) -> bool:
        """Wait for the turn of a request of so many tokens; False when ``stop`` was set before."""
        while not stop.is_set():
            wait = self.wait(tokens)
            if wait == 0.0:
                return True
            # A little more for each, so that not all that waited go at the same moment.
            stop.wait(wait * random.uniform(1.0, 1.0 + _SPREAD))
        return False


def duration(value: str | None) -> float | None:
    """Seconds of ``6m0s``, ``20ms``, ``1.5`` or ``7h12m``; None for anything else."""
    if not value:
        return None
    plain = _number(value)
    if plain is not None:
        return plain
    parts = _PARTS.findall(value)
    if "".join(number + unit for number, unit in parts) != value:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
