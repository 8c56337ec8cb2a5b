"""A finished job's output as records: what a collection can be made of, without embedding anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from textkin.errors import InputError
from textkin.jobs.bulk.output import Batch, VectorOutput
from textkin.text.digest import well_formed
from textkin.types import Matrix, Record, Span, StoreHeader

ROUNDED = (
    "the vectors were stored as float16: each number is within 1/2048 of the model's, every cosine within 0.0005; "
    "texts that are added later get the model's own"
)
"""What is said of a collection that was made of such vectors."""


class OutputRecords:
    """The records of an output, one span each; streams, and is only read.

    float16 is taken: vectors within 1/2048 have a cosine of at least 0.9999998 with the model's own, far above
    the 0.9999 from which two engines count as the same model (`textkin.models.fingerprint.TOLERANCE`). int8,
    binary and cut vectors are not: new texts, embedded by the model, would be compared with vectors that aren't
    its own.

    Args:
        output: of a finished job.

    Raises:
        InputError: no collection can be made of it; says what can be done.
    """

    def __init__(self, output: VectorOutput) -> None:
        _refuse_unfit(output)
        self._output = output
        self._last: tuple[tuple[str, ...], dict[str, tuple[Record, Matrix]]] = ((), {})

    @property
    def url(self) -> str:
        """The folder."""
        return str(self._output.path)

    @property
    def note(self) -> str:
        """What is to be known of the vectors; empty where they are the model's."""
        return ROUNDED if self._output.dtype == "float16" else ""

    @property
    def header(self) -> StoreHeader | None:
        """The model and its canaries."""
        return StoreHeader(self._output.model, self._output.canaries)

    def count(self) -> int:
        """How many."""
        return self._output.count

    def scan(self, batch_size: int = 1000) -> Iterator[list[Record]]:
        """All records in the order of the output; their vectors are not read."""
        for batch in self._output.batches(batch_size, vectors=False):
            yield _records(batch)

    def scan_vectors(self, batch_size: int = 1000) -> Iterator[tuple[list[Record], Matrix]]:
        """All records with one unit row each."""
        for batch in self._output.batches(batch_size):
            yield _records(batch), batch.vectors

    def get(self, ids: Sequence[str]) -> list[Record]:
        """The records with these ids, in the order asked; unknown ids are left out."""
        found = self._found(ids)
        return [found[name][0] for name in ids if name in found]

    def vectors(self, ids: Sequence[str]) -> list[Matrix]:
        """The vectors ``(1, dimensions)`` of these (known) records, in the order asked."""
        found = self._found(ids)
        return [found[name][1] for name in ids]

    def close(self) -> None:
        """Nothing is held open."""

    def _found(self, ids: Sequence[str]) -> dict[str, tuple[Record, Matrix]]:
        # Asked for the records and then for the vectors of the same ids, which takes reading all ids once.
        if self._last[0] != tuple(ids):
            pairs = (
                (record, row[np.newaxis])
                for batch in self._output.find(ids)
                for record, row in zip(_records(batch), batch.vectors, strict=True)
            )
            self._last = tuple(ids), {record.id: (record, row) for record, row in pairs}
        return self._last[1]


def output_records(place: str | Path) -> OutputRecords:
    """The records of the output in a folder; as `VectorOutput` and `OutputRecords`."""
    return OutputRecords(VectorOutput(place))


def _records(batch: Batch) -> list[Record]:
    texts = [well_formed(text) for text in batch.texts or ()]
    return [
        Record(name, text, metadata, None, (Span(0, len(text)),))
        for name, text, metadata in zip(batch.ids, texts, batch.metadata, strict=True)
    ]


def _refuse_unfit(output: VectorOutput) -> None:
    kept = output.manifest
    again = "run the textkin embed command again"
    if not kept.text:
        raise InputError(
            f"{output.path} holds no texts, and a collection needs the text of every record; {again} without "
            "--no-text, to another folder: the vectors come from the ledger"
        )
    if kept.dtype in ("int8", "binary"):
        raise InputError(
            f"{output.path} holds {kept.dtype} vectors, which are not the model's: new texts could not be "
            f"compared with them; {again} with --dtype float32, to another folder: the vectors come from the "
            "ledger"
        )
    if kept.dimensions != kept.model.dimensions:
        raise InputError(
            f"{output.path} holds {kept.dimensions} of the {kept.model.dimensions} dimensions of "
            f"{kept.model.name}, and a collection holds all; {again} without --dimensions, to another folder"
        )
    if kept.duplicate_ids:
        raise InputError(
            f"{output.path} has {kept.duplicate_ids:,} rows with an id that another row has, and a collection "
            f"keeps one record an id; name a column of ids that differ (--id-column) and {again}, elsewhere"
        )
