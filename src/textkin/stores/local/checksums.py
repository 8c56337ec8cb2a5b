"""What tells damage that SQLite can't see: a checksum of each row, and which change was the last to be stored.

The rows' checksums lie in tables of their own, so that no damage changes a row together with its sum. SQLite
passes over a damaged end of its log as if the changes in it had never been made; the number of the last one, which
lies in a small file beside the database, says that they were.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from textkin.vectors.own_files import create_file, mode_of

NOT_KNOWN: Final = -1
"""In place of the checksum of a row that an older textkin wrote and nobody could bring up to date yet."""
IMPOSSIBLE: Final = -2
"""Of values that no row has; never stored."""
_MARK: Final = struct.Struct("<8s16sQI")  # magic, the collection's id, number of the change, CRC-32 of these
_MAGIC: Final = b"textkinC"


def record_checksum(number: int, *values: object) -> int:
    """Of a row of records: its number and its texts, each of which may be None."""
    data = [
        None if value is None else value.encode() for value in values if value is None or isinstance(value, str)
    ]
    if len(data) < len(values):
        return IMPOSSIBLE
    lengths = struct.pack(f"<{1 + len(data)}q", number, *(-1 if one is None else len(one) for one in data))
    return zlib.crc32(b"".join([lengths, *(one for one in data if one is not None)]))


def passage_checksum(number: int, start: object, stop: object, vector: object) -> int:
    """Of a row of passages."""
    if not isinstance(start, int) or not isinstance(stop, int) or not isinstance(vector, bytes):
        return IMPOSSIBLE
    return zlib.crc32(vector, zlib.crc32(struct.pack("<3q", number, start, stop)))


def header_checksum(model: object, canaries: object, accepted: object) -> int:
    """Of what says whose vectors these are."""
    if not isinstance(model, str) or not isinstance(canaries, bytes) or not isinstance(accepted, str):
        return IMPOSSIBLE
    texts = model.encode(), accepted.encode()
    lengths = struct.pack("<2q", *map(len, texts))
    return zlib.crc32(canaries, zlib.crc32(b"".join([lengths, *texts])))


def agree(found: Sequence[Any], computed: Sequence[int]) -> bool:
    """Whether the checksums that are stored are those of the rows, where they are known."""
    return all(one in (other, NOT_KNOWN) for one, other in zip(found, computed, strict=True))


def mark_of(database: Path) -> Path:
    """Where the number of the last change is."""
    return database.with_name(f"{database.name}-mark")


def read_mark(database: Path, collection: bytes) -> int:
    """The number of the last change that was stored; 0 where it isn't known."""
    try:
        data = mark_of(database).read_bytes()
    except OSError:
        return 0
    if len(data) != _MARK.size or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return 0
    magic, owner, change, _ = _MARK.unpack(data)
    return int(change) if (magic, owner) == (_MAGIC, collection) else 0


def write_mark(database: Path, collection: bytes, change: int) -> None:
    """Say that a change is on the disk. Not flushed: where it gets lost, less damage can be told."""
    start = _MARK.pack(_MAGIC, collection, change, 0)[:-4]
    place = mark_of(database)
    with suppress(OSError):
        try:
            handle = os.open(place, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            handle = create_file(place, mode_of(database))
        try:
            os.write(handle, start + zlib.crc32(start).to_bytes(4, "little"))
        finally:
            os.close(handle)
