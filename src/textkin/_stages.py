"""How long each stage of a job takes: whoever works says so, and a clock adds it up where one is running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar


class StageClock:
    """Adds up seconds by stage. Any number of threads may share it."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._guard = threading.Lock()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the stages of this thread within the block."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that were spent elsewhere, in another thread or process."""
        with self._guard:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, all threads together."""
        with self._guard:
            return dict(self._seconds)


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Each stage's part of all, 0 to 1, the largest first."""
    whole = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return {name: value / whole for name, value in ordered} if whole else {}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the block's time as this stage's, on the thread's clock; nothing where none is running.

    The time of stages within it is theirs alone.
    """
    clock = _CURRENT.get()
    if clock is None:
        yield
        return
    outer, inner = _INNER.get(), [0.0]
    token = _INNER.set(inner)
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        _INNER.reset(token)
        clock.add(name, seconds - inner[0])
        if outer is not None:
            outer[0] += seconds


_CURRENT: ContextVar[StageClock | None] = ContextVar("textkin_stages", default=None)
_INNER: ContextVar[list[float] | None] = ContextVar("textkin_inner_stages", default=None)
