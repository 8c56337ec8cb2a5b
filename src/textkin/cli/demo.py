"""``textkin demo``: index the documentation of the Python that runs it, then ask real questions."""

from __future__ import annotations

import dataclasses
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from textkin._progress import bar
from textkin.cli.fetching import load_with_bar, refuse_in_vain
from textkin.cli.main import INTERRUPTED
from textkin.cli.options import ledger_option
from textkin.cli.output import counted, one_line, say
from textkin.cli.reports import index_report_lines, tell_losses, tell_stopped

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.duplicates.groups import DuplicateReport

_SOURCE = "python documentation"
_QUERIES = (
    "read a spreadsheet exported as text",
    "block until a fixed number of threads reach the same point",
    "decode percent-encoded characters in a web address",
    "pick random item with probabilities",
    "compare two files line by line",
    "find words spelled almost the same",
)
_LIKE = "shutil.copy"
_THRESHOLD = 0.95
_GROUPS = 4


@click.command()
@click.option("--to", "place", default="demo.kin", show_default=True, metavar="COLLECTION", help="Where to.")
@click.option("--model", metavar="NAME", help="Another model than all-MiniLM-L6-v2.")
@ledger_option
def demo(place: str, model: str | None, no_ledger: bool) -> None:
    """Index this Python's own documentation, search it by meaning, and find its near-duplicates.

    Run it twice: nothing is embedded again.

    \b
    textkin demo
    textkin demo --to /tmp/demo.kin
    """
    from textkin.collection import Collection
    from textkin.models.resolve import DEFAULT_MODEL

    clock = _Clock()
    refuse_in_vain(place, model or DEFAULT_MODEL)
    with clock.part("model"):
        loaded = load_with_bar(model)
    info = loaded.info
    say(f"Model: {info.name}, {info.dimensions} dimensions, fingerprint {info.short_fingerprint}…")
    with Collection(place, loaded, ledger=not no_ledger) as collection:
        _index(collection, place, clock)
        with clock.part("searches"):
            _search(collection)
            _similar(collection)
        with clock.part("near-duplicates"), bar("comparing") as progress:
            report = collection.duplicates(_THRESHOLD, progress=progress)
        _duplicates(report, collection)
    say()
    say("Time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in clock.seconds.items()))
    _next_steps(place)


class _Clock:
    """Seconds that each part took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def _index(collection: Collection, place: str, clock: _Clock) -> None:
    from textkin.text.pydocs import python_documentation

    with clock.part("reading"):
        records = [dataclasses.replace(record, source=_SOURCE) for record in python_documentation()]
    version = platform.python_version()
    say(f"Texts: {counted(len(records), 'docstring')} of Python {version}'s standard library, into {place}")
    try:
        with clock.part("indexing"), bar("embedding") as progress:
            report = collection.index(records, sources=[_SOURCE], total=len(records), progress=progress)
    except KeyboardInterrupt:
        tell_stopped(place, collection.count(), ledger=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    tell_losses(report)
    for line in index_report_lines(report):
        say(f"  {line}")


def _search(collection: Collection) -> None:
    for query in _QUERIES:
        say()
        say(f"search {query!r}")
        for hit in collection.search(query, 3):
            say(f"  {hit.score:.4f}  {_shown(hit.id, hit.text)}")


def _similar(collection: Collection) -> None:
    if _LIKE not in collection:
        return
    say()
    say(f"similar to {_LIKE}")
    for hit in collection.similar(_LIKE, 3):
        say(f"  {hit.score:.4f}  {_shown(hit.id, hit.text)}")


def _duplicates(report: DuplicateReport, collection: Collection) -> None:
    gone = [record for group in report for record in group.dropped]
    copies = sum(record.reason != "near" for record in gone)
    say()
    say(
        f"near-duplicates: {counted(len(report.pairs), 'pair')} with a cosine of {_THRESHOLD} or more, none missed"
    )
    exact = f", {copies:,} of them exact copies" if copies else ""
    say(f"  {counted(len(report), 'group')}; {counted(len(gone), 'record')} could go{exact}. The largest groups:")
    near = [group for group in report if any(record.reason == "near" for record in group.dropped)]
    for group in sorted(near, key=lambda group: -len(group.dropped))[:_GROUPS]:
        say(f"  {_shown(group.kept, collection.get(group.kept).text)}")
        for record in group.dropped[:2]:
            say(f"    {record.score:.4f}  {_shown(record.id, collection.get(record.id).text)}")
        if len(group.dropped) > 2:
            say(f"    and {len(group.dropped) - 2:,} more")


def _shown(id: str, text: str) -> str:
    """The name and what the docstring says, without the name's repetition at its start."""
    width = max(shutil.get_terminal_size((100, 24)).columns - 12, 40)
    return one_line(text.replace("\n", ": ", 1) if text.startswith(id) else f"{id}: {text}", width)


def _next_steps(place: str) -> None:
    program = _program()
    say()
    say("Next, on your own files (folders, Markdown, CSV, JSON; run it again after changes):")
    say(f"  {program} index PATH... --to notes.kin")
    say(f'  {program} search notes.kin "your question"')
    say(f"  {program} duplicates notes.kin --threshold 0.95")
    say(f"  {program} --help")
    say("Or go on with this one:")
    say(f'  {program} search {shlex.quote(place)} "make a temporary folder that cleans up after itself"')
    say(f"  {program} similar {shlex.quote(place)} json.dumps")


def _program() -> str:
    """How the user calls textkin: by name where the shell would find this one, else by path."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py" or not started.exists():
        return f"{shlex.quote(sys.executable)} -m textkin"
    found = shutil.which(started.name)
    if found is not None and Path(found).absolute() == started.absolute():
        return started.name
    try:
        below = started.absolute().relative_to(Path.cwd())
    except ValueError:
        return shlex.quote(str(started.absolute()))
    return shlex.quote(str(below) if len(below.parts) > 1 else f"./{below}")
