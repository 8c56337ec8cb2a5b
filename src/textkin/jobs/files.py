"""Index files, folders, tables and stdin: what is read, what was skipped, what is gone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from textkin.jobs.indexing import IndexReport, index
from textkin.ledger import Ledger
from textkin.text.files import source_of
from textkin.text.options import OnNote, OnSkip, ReadOptions, Skipped, Unread, ignore_note, ignore_skip
from textkin.text.read import read_inputs
from textkin.types import Model, Progress, Record, Store

_READ_AHEAD_RECORDS = 100_000
_READ_AHEAD_CHARACTERS = 50_000_000


def index_files(
    store: Store,
    model: Callable[[], Model],
    ledger: Callable[[], Ledger | None],
    paths: str | Path | Sequence[str | Path],
    *,
    options: ReadOptions | None = None,
    keep_missing: bool = False,
    progress: Progress | None = None,
    on_skip: OnSkip = ignore_skip,
    on_note: OnNote = ignore_note,
    on_stored: Callable[[Sequence[str]], None] | None = None,
    stdin: BinaryIO | None = None,
    ready: Callable[[], object] | None = None,
) -> IndexReport:
    """Bring a store up to date with inputs; arguments as in `read_inputs` and `index`.

    Records that came from these inputs before and didn't come now are dropped, unless the file that they
    may have come from could not be read this time.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    sources = [source_of(path) for path in listed]
    skipped: list[Skipped] = []
    unread = Unread()
    notes: list[tuple[str, str]] = []

    def note_skip(one: Skipped) -> None:
        skipped.append(one)
        unread.add(one)
        on_skip(one)

    def note(path: str, what: str) -> None:
        notes.append((path, what))
        on_note(path, what)

    stream = read_inputs(
        listed,
        options=options,
        on_skip=note_skip,
        on_note=note,
        stdin=stdin,
    )
    records, total = _counted(stream)
    report = index(
        store,
        model,
        ledger,
        records,
        sources=sources,
        unread=unread.may_hold,
        keep_missing=keep_missing,
        total=total,
        progress=progress,
        on_stored=on_stored,
        ready=ready,
    )
    report.skipped = skipped
    report.notes = notes
    return report


def _counted(stream: Iterator[Record]) -> tuple[Iterable[Record], int | None]:
    """The records and, when they are few enough to be read ahead, their number: an ETA needs it."""
    ahead: list[Record] = []
    characters = 0
    for record in stream:
        ahead.append(record)
        characters += len(record.text)
        if len(ahead) >= _READ_AHEAD_RECORDS or characters >= _READ_AHEAD_CHARACTERS:
            return itertools.chain(ahead, stream), None
    return ahead, len(ahead)
