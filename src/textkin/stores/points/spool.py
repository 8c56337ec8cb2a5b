"""One state of a whole collection, in order of insertion, kept in a temporary file while it is read."""

from __future__ import annotations

import errno
import pickle
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from textkin.errors import StorageFullError
from textkin.stores.points.encoding import Read
from textkin.stores.problems import from_system
from textkin.types import Matrix


class Spool:
    """Takes points in any order and gives them back in order of insertion; memory: 16 bytes a point.

    The file has no name, belongs to this process alone and goes with the object.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close` or with the object
        self._orders = array("q")
        self._places = array("q")

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, reads: Sequence[Read], vectors: Sequence[Matrix] | None = None) -> None:
        """Keep these, each with a matrix where they are given."""
        for number, read in enumerate(reads):
            self._orders.append(read.order)
            self._places.append(self._file.tell())
            kept = (read, None if vectors is None else vectors[number])
            try:
                pickle.dump(kept, self._file, pickle.HIGHEST_PROTOCOL)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise from_system(error, Path(tempfile.gettempdir())) from error
                raise StorageFullError(
                    f"no room left in {tempfile.gettempdir()} for a copy of the collection while it is read; free "
                    "some, or name another folder in TMPDIR"
                ) from error

    def ordered(self) -> Iterator[tuple[Read, Any]]:
        """All that was added, by their order."""
        places = np.array(self._places, dtype=np.int64)
        for place in np.argsort(np.array(self._orders, dtype=np.int64), kind="stable"):
            self._file.seek(int(places[place]))
            yield pickle.load(self._file)  # what this process wrote into its own unnamed file

    def close(self) -> None:
        """Give the disk space back."""
        with suppress(OSError):  # what could not be written was told by `add`; nothing in it is needed any more
            self._file.close()
