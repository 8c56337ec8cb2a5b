"""Ctrl-C while answers that were paid for come in: none is lost between the wire and the ledger."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_late: _Late | None = None


class _Late:
    """A handler of SIGINT that keeps the first for later; a second one goes through at once."""

    def __init__(self) -> None:
        self.came = False
        self.before = signal.getsignal(signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            self.give(frame)
        self.came = True

    def give(self, frame: FrameType | None = None) -> None:
        """Do what would have been done when it came."""
        self.came = False
        if callable(self.before):
            self.before(signal.SIGINT, frame)


@contextmanager
def deferred() -> Iterator[None]:
    """Keep a Ctrl-C until `check` is called, or the block ends.

    In other threads than the first, which get none, and where they are ignored, nothing is changed.
    """
    global _late
    first = threading.current_thread() is threading.main_thread()
    if not first or _late is not None or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    late = _late = _Late()
    signal.signal(signal.SIGINT, late)
    try:
        yield
    finally:
        _late = None
        signal.signal(signal.SIGINT, late.before)
    if late.came:
        late.give()


def check() -> None:
    """Let a Ctrl-C that was kept be raised here, where the caller is ready for it.

    Raises:
        KeyboardInterrupt: one came, and nobody handles it otherwise.
    """
    if _late is not None and _late.came and threading.current_thread() is threading.main_thread():
        _late.give()
