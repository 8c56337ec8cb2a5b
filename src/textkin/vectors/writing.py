"""Files written so that nobody sees half of one: hashed on the way, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO, Final

_WINDOWS: Final = os.name == "nt"
_PATIENCE: Final = 1.0
"""Seconds that a reader may keep a file from being replaced."""


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


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, in place of what had it.

    On Windows a file that somebody reads can't be replaced; readers of small files are done in a moment.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            temporary.replace(target)
        except PermissionError:
            if not _WINDOWS or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def flush_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk, where the system can tell."""
    if not _WINDOWS:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
