"""How far a bulk job is, on stderr: a bar, a plain line a minute, or JSON Lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from textkin._progress import stderr_is_terminal, tell
from textkin.cli.money import dollars

if TYPE_CHECKING:
    from textkin.jobs.bulk.report import Status

_PLAIN_EVERY: Final = 60.0
_JSON_EVERY: Final = 1.0


@contextmanager
def shown(form: str) -> Iterator[Callable[[Status], None] | None]:
    """What a job calls with its status.

    Args:
        form: ``auto``, ``json`` or ``none``.
    """
    if form == "none":
        yield None
    elif form == "json":
        yield from _every(_JSON_EVERY, _write_json, last=True)
    elif stderr_is_terminal():
        with _bar() as show:
            yield show
    else:
        yield from _every(_PLAIN_EVERY, _write_line, last=False)


def status_line(facts: dict[str, Any]) -> str:
    """A status (as `Status.to_dict`) on one line."""
    parts = [f"{facts['rows']:,} rows"]
    if facts["share"] is not None:
        parts[0] += f" ({facts['share']:.0%})"
    if facts["rate"]:
        parts.append(f"{facts['rate']:,.0f}/s")
    if facts["seconds_left"] is not None:
        parts.append(f"about {_time(facts['seconds_left'])} left")
    if facts["kept"]:
        parts.append(f"{facts['kept']:,} complete before")
    parts.append(f"{facts['from_ledger']:,} from the ledger")
    if facts["rejected"] + facts["failed"]:
        parts.append(f"{facts['rejected'] + facts['failed']:,} without a vector")
    if facts.get("retries"):
        parts.append(f"{facts['retries']:,} retries")
    if facts["tokens_spent"] and facts["dollars"] != 0:
        parts.append(f"{facts['tokens_spent']:,} tokens, {dollars(facts['dollars'])}")
    return ", ".join(parts)


def _write_line(status: Status) -> None:
    tell(f"embedding: {status_line(status.to_dict())}")


def _write_json(status: Status) -> None:
    tell(json.dumps(status.to_dict()))


def _every(seconds: float, write: Callable[[Status], None], *, last: bool) -> Iterator[Callable[[Status], None]]:
    """Write a status now and then; with ``last`` also the one at the end."""
    told = time.monotonic()
    waiting: Status | None = None

    def show(status: Status) -> None:
        nonlocal told, waiting
        waiting = status
        if time.monotonic() - told >= seconds:
            told = time.monotonic()
            waiting = None
            write(status)

    yield show
    if last and waiting is not None:
        write(waiting)


@contextmanager
def _bar() -> Iterator[Callable[[Status], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(status: Status) -> None:
            total = None if status.share is None else 1.0
            with suppress(OSError):
                bar.update(
                    task, total=total, completed=status.share or 0.0, description=status_line(status.to_dict())
                )

        yield show


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
