"""``textkin embed`` into a folder of Parquet files, or into a collection: any number of texts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from textkin.cli.bulk_progress import shown
from textkin.cli.fetching import begin, load_with_bar, refuse_in_vain
from textkin.cli.money import spent_lines, telling_at_a_stop
from textkin.cli.output import counted, say, talk, write_object
from textkin.cli.reports import SkipTeller
from textkin.errors import (
    BudgetError,
    EngineError,
    ModelError,
    StoreError,
)
from textkin.text.standard_input import process_stdin

if TYPE_CHECKING:
    from textkin.jobs.bulk.report import BulkOptions, BulkReport, Status
    from textkin.jobs.bulk.shards import Reject
    from textkin.jobs.ray import RayModel
    from textkin.models.spending import Budget


def run_bulk(
    paths: Sequence[str],
    out: str | None,
    target: str | None,
    options: BulkOptions,
    *,
    model: str | None,
    base_url: str | None,
    engine: dict[str, Any],
    given: dict[str, Any],
    budget: Budget,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run a job, show how far it is, and say what it did."""
    import dataclasses

    from textkin.jobs.bulk.collection import embed_to_store
    from textkin.jobs.bulk.folder import embed_to_folder
    from textkin.jobs.bulk.folder import refuse_in_vain as refuse_output_in_vain
    from textkin.models.matryoshka import may_truncate, trained_for_it
    from textkin.models.resolve import DEFAULT_MODEL
    from textkin.models.spending import Spend

    where, address, workers = given.pop("engine"), given.pop("address"), given.pop("workers")
    progress = given.pop("progress")
    engine["batch_tokens"] = given.pop("batch_tokens")
    if where == "local" and address is not None:
        raise click.UsageError("--address goes with --engine ray")
    if where == "ray" and base_url is not None:
        raise click.UsageError("--base-url goes with --engine local: a server is asked from here")
    name = _name if verbose else None
    teller = SkipTeller(verbose)
    spend = Spend(budget)
    with _telling_how_to_go_on(out is not None) as began, telling_at_a_stop(spend), spend.counting():
        begin(spend, model)
        if out is not None:
            refuse_output_in_vain(out, model or DEFAULT_MODEL, options)
        else:
            refuse_in_vain(target or "", model or DEFAULT_MODEL)
        with _on_ray(address, workers, model, engine) if where == "ray" else nullcontext() as on_ray:
            loaded = on_ray or load_with_bar(model, base_url=base_url, **engine)
            asked = options.dimensions or loaded.info.dimensions
            unknown = asked < loaded.info.dimensions and not trained_for_it(loaded.info.name)
            if unknown and may_truncate(loaded.info.name, asked) is None:
                talk(
                    f"note: it isn't known whether {loaded.info.name} was trained for shorter vectors; judge "
                    "by the recall that is measured"
                )
            chosen = dataclasses.replace(options, threads=workers if on_ray is None else on_ray.in_flight)
            with stopping(began, abrupt=on_ray is None) as stop, shown(progress) as show, _stdin(paths) as stdin:
                if out is not None:
                    report = embed_to_folder(
                        paths,
                        out,
                        loaded,
                        chosen,
                        stop=stop.event,
                        progress=_both(began, show),
                        on_reject=name,
                        on_note=teller.note,
                        on_fidelity=lambda found: talk(f"measured before the first file is written: {found}"),
                        stdin=stdin,
                    )
                else:
                    report = embed_to_store(
                        paths,
                        target or "",
                        loaded,
                        chosen,
                        stop=stop.event,
                        progress=_both(began, show),
                        on_reject=name,
                        on_note=teller.note,
                        stdin=stdin,
                    )
    if as_json:
        write_object(report.to_dict())
    else:
        for line in report_lines(report):
            say(line)
        for line in spent_lines(report.spent):
            say(line)
    if report.stopped:
        talk(resume_hint(out is not None))
        raise click.Abort() if stop.by in (None, signal.SIGINT) else click.exceptions.Exit(128 + stop.by)


def report_lines(report: BulkReport) -> Iterator[str]:
    """A report for a person."""
    numbers = f"{report.dimensions:,} numbers ({report.dtype}), made by {report.model}"
    yield f"{report.place}: {counted(report.rows, 'vector')} of {numbers}" + (
        "" if report.complete else "; not complete yet"
    )
    work = f"{counted(report.embedded, 'text')} embedded now, {report.from_ledger:,} from the ledger"
    if report.kept:
        work += f"; {counted(report.kept, 'row was', 'rows were')} complete before"
    yield work
    if report.rejected or report.failed:
        line = f"{counted(report.rejected + report.failed, 'row or file', 'rows or files')} without a vector"
        if report.failed:
            line += f", {report.failed:,} of them refused by the model's provider"
        yield line + (f": {report.rejects} names each with the reason" if report.rejects else "")
    if report.complete and not report.rows:
        yield "warning: not one row could be used"
    if report.truncated:
        yield f"{counted(report.truncated, 'text')} longer than the model reads: only the beginning counts"
    if report.duplicate_ids:
        named = ", ".join(map(repr, report.duplicate_ids_first[:5]))
        yield f"warning: {counted(report.duplicate_ids, 'row')} with an id that came before, such as {named}"
    if report.fidelity is not None:
        yield str(report.fidelity["text"])
    new = report.embedded + report.from_ledger
    rate = f", {counted(round(new / report.seconds), 'text')}/s" if new and report.seconds else ""
    yield f"{report.seconds:.1f} s{rate}; time of all threads: " + ", ".join(
        f"{name} {share:.0%}" for name, share in report.stages.items()
    )


def resume_hint(folder: bool) -> str:
    """How to go on after a stop."""
    kept = "vectors that were made are in the ledger, files that are complete stay"
    return f"stopped; {kept}. To go on, run the same command" + (" with --resume" if folder else " again")


@contextmanager
def _on_ray(
    address: str | None, workers: int | None, model: str | None, engine: Mapping[str, Any]
) -> Iterator[RayModel]:
    """The model on the workers of a cluster, which is let go of, or shut down, at the end."""
    from textkin.jobs.ray import Recipe, connect
    from textkin.models.resolve import DEFAULT_MODEL

    options = {name: value for name, value in engine.items() if value is not None and name != "threads"}
    recipe = Recipe(model or DEFAULT_MODEL, options, threads=engine["threads"] or 1)
    with connect(address, workers) as cluster:
        loaded = cluster.model(recipe)
        if loaded.guessed:
            talk(
                f"{counted(loaded.workers, 'worker')}, as the cluster has room for now; --workers N asks for "
                "more, and lets it grow"
            )
        yield loaded


@contextmanager
def _stdin(paths: Sequence[str]) -> Iterator[BinaryIO | None]:
    """Standard input, opened anew: a thread that waits in Python's own would abort the process at its end."""
    if "-" not in paths:
        yield None
        return
    try:
        number = process_stdin().fileno()
    except (OSError, ValueError, AttributeError):
        yield None  # not a file: whoever calls this has put something in its place
        return
    yield os.fdopen(number, "rb", closefd=False)


@contextmanager
def _telling_how_to_go_on(folder: bool) -> Iterator[threading.Event]:
    """Where something ends a job that had begun, say how to go on; gives what to set when it has."""
    began = threading.Event()
    try:
        yield began
    except (BudgetError, EngineError, ModelError, StoreError):
        if folder and began.is_set():
            talk("what was embedded is kept; to go on, run the same command with --resume")
        raise


def _both(began: threading.Event, show: Callable[[Status], None] | None) -> Callable[[Status], None]:
    def told(status: Status) -> None:
        began.set()
        if show is not None:
            show(status)

    return told


def _name(reject: Reject) -> None:
    row = "" if reject.row is None else f" row {reject.row:,}"
    talk(f"set aside {reject.path}{row}: {reject.reason}")


class Stopping:
    """What a signal asks for: an orderly end.

    Args:
        began: set once texts are being embedded.
        abrupt: whether a second signal ends the process on the spot, as a kill would; else as Ctrl-C does.

    Attributes:
        event: set by the first signal.
        by: its number.
    """

    def __init__(self, began: threading.Event, abrupt: bool) -> None:
        self._began = began
        self.event = threading.Event()
        self.by: int | None = None
        self._abrupt = abrupt

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.event.is_set():
            if self._abrupt:
                os._exit(128 + number)
            raise KeyboardInterrupt
        self.by = number
        if not self._began.is_set():
            # Nothing is on its way: it may wait for an input that says nothing.
            raise SystemExit(128 + number)
        self.event.set()
        # The terminal may be what has just gone; and what is interrupted may be a write to it.
        with suppress(OSError, RuntimeError):
            talk("finishing what is on its way, seconds as a rule; once more to stop at once")


@contextmanager
def stopping(began: threading.Event, *, abrupt: bool) -> Iterator[Stopping]:
    """Ctrl-C, SIGTERM (as schedulers send it before they take a machine away) and SIGHUP end the job in order."""
    stop = Stopping(began, abrupt)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
