"""How far the reading of all inputs has come, in bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from textkin.text.found import Found
from textkin.text.options import OnPosition
from textkin.text.tables import Row, Rows

_EVERY = 1000
"""Rows, or files that are one record, from one report to the next."""


class Position:
    """Tells how many bytes of how many were read.

    Args:
        files: that will be read; gone through once, for their sizes.
        sized: False: something beside them will be read whose size nobody knows.
    """

    def __init__(self, tell: OnPosition, files: Iterable[Found], sized: bool) -> None:
        self._tell = tell
        sizes = [found.size() for found in files] if sized else [None]
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._before = 0
        self._size: int | None = None
        self._file: BinaryIO | None = None
        self._reached = 0
        self._rows = 0

    def opening(self, found: Found) -> Found:
        """The same file, whose reading is followed; the one before it is done."""
        self._size = found.size()
        self._file, self._reached = None, 0

        def opened() -> BinaryIO:
            self._file = found.open()
            return self._file

        return dataclasses.replace(found, open=opened)

    def done(self) -> None:
        """The file that was opened last has been read, or given up."""
        self._before += self._size if self._size is not None else self._at()
        self._size, self._file, self._reached = 0, None, 0
        self.tell()

    def rows(self, rows: Rows) -> Rows:
        """The same rows, reported now and then."""
        return dataclasses.replace(rows, rows=self._followed(rows))

    def row(self) -> None:
        """Something was read that gives no more than one record."""
        self._rows += 1
        if self._rows % _EVERY == 0:
            self.tell()

    def tell(self) -> None:
        """Report how far it has come."""
        self._tell(self._before + self._at(), self._total)

    def _followed(self, rows: Rows) -> Iterator[Row]:
        for read, row in enumerate(rows.rows, start=1):
            if read % _EVERY == 0:
                share = None if rows.count is None or self._size is None else self._size * read // rows.count
                self._tell(self._before + (self._at() if share is None else share), self._total)
            yield row

    def _at(self) -> int:
        if self._file is not None:
            if not self._file.closed:
                self._reached = self._file.tell()
            elif self._size is not None:
                self._reached = self._size
        return self._reached
