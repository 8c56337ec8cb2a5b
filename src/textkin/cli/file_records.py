"""Files as records with vectors, for the commands that answer without a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textkin._progress import bar
from textkin.cli.fetching import load_with_bar
from textkin.cli.output import counted, talk
from textkin.cli.reports import skips, tell_cut, tell_refused, tell_unread
from textkin.errors import InputError

if TYPE_CHECKING:
    from textkin.models.embedding_model import EmbeddingModel
    from textkin.text.options import ReadOptions
    from textkin.types import Matrix, Record


@dataclass(frozen=True, slots=True, eq=False)
class FileRecords:
    """What files gave.

    Attributes:
        records: those that have a vector.
        vectors: one unit row each.
        model: that made them.
        rows: id to the row of its table as it was read; a text file's record has none.
    """

    records: Sequence[Record]
    vectors: Matrix
    model: EmbeddingModel
    rows: Mapping[str, Mapping[str, Any]]


def embed_files(
    paths: Sequence[str],
    options: ReadOptions,
    model: str | None,
    engine: Mapping[str, Any],
    verbose: bool,
    *,
    ledger: bool = True,
) -> FileRecords:
    """Read and embed files, and tell what happened to them."""
    from textkin.jobs.embedding import embed_records, record_vectors
    from textkin.ledger import Ledger

    records, rows = read_files(paths, options, verbose)
    loaded = load_with_bar(model, **engine)
    with Ledger() if ledger else nullcontext() as kept, bar("embedding") as progress:
        embedded = embed_records(loaded.unwrap(), records, kept, progress)
    talk(f"{counted(embedded.embedded, 'text')} embedded now, {embedded.from_ledger:,} from the ledger")
    tell_cut(embedded.truncated)
    tell_unread(embedded.unread)
    tell_refused(embedded.failed)
    return FileRecords(embedded.records, record_vectors(embedded.records, embedded.vectors), loaded, rows)


def read_files(
    paths: Sequence[str], options: ReadOptions, verbose: bool
) -> tuple[list[Record], dict[str, Mapping[str, Any]]]:
    """Records, and id to the row of a table as it was read.

    Raises:
        InputError: the output of an embedding job among the paths: it holds vectors already.
    """
    from textkin.text.read import read_inputs
    from textkin.vectors.outputs import holds_output, not_a_collection

    written = next((path for path in paths if holds_output(path)), None)
    if written is not None:
        raise InputError(not_a_collection(written))
    rows: dict[str, Mapping[str, Any]] = {}
    with skips(verbose) as on_skip:
        records = list(
            read_inputs(
                paths,
                options=options,
                on_skip=on_skip,
                on_note=on_skip.note,
                on_row=lambda name, values, _: rows.__setitem__(name, values),
            )
        )
    return records, rows
