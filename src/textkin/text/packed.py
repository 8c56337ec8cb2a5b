"""Compressed files read as if they were not: gzip and zstd, also of several parts one after the other."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from textkin import _optional
from textkin.errors import FileReadError
from textkin.text.kinds import Packing

_PIECE = 8192
"""Compressed bytes taken at once: what a hostile file makes of them still fits into memory."""
_WINDOW = 2**31
"""The largest that ``zstd --long=31`` writes; large public dumps need it."""


def unpacked(file: BinaryIO, packing: Packing) -> BinaryIO:
    """An open compressed file's content; closing it leaves ``file`` open.

    Raises:
        MissingDependencyError: zstandard is not installed.
    """
    if packing is Packing.GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
    return cast(BinaryIO, io.BufferedReader(_Zstd(file), buffer_size=131_072))


@contextlib.contextmanager
def whole(packing: Packing | None, name: str) -> Iterator[None]:
    """Translate what reading a damaged compressed file raises.

    Raises:
        FileReadError: it is cut off, or not what its name says.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        if packing is None:
            raise
        raise FileReadError(f"{name} is not a whole {packing.value} file: {error}") from error


class _Zstd(io.RawIOBase):
    """The content of zstd frames; a frame that has no end is an error, which zstandard's reader doesn't see."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._zstd = _optional.require("zstandard", extra="bulk")
        self._file = file
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._file.read(_PIECE)
            if not piece:
                if self._frame is not None:
                    raise EOFError("it ends in the middle; fetch or write it again")
                return 0
            self._ready = memoryview(self._content(piece))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _content(self, piece: bytes) -> bytes:
        content = []
        while piece:
            if self._frame is None:
                self._frame = self._zstd.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            try:
                content.append(self._frame.decompress(piece))
            except self._zstd.ZstdError as error:
                raise EOFError(f"{error}; fetch or write it again") from error
            if not self._frame.eof:
                break
            piece, self._frame = self._frame.unused_data, None
        return b"".join(content)
