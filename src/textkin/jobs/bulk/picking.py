"""Some rows of an output as a Parquet file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from textkin._optional import require
from textkin.errors import InputError
from textkin.jobs.bulk.output import VectorOutput
from textkin.stores.problems import from_system


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
        StoreError: the place can't be written.
        CorruptStoreError: as `VectorOutput.batches`.
    """
    parquet = require("pyarrow.parquet", extra="parquet")
    place = Path(path)
    unfinished = place.with_name(place.name + ".new")
    count, writer = 0, None
    try:
        for table in output.tables(ids):
            if writer is None:
                writer = parquet.ParquetWriter(unfinished, table.schema, compression="zstd")
            writer.write_table(table)
            count += table.num_rows
        if writer is None:
            raise InputError(f"there is no row to write to {path}")
        writer.close()
        writer = None
        unfinished.replace(place)
    except OSError as error:
        raise from_system(error, place) from error
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return count
