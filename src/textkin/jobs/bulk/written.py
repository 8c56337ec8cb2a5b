"""What a file is filled through: its bytes are counted and hashed on the way, or gathered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from textkin.vectors.writing import HashingWriter


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is in place: its size, and the SHA-256 of its bytes as hex digits."""

    bytes: int
    sha256: str


class Counting(HashingWriter):
    """Also counts the bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return super().write(data)

    def flush(self) -> None:
        """The place flushes it once, at the end."""


class Gathered:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
