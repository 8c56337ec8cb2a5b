"""A matrix that is larger than memory: written to a temporary file row by row, and mapped."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from textkin.errors import StorageFullError, StoreError
from textkin.types import Matrix


@contextmanager
def mapped_matrix(count: int, dimensions: int, blocks: Iterable[Matrix]) -> Iterator[Matrix]:
    """Rows in a temporary ``.npy``, which goes when the block ends; memory is that of one block.

    Args:
        count: rows in all.
        dimensions: columns.
        blocks: all rows, in order, in parts of any size.

    Raises:
        StorageFullError: no room for them.
        StoreError: they can't be written, or the blocks hold another number of rows.
    """
    with tempfile.TemporaryDirectory(prefix="textkin-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "rows.npy"
        written = _write(path, count, dimensions, blocks)
        if written != count:
            raise StoreError(f"{count:,} vectors were expected and {written:,} came")
        if not count:
            yield np.zeros((0, dimensions), dtype=np.float32)
            return
        mapped: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        yield mapped


def _write(path: Path, count: int, dimensions: int, blocks: Iterable[Matrix]) -> int:
    # Written as a file and mapped afterwards: on a full disk a write fails, but a mapping kills the process.
    written = 0
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, dimensions)}
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype="<f4").data)
                written += len(block)
    except OSError as error:
        size = f"{4 * count * dimensions / 1e6:,.0f} MB"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFullError(
                f"no room in {path.parent.parent} for a temporary copy of the vectors ({size}); name a folder on "
                "a larger disk in TMPDIR"
            ) from error
        raise StoreError(f"a temporary copy of the vectors ({size}) can't be written: {error}") from error
    return written
