"""Files written so that nobody sees half of one: hashed on the way, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO


class HashingWriter:
    """A file to write to that also takes the SHA-256 of what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def flush(file: BinaryIO) -> None:
    """Return when what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk, where the system can tell."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
