"""One file behind a URL, opened so that any format can be read from it: seeking, retries, errors of ours."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from textkin.errors import FileReadError, TextkinError
from textkin.text.failures import read_failed, translated, tried
from textkin.text.kinds import Kind, kind_of
from textkin.text.urls import Url

_PIECE = 1 << 20
_CACHED = frozenset({"http", "https", "s3", "s3a", "gs", "gcs", "abfs"})
"""Schemes whose files come through one of fsspec's caches, which reads ahead."""


class RemoteFile:
    """One file behind a URL.

    A server that gives it only from its start is asked for the whole of it once; the copy lies on this machine.

    Args:
        system: fsspec's file system.
        path: what that calls the file.
        name: what messages call it.
        size: bytes, where they are known.
        kind: what is raised for an error of the file system; a `FileReadError` by default.
    """

    def __init__(
        self,
        system: Any,
        url: Url,
        path: str,
        name: str,
        size: int | None,
        kind: Callable[[BaseException], type[TextkinError]] = read_failed,
    ) -> None:
        self._system = system
        self._path = path
        self._size = size
        self.url = url
        self.name = name
        self.kind = kind
        self.copy: BinaryIO | None = None
        self._by_part = kind_of(name)[0] is Kind.PARQUET

    def open(self) -> BinaryIO:
        """From the start, with seeking; whatever fails, now or while it is read, is a `FileReadError`."""
        with translated(self.url, self.name, self.kind):
            file = self.copy or self._opened()
        content = _Content(self, file)
        # Arrow asks for whole columns: exactly those are fetched, nothing ahead.
        return cast(BinaryIO, content if self._by_part else io.BufferedReader(content, buffer_size=_PIECE))

    def close(self) -> None:
        """Let go of the copy, if there is one."""
        if self.copy is not None:
            self.copy.close()
            self.copy = None

    def whole(self) -> BinaryIO:
        """A copy on this machine, made once; it has no name, so that no crash leaves it behind."""
        if self.copy is None:
            self.copy = tried(self._fetched)
        return self.copy

    def _opened(self) -> Any:
        return tried(self._seekable) or self.whole()

    def _seekable(self) -> Any:
        """The file as the file system opens it; None where that can only be read from its start."""
        options: dict[str, Any] = {}
        if self._by_part and self.url.scheme in _CACHED:
            options["cache_type"] = "none"
        if self.url.is_web:
            self._size = self._size or self._system.info(self._path).get("size")
            if not self._size:
                return None
            options["size"] = self._size
        file = self._system.open(self._path, "rb", **options)
        try:
            file.seek(0, os.SEEK_END)
        except ValueError:
            file.close()
            return None
        return file

    def _fetched(self) -> BinaryIO:
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        # No blocks: as a stream. With any size given, fsspec doesn't ask for it once more.
        options = {"block_size": 0, "size": -1} if self.url.is_web else {}
        try:
            with self._system.open(self._path, "rb", **options) as file:
                while piece := file.read(_PIECE):
                    _write(copy, piece, self.name)
        except BaseException:
            copy.close()
            raise
        return copy


class _Content(io.RawIOBase):
    """What is in a remote file: read again where a read failed, and from a copy where a server can't skip."""

    def __init__(self, remote: RemoteFile, file: Any) -> None:
        super().__init__()
        self._remote = remote
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            offset = self._file.seek(offset, os.SEEK_END)
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        with translated(self._remote.url, self._remote.name, self._remote.kind):
            try:
                data = tried(lambda: self._read(len(buffer)))
            except ValueError:
                if not self._remote.url.is_web or self._file is self._remote.copy:
                    raise
                # fsspec's words for: the server doesn't know ranges.
                self._file.close()
                self._file = self._remote.whole()
                data = self._read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed and self._file is not self._remote.copy:
            self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        self._file.seek(self._at)
        data: bytes = self._file.read(size)
        return data


def _write(copy: BinaryIO, piece: bytes, name: str) -> None:
    try:
        copy.write(piece)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FileReadError(
            f"{name}: this server gives a file only whole, and there is no room for it in "
            f"{tempfile.gettempdir()}; set TMPDIR to a folder with room"
        ) from error
