"""Some rows of an output as a Parquet file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from textkin._optional import require
from textkin.errors import InputError
from textkin.jobs.bulk.output import VectorOutput
from textkin.vectors.writing import replacing


def write_rows(output: VectorOutput, path: str | Path, ids: Sequence[str]) -> int:
    """Write the rows with these ids, all columns and vectors as they are stored; the whole file, or none.

    Args:
        output: where they are.
        path: the file; replaced when it is there.
        ids: in any order; the rows keep that of the output.

    Returns:
        How many.

    Raises:
        InputError: none of these rows is there.
        InputError, StoreError: the place can't be written; as `replacing`.
        CorruptStoreError: as `VectorOutput.batches`.
    """
    parquet = require("pyarrow.parquet", extra="parquet")
    tables = output.tables(ids)
    first = next(tables, None)
    if first is None:
        raise InputError(f"there is no row to write to {path}")
    count = 0
    with replacing(path) as file, parquet.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            count += table.num_rows
    return count
