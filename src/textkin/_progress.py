"""Progress on stderr: a bar with rate and ETA on a terminal, a plain line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from textkin.types import Progress

_PLAIN_EVERY = 60.0


@contextmanager
def bar(label: str) -> Iterator[Progress]:
    """A progress function that shows itself while the block runs.

    Args:
        label: what is being done, e.g. ``embedding``.
    """
    if stderr_is_terminal():
        with _rich_bar(label) as progress:
            yield progress
    else:
        yield _plain(label)


def stderr_is_terminal() -> bool:
    """Whether somebody watches; False also where there is no stderr (pythonw, a service) or it was closed."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def tell(line: str) -> None:
    """A line to stderr; where that can't be written nobody listens, and the work goes on."""
    if sys.stderr is not None and not sys.stderr.closed:
        with suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


@contextmanager
def progress_of(choice: Progress | bool | None, label: str) -> Iterator[Progress | None]:
    """The progress function that a caller chose: his own, a `bar` for True, none otherwise."""
    if choice is True:
        with bar(label) as shown:
            yield shown
    else:
        yield choice or None


@contextmanager
def _rich_bar(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None, rate="")
        start = time.monotonic()

        def update(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=total, rate=_rate(done, start))

        yield update


def _plain(label: str) -> Progress:
    start = time.monotonic()
    last = start

    def update(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _PLAIN_EVERY:
            return
        last = now
        of = f" of {total:,}" if total else ""
        left = ""
        if total and done:
            left = f", about {(now - start) / done * (total - done) / 60:.0f} min left"
        tell(f"{label}: {done:,}{of}, {_rate(done, start)}{left}")

    return update


def _rate(done: int, start: float) -> str:
    seconds = time.monotonic() - start
    return f"{done / seconds:,.0f}/s" if done and seconds > 0.2 else ""
