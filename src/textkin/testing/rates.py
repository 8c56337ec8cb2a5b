"""How many requests the test server lets through, and the headers by which it says so."""

from __future__ import annotations

import threading
import time


class RequestRate:
    """A number of requests at once, which comes back evenly.

    Args:
        per_minute: requests that come back in a minute.
        at_once: requests that may come at once when none came before.
    """

    def __init__(self, per_minute: float, at_once: int) -> None:
        self._a_second = per_minute / 60
        self._limit = at_once
        self._left = float(at_once)
        self._told = time.monotonic()
        self._guard = threading.Lock()

    def take(self) -> tuple[float, dict[str, str]]:
        """Ask for one request.

        Returns:
            Seconds to wait, 0 where it may go; and OpenAI's rate headers.
        """
        with self._guard:
            now = time.monotonic()
            self._left = min(self._limit, self._left + (now - self._told) * self._a_second)
            self._told = now
            wait = 0.0 if self._left >= 1 else (1 - self._left) / self._a_second
            if not wait:
                self._left -= 1
            missing = (self._limit - self._left) / self._a_second
            headers = {
                "x-ratelimit-limit-requests": str(self._limit),
                "x-ratelimit-remaining-requests": str(int(self._left)),
                "x-ratelimit-reset-requests": f"{missing:.3f}s",
            }
            return wait, headers
