"""What indexing and reading did, told to a person or to a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from textkin.cli.output import counted, one_line, talk
from textkin.stores.resolve import without_password

if TYPE_CHECKING:
    from textkin.jobs.indexing import IndexReport
    from textkin.text.options import Skipped

_NAMED = 20


class SkipTeller:
    """Takes what was skipped, and names it on stderr.

    Args:
        verbose: name all of it as it comes; else the first twenty at the end, then a count.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._first: list[Skipped] = []
        self._notes = 0
        self.skipped = 0
        self.failed = 0

    def __call__(self, item: Skipped) -> None:
        if item.kind == "failed":
            self.failed += 1
        else:
            self.skipped += 1
        if self._verbose:
            talk(_skip_line(item))
        elif len(self._first) < _NAMED:
            self._first.append(item)

    def note(self, path: str, what: str) -> None:
        """What was decided about a file and could be otherwise, on stderr: the first twenty, or all if verbose."""
        self._notes += 1
        if self._verbose or self._notes <= _NAMED:
            talk(f"note: {path}: {what}")
        elif self._notes == _NAMED + 1:
            talk("note: … and more files; --verbose names them all")

    def tell(self) -> None:
        """Name what has not been named yet."""
        for item in self._first:
            talk(_skip_line(item))
        more = self.skipped + self.failed - len(self._first)
        if self._first and more:
            talk(f"… and {more:,} more; --verbose names them all")
        self._first = []


@contextmanager
def skips(verbose: bool) -> Iterator[SkipTeller]:
    """A `SkipTeller` that has told everything when the block ends, also by an error."""
    teller = SkipTeller(verbose)
    try:
        yield teller
    finally:
        teller.tell()


def index_report_row(report: IndexReport) -> dict[str, Any]:
    """An `IndexReport` as JSON."""
    return {
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "missing": report.missing,
        "split": report.split,
        "truncated": list(report.truncated),
        "unread": list(report.unread),
        "refused": dict(report.failed),
        "embedded": report.embedded,
        "from_ledger": report.from_ledger,
        "seconds": round(report.seconds, 3),
    }


def index_report_lines(report: IndexReport) -> Iterator[str]:
    """An `IndexReport` for a person."""
    yield (
        f"{counted(report.added, 'record')} added, {report.changed:,} changed, "
        f"{report.unchanged:,} unchanged, {report.removed:,} removed"
    )
    if report.missing:
        yield f"{counted(report.missing, 'record')} did not come from the source this time, kept"
    work = f"{counted(report.embedded, 'text')} embedded now, {report.from_ledger:,} from the ledger"
    if report.split:
        work += f"; {counted(report.split, 'record')} longer than the model reads, kept as several passages"
    yield work
    yield f"{report.seconds:.1f} s{_rate(report)}"


def tell_stopped(place: str, stored: int, *, ledger: bool) -> None:
    """What Ctrl-C left behind, on stderr."""
    kept = f"stopped; {counted(stored, 'record')} are stored in {without_password(place)}"
    if ledger:
        kept += (
            ", and vectors made for further texts are in the ledger. The same command goes on from there: "
            "of what was embedded, at most the last seconds' work is done again."
        )
    else:
        kept += ". The same command goes on from there; without the ledger, further vectors were not kept."
    talk(kept)


def tell_losses(report: IndexReport) -> None:
    """Name the records that a model cut, those that it could not read and those that it refused, on stderr."""
    tell_cut(report.truncated)
    tell_unread(report.unread)
    tell_refused(report.failed)


def tell_refused(failed: Mapping[str, str]) -> None:
    """Name texts that got no vector, each with the reason, on stderr; at most twenty, then a count."""
    for name, reason in list(failed.items())[:_NAMED]:
        talk(f"warning: {one_line(name, 60)} was set aside: {reason}")
    if len(failed) > _NAMED:
        talk(f"warning: {len(failed) - _NAMED:,} more were set aside")


def tell_cut(ids: list[str] | tuple[str, ...]) -> None:
    """Name texts that were longer than the model reads, on stderr; at most twenty, then a count."""
    if not ids:
        return
    named = ", ".join(one_line(name, 60) for name in ids[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    long = f"{counted(len(ids), 'text')} longer than the model reads"
    talk(f"warning: {long}; what lies behind was left out of the vectors of {named}{more}")


def tell_unread(ids: Sequence[str]) -> None:
    """Name texts in which the model can read nothing, on stderr; at most twenty, then a count."""
    if not ids:
        return
    named = ", ".join(one_line(name, 60) for name in ids[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    texts = "1 text holds" if len(ids) == 1 else f"{len(ids):,} texts hold"
    talk(
        f"warning: {texts} no word that the model has a token for, so nothing finds them by meaning and only an "
        f"equal text counts as a duplicate (a model for more languages reads them: textkin models): {named}{more}"
    )


def _skip_line(item: Skipped) -> str:
    row = "" if item.row is None else f" row {item.row:,}"
    verb = "could not read" if item.kind == "failed" else "skipped"
    return f"{verb} {item.path}{row}: {item.reason}"


def _rate(report: IndexReport) -> str:
    handled = report.stored + report.unchanged
    return f", {counted(round(handled / report.seconds), 'record')}/s" if report.seconds > 0 and handled else ""
