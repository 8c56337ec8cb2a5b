"""``textkin embed`` into a folder of Parquet files, or into a collection: any number of texts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from textkin.cli.bulk_progress import shown
from textkin.cli.fetching import begin, load_with_bar
from textkin.cli.money import spent_lines, telling_at_a_stop
from textkin.cli.output import counted, say, talk, write_object

if TYPE_CHECKING:
    from textkin.jobs.bulk.report import BulkOptions, BulkReport
    from textkin.jobs.ray import RayModel
    from textkin.models.spending import Budget

_TERMINATED: Final = 143


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
    as_json: bool,
) -> None:
    """Run a job, show how far it is, and say what it did."""
    import dataclasses

    from textkin.jobs.bulk.job import embed_to_folder, embed_to_store
    from textkin.models.spending import Spend

    where, address, workers = given.pop("engine"), given.pop("address"), given.pop("workers")
    progress = given.pop("progress")
    engine["batch_tokens"] = given.pop("batch_tokens")
    if where == "local" and address is not None:
        raise click.UsageError("--address goes with --engine ray")
    spend = Spend(budget)
    with telling_at_a_stop(spend), spend.counting(), stopping() as stop:
        begin(spend, model)
        with _on_ray(address, workers, model, engine) if where == "ray" else nullcontext() as on_ray:
            loaded = on_ray or load_with_bar(model, base_url=base_url, **engine)
            chosen = dataclasses.replace(options, threads=workers if on_ray is None else on_ray.in_flight)
            with shown(progress) as show:
                if out is not None:
                    report = embed_to_folder(
                        paths,
                        out,
                        loaded,
                        chosen,
                        stop=stop.event,
                        progress=show,
                        on_fidelity=lambda found: talk(f"measured before the first file is written: {found}"),
                    )
                else:
                    report = embed_to_store(paths, target or "", loaded, chosen, stop=stop.event, progress=show)
    if as_json:
        write_object(report.to_dict())
    else:
        for line in report_lines(report):
            say(line)
        for line in spent_lines(report.spent):
            say(line)
    if report.stopped:
        talk(resume_hint(out is not None))
        raise click.exceptions.Exit(_TERMINATED) if stop.by == signal.SIGTERM else click.Abort()


def report_lines(report: BulkReport) -> Iterator[str]:
    """A report for a person."""
    numbers = f"{report.dimensions:,} numbers ({report.dtype}), made by {report.model}"
    yield f"{report.place}: {counted(report.rows, 'vector')} of {numbers}" + ("" if report.complete else "; not complete yet")
    work = f"{counted(report.embedded, 'text')} embedded now, {report.from_ledger:,} from the ledger"
    if report.kept:
        work += f"; {counted(report.kept, 'row')} were complete before"
    yield work
    if report.rejected or report.failed:
        line = f"{counted(report.rejected + report.failed, 'row')} without a vector"
        if report.failed:
            line += f", {report.failed:,} of them refused by the model's provider"
        yield line + (f": {report.rejects} names each with the reason" if report.rejects else "")
    if report.truncated:
        yield f"{counted(report.truncated, 'text')} longer than the model reads: only the beginning counts" + (
            " (column truncated)"
        )
    if report.duplicate_ids:
        named = ", ".join(map(repr, report.duplicate_ids_first[:5]))
        such = f", such as {named}" if named else "; the last row of each id stays"
        yield f"warning: {counted(report.duplicate_ids, 'row')} with an id that came before{such}"
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
        yield cluster.model(recipe)


class Stopping:
    """What a signal asks for: an orderly end.

    Attributes:
        event: set by the first signal.
        by: its number.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.by: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.event.is_set():
            raise KeyboardInterrupt
        self.by = number
        self.event.set()
        talk("finishing the texts in flight; once more to stop at once")


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Ctrl-C and SIGTERM, which schedulers send before they take a machine away, end the job in order."""
    stop = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
