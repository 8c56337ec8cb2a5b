"""One file cut into parts, read as if it were whole."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO


class JoinedParts(io.RawIOBase):
    """A read-only, seekable file made of files one after the other; nothing is copied.

    Args:
        parts: in order; they must not change while this is open.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files: list[BinaryIO] = [part.open("rb") for part in parts]
        self._starts: list[int] = []
        self._size = 0
        for file in self._files:
            self._starts.append(self._size)
            self._size += os.fstat(file.fileno()).st_size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"a file has no place {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._position >= self._size:
            return 0
        number = bisect_right(self._starts, self._position) - 1
        file = self._files[number]
        file.seek(self._position - self._starts[number])
        data = file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
